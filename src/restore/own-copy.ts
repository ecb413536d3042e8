/**
 * What pg_wal's own copy of a segment holds, and how it compares with the archive's tail of it.
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
const noCopy: OwnCopy = { compared: 'none', equalBytes: 0, validBytes: 0, complete: false }

/** @param tail the first `tailBytes` bytes of the segment. */
export async function lookAtOwnCopy(
  path: string,
  tail: ReadableAt,
  tailBytes: number,
  expected: ExpectedSegment,
): Promise<OwnCopy> {
  let file: Awaited<ReturnType<typeof open>>
  try {
    file = await open(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return noCopy
    throw error
  }
  try {
    const { size } = await file.stat()
    const own = fileAt(file, path)
    const equalBytes = await firstDifference(own, tail, Math.min(size, tailBytes))
    const walked = await walk(own, Math.min(size, expected.segmentBytes), expected)
    const validBytes = validBytesOf(walked, expected)
    const complete = walked.completeUpTo !== null
    if (equalBytes === tailBytes) return { compared: 'has-all', equalBytes, validBytes, complete }
    if (validBytes <= equalBytes) return { compared: 'shorter', equalBytes, validBytes, complete }
    // Where what differs begins behind the tail's last whole record, the server has all that a recovery would take from it.
    const tailValid = validBytesOf(await walk(tail, tailBytes, expected), expected)
    return { compared: tailValid <= equalBytes ? 'has-all' : 'differs', equalBytes, validBytes, complete }
  } finally {
    await file.close()
  }
}

/** How many bytes from the segment's start belong to records that are whole and right. */
export function validBytesOf(walked: RecordWalker, expected: ExpectedSegment): number {
  const start = segmentStart(expected.segment.segno, expected.segmentBytes)
  return walked.validEnd === null ? 0 : bytesBetween(start, walked.validEnd)
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

/** The first byte at which two sources differ; `bytes` if they are equal so far. */
export async function firstDifference(a: ReadableAt, b: ReadableAt, bytes: number): Promise<number> {
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
