/**
 * What a start finds in the spool, and how far it may be trusted.
 *
 * How far a `.partial` is filled is written nowhere, so its WAL is read: up to the last record whose checksum is right.
 * A kill leaves everything that was written; a power cut leaves any part of what was not synced, with zeros between.
 * The walk begins in the newest whole segment where that is the neighbour, because the first record of a `.partial`
 * usually began there, and can be verified only from there. (The shipper leaves that neighbour in the spool for us.)
 *
 * Several `.partial` files in a row are normal: the next one is begun while the one before is still being synced. One
 * whose records are verified up to its end and past it is whole, and gets its final name here.
 *
 * The newest of them are the end of the spool. Those of older timelines, those before the newest whole segment, and those
 * before the begin of a stream that passed them over (begin-mark.ts) were left, and are shipped as far as their WAL is
 * right. Others with WAL missing before them count for nothing until the server has sent that.
 */
import { open, type FileHandle, readdir, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder } from '../kit/durable-fs.ts'
import { isError } from '../kit/errors.ts'
import { type Lsn, plus } from '../wal/lsn.ts'
import { longHeaderBytes, pageFault, readPageHeader } from '../wal/page.ts'
import { RecordWalker } from '../wal/record-walker.ts'
import {
  isSameSegment,
  isSegmentName,
  isSegmentSize,
  offsetIn,
  parseHistoryName,
  parseSegmentName,
  type Segment,
  segmentName,
  segmentStart,
  segnoOf,
} from '../wal/segment.ts'
import { firstPageFault } from '../wal/segment-check.ts'
import { findBegin } from './begin-mark.ts'
import { bytesOfParent, type Histories, type HistoryFile, readHistory, timelineBefore } from './histories.ts'
import type { LeftSegment, SpoolContents, SpoolEnd } from './inventory.ts'
import { partialSuffix } from './segment-file.ts'
import { setAside } from './set-aside.ts'
import { spoolError } from './spool-error.ts'

export interface SpoolScan extends SpoolContents {
  /** Whose WAL it is; null if nothing in the spool says so, and then there is no WAL in it. */
  readonly identity: Identity | null
  readonly setAside: readonly SetAside[]
}

/** A file that has the name of a segment, and is none of this spool. */
export interface SetAside {
  readonly name: string
  /** The name that it has now. */
  readonly as: string
  /** What is wrong with it, as the end of a sentence that begins with its name. */
  readonly fault: string
}

interface Identity {
  readonly systemIdentifier: bigint
  readonly segmentBytes: number
}

export const emptySpool: SpoolScan = {
  identity: null,
  wholes: [],
  left: [],
  end: null,
  begin: null,
  histories: new Map(),
  setAside: [],
}

interface Found {
  readonly segment: Segment
  readonly partial: boolean
}

const readBytes = 1024 * 1024

/**
 * Looks through the spool, makes durable what is right, gives whole segments their names, and sets aside what is no
 * segment of this spool. Throws SPOOL_FAILED where the folder cannot be read.
 */
export async function recoverSpool(folder: string): Promise<SpoolScan> {
  try {
    return await recover(folder)
  } catch (error) {
    throw spoolError(error, `read the spool ${folder}`)
  }
}

/** Whose WAL lies in the spool, or null if nothing there says so. Changes nothing. Throws SPOOL_FAILED. */
export async function findSpoolOwner(folder: string): Promise<Identity | null> {
  try {
    const names = (await readdir(folder)).filter((name) => isSegmentName(name.replace(partialSuffix, '')))
    return await readIdentity(folder, names)
  } catch (error) {
    throw spoolError(error, `read the spool ${folder}`)
  }
}

async function recover(folder: string): Promise<SpoolScan> {
  const files = (await readdir(folder)).toSorted()
  const names = files.filter((name) => isSegmentName(name.replace(partialSuffix, '')))
  const identity = await readIdentity(folder, names)
  // A kill may have come between a whole segment's rename and its sync.
  if (names.length > 0) await syncFolder(folder)
  const found: Found[] = []
  const asides: SetAside[] = []
  for (const name of names) {
    const bare = name.replace(partialSuffix, '')
    const partial = name !== bare
    const is = await inspect(folder, name, identity)
    if (typeof is === 'object') asides.push({ name, as: await setAside(folder, name), fault: is.fault })
    // Beside a whole segment, a partial one of that name is an older copy.
    else if (is === 'segment' && identity !== null && !(partial && names.includes(bare))) {
      found.push({ segment: parseSegmentName(bare, identity.segmentBytes), partial })
    }
  }
  found.sort((a, b) => a.segment.timeline - b.segment.timeline || a.segment.segno - b.segment.segno)
  const histories = new Map<number, HistoryFile>()
  for (const name of files) {
    const timeline = parseHistoryName(name)
    if (timeline === null) continue
    try {
      histories.set(timeline, await readHistory(folder, timeline))
    } catch (error) {
      if (!isError(error, 'ARCHIVE_DAMAGED')) throw error
      asides.push({ name, as: await setAside(folder, name), fault: `cannot be used: ${error.message}` })
    }
  }
  const begin = identity === null ? null : beginOf(files, found, identity.segmentBytes)
  const contents = identity === null ? emptySpool : await walkAll(folder, found, begin, identity, histories)
  return { ...contents, identity, histories, setAside: asides }
}

async function walkAll(
  folder: string,
  found: readonly Found[],
  begin: Segment | null,
  identity: Identity,
  histories: Histories,
): Promise<Pick<SpoolContents, 'wholes' | 'left' | 'end' | 'begin'>> {
  const rows = rowsOf(found, begin, histories, identity.segmentBytes)
  const last = lastRow(found, begin, rows)
  const wholes = found.filter((one) => !one.partial).map((one) => one.segment)
  const left: LeftSegment[] = []
  let end = endOf(lastWhole(found)?.segment, identity.segmentBytes)
  for (const row of rows) {
    if (row !== last && isBehind(row, last, found)) continue
    const walked = await walkRow(folder, row, identity)
    wholes.push(...walked.wholes)
    if (row === last) end = walked.end
    else left.push(...leftOf(walked.end, identity.segmentBytes, histories))
  }
  await syncFolder(folder)
  wholes.sort((a, b) => a.timeline - b.timeline || a.segno - b.segno)
  return { wholes, left, end, begin }
}

/** Whose segments most of the files are; null if none of them begins as a segment does. */
async function readIdentity(folder: string, names: readonly string[]): Promise<Identity | null> {
  const votes = new Map<string, { readonly identity: Identity; count: number }>()
  for (const name of names) {
    const header = readPageHeader(await readHead(join(folder, name)), 0)
    const long = header?.long
    if (!header || !long || !isSegmentSize(long.segmentBytes)) continue
    if (pageFault(header, { ...header, ...long }) !== null) continue
    const identity = { systemIdentifier: long.systemIdentifier, segmentBytes: long.segmentBytes }
    const key = `${identity.systemIdentifier} ${identity.segmentBytes}`
    const vote = votes.get(key) ?? { identity, count: 0 }
    vote.count++
    votes.set(key, vote)
  }
  const [most] = [...votes.values()].toSorted((a, b) => b.count - a.count)
  return most?.identity ?? null
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(longHeaderBytes), 0, longHeaderBytes, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/**
 * `segment`, `empty` (a `.partial` that was created and never written to), or what is wrong with the file. `identity` is
 * null where no file begins as a segment does.
 */
async function inspect(
  folder: string,
  name: string,
  identity: Identity | null,
): Promise<'segment' | 'empty' | { readonly fault: string }> {
  const path = join(folder, name)
  const { size } = await stat(path)
  const partial = name.endsWith(partialSuffix)
  const head = await readHead(path)
  if (identity !== null && size !== identity.segmentBytes && !(partial && size === 0)) {
    return { fault: `has ${size} bytes, where a segment has ${identity.segmentBytes}` }
  }
  if (partial && head.every((byte) => byte === 0)) return 'empty'
  if (identity === null) return { fault: 'does not begin as a segment does' }
  const { systemIdentifier, segmentBytes } = identity
  try {
    const segment = parseSegmentName(name.replace(partialSuffix, ''), segmentBytes)
    const fault = firstPageFault(head, { segment, systemIdentifier, segmentBytes })
    return fault === null ? 'segment' : { fault: `is not the segment that its name says: ${fault}` }
  } catch (error) {
    if (isError(error, 'BAD_INPUT')) return { fault: error.message }
    throw error
  }
}

/** Open segments, each following the one before, led by the whole one before them where it is there: perhaps a parent's. */
type Row = readonly Found[]

function rowsOf(found: readonly Found[], begin: Segment | null, histories: Histories, segmentBytes: number): Row[] {
  const rows: Found[][] = []
  for (const [i, one] of found.entries()) {
    const before = found[i - 1]
    const follows = before?.segment.timeline === one.segment.timeline && before.segment.segno + 1 === one.segment.segno
    if (one.partial && follows && !isBegin(one, begin)) {
      rows.at(-1)?.push(one)
      continue
    }
    const timeline = timelineBefore(one.segment, segmentBytes, histories)
    const parent = found.find(
      ({ segment, partial }) =>
        one.partial && !partial && isSameSegment(segment, { timeline, segno: one.segment.segno - 1 }),
    )
    rows.push(parent === undefined ? [one] : [parent, one])
  }
  return rows.filter((row) => row.some((one) => one.partial))
}

/** The newest whole segment of the newest timeline. */
function lastWhole(found: readonly Found[]): Found | undefined {
  const timeline = found.at(-1)?.segment.timeline
  return found.findLast((one) => !one.partial && one.segment.timeline === timeline)
}

/**
 * The open segment with which the newest stream began, where that passed others over. None if it is whole by now, or
 * was lost before anything of it was durable.
 */
function beginOf(files: readonly string[], found: readonly Found[], segmentBytes: number): Segment | null {
  const begin = findBegin(files, found.at(-1)?.segment.timeline ?? 0, segmentBytes)
  const isLater = begin !== null && begin.segno > (lastWhole(found)?.segment.segno ?? -1)
  return isLater && found.some((one) => isBegin(one, begin)) ? begin : null
}

function isBegin({ segment, partial }: Found, begin: Segment | null): boolean {
  return begin !== null && partial && isSameSegment(segment, begin)
}

/**
 * The row that the spool ends with: that of the newest stream's begin, or of the newest whole segment, or the newest
 * timeline's first where it has neither.
 */
function lastRow(found: readonly Found[], begin: Segment | null, rows: readonly Row[]): Row | undefined {
  if (begin !== null) return rows.find((row) => row.some((one) => isBegin(one, begin)))
  const whole = lastWhole(found)
  const timeline = found.at(-1)?.segment.timeline
  const ours = rows.filter((row) => row.at(-1)?.segment.timeline === timeline)
  return whole === undefined ? ours[0] : ours.find((row) => row[0] === whole)
}

/** What lies behind a gap does not count: it would hide what is missing. */
function isBehind(row: Row, last: Row | undefined, found: readonly Found[]): boolean {
  const begin = row.find((one) => one.partial)?.segment
  const end = last?.find((one) => one.partial) ?? lastWhole(found)
  return begin?.timeline === end?.segment.timeline && (begin?.segno ?? 0) > (end?.segment.segno ?? 0)
}

/** What a walk along a row found: those that turned out to be whole, and where it ends. */
interface Walked {
  readonly wholes: readonly Segment[]
  readonly end: SpoolEnd
}

async function walkRow(folder: string, row: Row, identity: Identity): Promise<Walked> {
  const { segmentBytes } = identity
  const [head] = row
  const segment = { timeline: row.at(-1)?.segment.timeline ?? 0, segno: head?.segment.segno ?? 0 }
  const walker = RecordWalker.ofSegment({ ...identity, segment })
  for (const one of row) {
    await walkFile(folder, one, segmentBytes, walker)
    if (walker.stopped !== null) break
  }
  const wholes: Segment[] = []
  let end: SpoolEnd | null = null
  for (const { segment, partial } of row) {
    if (!partial) continue
    const start = segmentStart(segment.segno, segmentBytes)
    const validEnd = walker.validEnd !== null && walker.validEnd > start ? walker.validEnd : start
    const proved = isVerifiedFrom(walker, start)
    const reachesEnd = validEnd >= plus(start, segmentBytes)
    await syncFile(folder, segment, segmentBytes)
    if (!proved || !reachesEnd) {
      // Never past this segment: where its beginning is not proved, what lies behind it counts for nothing.
      const lsn = reachesEnd ? start : validEnd
      end = { place: { timeline: segment.timeline, lsn }, proved: proved || lsn === start }
      break
    }
    const name = join(folder, segmentName(segment, segmentBytes))
    await rename(name + partialSuffix, name)
    wholes.push(segment)
    end = endOf(segment, segmentBytes)
  }
  if (end === null) throw new Error('a row of open segments has none')
  return { wholes, end }
}

/** What was left, as far as it may be shipped: nothing where its beginning could not be verified. */
function leftOf({ place, proved }: SpoolEnd, segmentBytes: number, histories: Histories): LeftSegment[] {
  const segment = { timeline: place.timeline, segno: segnoOf(place.lsn, segmentBytes) }
  const bytes = offsetIn(place.lsn, segmentBytes)
  return proved && bytes > bytesOfParent(segment, segmentBytes, histories) ? [{ segment, bytes }] : []
}

/** Every byte from a segment's start up to the walk's valid end belongs to a record that was verified. */
function isVerifiedFrom(walker: RecordWalker, start: Lsn): boolean {
  return walker.firstRecord !== null && walker.firstRecord <= plus(start, longHeaderBytes)
}

function endOf(whole: Segment | undefined, segmentBytes: number): SpoolEnd | null {
  if (whole === undefined) return null
  const lsn = segmentStart(whole.segno + 1, segmentBytes)
  return { place: { timeline: whole.timeline, lsn }, proved: true }
}

async function walkFile(folder: string, one: Found, segmentBytes: number, walker: RecordWalker): Promise<void> {
  const name = segmentName(one.segment, segmentBytes) + (one.partial ? partialSuffix : '')
  const file = await open(join(folder, name), 'r')
  try {
    const buffer = Buffer.allocUnsafe(readBytes)
    for (let at = 0; at < segmentBytes && walker.stopped === null; ) {
      const { bytesRead } = await file.read(buffer, 0, readBytes, at)
      if (bytesRead === 0) break
      walker.push(buffer.subarray(0, bytesRead))
      at += bytesRead
    }
  } finally {
    await file.close()
  }
}

/** What the walk read may only be in the page cache: it counts as synced from here on. */
async function syncFile(folder: string, segment: Segment, segmentBytes: number): Promise<void> {
  let file: FileHandle | null = null
  try {
    file = await open(join(folder, segmentName(segment, segmentBytes) + partialSuffix), 'r')
    await file.sync()
  } finally {
    await file?.close()
  }
}
