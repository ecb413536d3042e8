/**
 * How pg_wal's own copy of a segment compares with the archive's tail of it.
 *
 * A served file replaces the server's own: a crashed primary whose pg_wal is ahead of the tail would lose what it has
 * committed since. Its file may also be a recycled one, with WAL of long ago behind (or instead of) what belongs there;
 * so "ahead" is measured in records that are right, not in bytes.
 */
import { open } from 'node:fs/promises'
import { fileAt, type ReadableAt } from '../archive/bytes-at.ts'
import { systemCode } from '../kit/errors.ts'
import { bytesBetween } from '../wal/lsn.ts'
import { RecordWalker } from '../wal/record-walker.ts'
import { segmentStart } from '../wal/segment.ts'
import type { ExpectedSegment } from '../wal/segment-check.ts'
import type { OwnCopy } from './decide.ts'

const pieceBytes = 1024 * 1024

/** @param tail the first `tailBytes` bytes of the segment. */
export async function compareOwnCopy(
  path: string,
  tail: ReadableAt,
  tailBytes: number,
  expected: ExpectedSegment,
): Promise<OwnCopy> {
  let file: Awaited<ReturnType<typeof open>>
  try {
    file = await open(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 'none'
    throw error
  }
  try {
    const { size } = await file.stat()
    const own = fileAt(file, path)
    const common = await commonBytes(own, tail, Math.min(size, tailBytes))
    if (common === tailBytes) return 'has-all'
    const ownValid = await validBytes(own, Math.min(size, expected.segmentBytes), expected)
    if (ownValid <= common) return 'shorter'
    // What differs begins behind the tail's last whole record: the server has all that a recovery would take from it.
    return (await validBytes(tail, tailBytes, expected)) <= common ? 'has-all' : 'differs'
  } finally {
    await file.close()
  }
}

/** How many bytes from the segment's start belong to records that are whole and right. */
export async function validBytes(source: ReadableAt, bytes: number, expected: ExpectedSegment): Promise<number> {
  const walker = await walk(source, bytes, expected)
  const start = segmentStart(expected.segment.segno, expected.segmentBytes)
  return walker.validEnd === null ? 0 : bytesBetween(start, walker.validEnd)
}

/** Walks the first `bytes` bytes of a segment. */
export async function walk(source: ReadableAt, bytes: number, expected: ExpectedSegment): Promise<RecordWalker> {
  const walker = RecordWalker.ofSegment(expected)
  const buffer = Buffer.allocUnsafe(pieceBytes)
  for (let at = 0; at < bytes && walker.stopped === null; at += pieceBytes) {
    const piece = buffer.subarray(0, Math.min(pieceBytes, bytes - at))
    await source.read(piece, at)
    walker.push(piece)
  }
  return walker
}

async function commonBytes(a: ReadableAt, b: ReadableAt, bytes: number): Promise<number> {
  const left = Buffer.allocUnsafe(pieceBytes)
  const right = Buffer.allocUnsafe(pieceBytes)
  for (let at = 0; at < bytes; at += pieceBytes) {
    const n = Math.min(pieceBytes, bytes - at)
    await a.read(left.subarray(0, n), at)
    await b.read(right.subarray(0, n), at)
    if (left.compare(right, 0, n, 0, n) === 0) continue
    return at + left.subarray(0, n).findIndex((byte, i) => byte !== right[i])
  }
  return bytes
}
