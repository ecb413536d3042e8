/** WAL of real servers, as it lies in pg_wal. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { type Lsn, parseLsn, plus } from '../../src/wal/lsn.ts'
import { headerBytesOf, pageBytes, readPageHeader } from '../../src/wal/page.ts'
import { RecordWalker } from '../../src/wal/record-walker.ts'
import { isSegmentName, parseSegmentName, segmentStart } from '../../src/wal/segment.ts'
import { rows, value } from '../support/postgres.ts'

export interface ServerWal {
  readonly start: Lsn
  readonly segmentBytes: number
  /** All segments from the oldest one on, without a hole. Behind the last record lies what the files held before. */
  readonly bytes: Buffer
}

/** Reads all segments, of each the copy on the highest timeline. */
export async function readWal(cluster: Cluster, segmentBytes: number): Promise<ServerWal> {
  const folder = join(cluster.dataFolder, 'pg_wal')
  const files = new Map<number, string>()
  for (const name of (await readdir(folder)).filter(isSegmentName).sort()) {
    files.set(parseSegmentName(name, segmentBytes).segno, name)
  }
  const first = Math.min(...files.keys())
  const parts: Buffer[] = []
  for (let segno = first; files.has(segno); segno++) {
    const bytes = await readFile(join(folder, files.get(segno) ?? ''))
    assert.equal(bytes.length, segmentBytes)
    parts.push(bytes)
  }
  return { start: segmentStart(first, segmentBytes), segmentBytes, bytes: Buffer.concat(parts) }
}

export function walkAll(wal: ServerWal, timeline = 1): RecordWalker {
  const walker = new RecordWalker({ start: wal.start, segmentBytes: wal.segmentBytes, timeline })
  walker.push(wal.bytes)
  return walker
}

/** The WAL at a moment in which all of it is flushed and nothing is being written, and where it ends. */
export async function readQuietWal(
  cluster: Cluster,
  client: pg.Client,
  segmentBytes: number,
): Promise<{ wal: ServerWal; end: Lsn }> {
  for (;;) {
    const before = await positions(client)
    const wal = await readWal(cluster, segmentBytes)
    const after = await positions(client)
    const end = parseLsn(after.flushed)
    const isQuiet = before.flushed === after.flushed && before.inserted === after.inserted
    const nextRecord = afterHeader(wal, end)
    if (isQuiet && (parseLsn(after.inserted) === end || parseLsn(after.inserted) === nextRecord)) return { wal, end }
    // The commit of a transaction that has written something flushes all that was written before it; an empty one only
    // leaves one more record to the WAL writer, which sleeps for seconds where little is going on.
    await client.query("SELECT pg_logical_emit_message(true, 't', '')")
  }
}

async function positions(client: pg.Client): Promise<{ flushed: string; inserted: string }> {
  const [row] = await rows(client, 'SELECT pg_current_wal_flush_lsn(), pg_current_wal_insert_lsn()')
  return { flushed: row?.[0] ?? '', inserted: row?.[1] ?? '' }
}

/** Where the record after one that ends at `end` begins: behind the page header, if a page ends there. */
export function afterHeader(wal: ServerWal, end: Lsn): Lsn {
  if (end % BigInt(pageBytes) !== 0n) return end
  return plus(end, end % BigInt(wal.segmentBytes) === 0n ? 40 : 24)
}

/** A record as it lies in the WAL, with the bytes of padding at its end. */
export interface FoundRecord {
  readonly start: Lsn
  readonly end: Lsn
  readonly padding: number
}

/** All records from the start on. */
export function recordsOf(wal: ServerWal): FoundRecord[] {
  const walker = new RecordWalker({ start: wal.start, segmentBytes: wal.segmentBytes, timeline: 1 })
  const found: FoundRecord[] = []
  for (let at = 0; at < wal.bytes.length && walker.stopped === null; at += 8) {
    walker.push(wal.bytes.subarray(at, at + 8))
    const { lastRecord, validEnd } = walker
    if (lastRecord === null || validEnd === null || validEnd === found.at(-1)?.end) continue
    const length = wal.bytes.readUInt32LE(Number(lastRecord - wal.start))
    found.push({ start: lastRecord, end: validEnd, padding: -length & 7 })
  }
  return found
}

/** True for a byte that no check covers: padding in a page header, and a field of it that means nothing there. */
export function isUncheckedHeaderByte(wal: ServerWal, at: Lsn): boolean {
  const inPage = Number(at % BigInt(pageBytes))
  const header = readPageHeader(wal.bytes, Number(at - wal.start) - inPage)
  assert.ok(header !== null)
  if (inPage >= headerBytesOf(header)) return false
  const remaining = inPage >= 16 && inPage < 20 && header.remaining === 0
  return inPage === 2 || remaining || (inPage >= 20 && inPage < 32)
}

/** Writes a record of about this size that no table knows of. */
export async function emit(client: pg.Client, bytes: number): Promise<void> {
  await value(client, `SELECT pg_logical_emit_message(false, 't', repeat('x', ${bytes}))`)
}

/** Writes records until one begins `left` bytes before the end of its page, and then that one. */
export async function emitAtPageEnd(client: pg.Client, left: number): Promise<void> {
  // 24 of record header, 5 of data header, 24 of the message's, prefix and its zero byte.
  const overhead = 24 + 5 + 24 + 2
  for (;;) {
    const at = parseLsn(await value(client, 'SELECT pg_current_wal_insert_lsn()'))
    const room = pageBytes - Number(at % BigInt(pageBytes))
    const page = pageBytes - 24
    const length = room - left < 300 ? room + page - left : room - left
    await emit(client, length - overhead)
    const now = parseLsn(await value(client, 'SELECT pg_current_wal_insert_lsn()'))
    await emit(client, 1000)
    if (Number(now % BigInt(pageBytes)) === pageBytes - left) return
  }
}
