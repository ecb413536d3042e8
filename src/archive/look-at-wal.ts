/**
 * What the records of a line's WAL say: when transactions ended, where restore points are, where the last whole record
 * begins. Objects are read for that, so each look is bounded.
 */
import { isError } from '../kit/errors.ts'
import type { CallOptions } from '../store/object-store.ts'
import { earlierOf, type Lsn } from '../wal/lsn.ts'
import { type RecordMark, readMark } from '../wal/record-mark.ts'
import { RecordWalker } from '../wal/record-walker.ts'
import { segmentStart, segnoBefore, segnoOf } from '../wal/segment.ts'
import type { Timestamp } from '../wal/timestamp.ts'
import type { Archive } from './archive.ts'
import type { Line } from './line.ts'
import { readWal } from './read-wal.ts'

/** What lies before a position. */
export interface LookedBack {
  /** Where the last whole record begins; null if none was found. */
  readonly lastRecord: Lsn | null
  /** The time of the last commit in the WAL; null if none was found. */
  readonly lastCommit: Timestamp | null
  /** The latest time of a commit or an abort: neighbours may be out of order. */
  readonly latest: Timestamp | null
  /** True if all WAL was looked at: what was not found is not there. */
  readonly isAll: boolean
}

const mostBackBytes = 512 * 1024 * 1024
const leastBackSegments = 2
const attempts = 3 // what is merged while it is read is there again at once, as one object

/**
 * Looks back from `end` until a transaction has ended, at most as far as `from`: at the last segment, then at the last 2,
 * 4, 8, up to 512 MiB, or `segments` of them. Mostly one object is read.
 */
export async function lookBack(
  archive: Archive,
  line: Line,
  { from, end, segments }: { readonly from: Lsn; readonly end: Lsn; readonly segments?: number },
  options: CallOptions,
): Promise<LookedBack> {
  const { segmentBytes } = line
  const last = segnoBefore(end, segmentBytes)
  const first = segnoOf(from, segmentBytes)
  const most = segments ?? Math.max(leastBackSegments, Math.floor(mostBackBytes / segmentBytes))
  for (let count = 1; ; count = Math.min(most, count * 2)) {
    const begin = Math.max(first, last - count + 1)
    const seen: { lastCommit: Timestamp | null; latest: Timestamp | null } = { lastCommit: null, latest: null }
    const lastRecord = await walkLine(archive, line, begin, end, options, (mark) => {
      if (mark.kind === 'restore-point' || mark.at < from) return true
      if (mark.kind === 'commit') seen.lastCommit = mark.time
      if (seen.latest === null || seen.latest < mark.time) seen.latest = mark.time
      return true
    })
    const isAll = begin === first
    if (isAll || count === most || (seen.lastCommit !== null && lastRecord !== null)) {
      return { lastRecord, ...seen, isAll }
    }
  }
}

export interface Search {
  readonly from: Lsn
  readonly end: Lsn
  /** How many segments to read at most. */
  readonly segments: number
  readonly isIt: (mark: RecordMark) => boolean
}

export interface Found {
  /** The first mark that begins at `from` or later; null for none. */
  readonly found: RecordMark | null
  /** False if the search ended before `end`. */
  readonly isAll: boolean
  /** How many were read. */
  readonly segments: number
}

export async function findMark(archive: Archive, line: Line, search: Search, options: CallOptions): Promise<Found> {
  const { segmentBytes } = line
  const first = segnoOf(search.from, segmentBytes)
  const end = segnoBefore(search.end, segmentBytes)
  const last = Math.min(end, first + search.segments - 1)
  const upTo = segmentStart(last + 1, segmentBytes)
  const seen: { found: RecordMark | null } = { found: null }
  await walkLine(archive, line, first, earlierOf(upTo, search.end), options, (mark) => {
    if (mark.at < search.from || !search.isIt(mark)) return true
    seen.found = mark
    return false
  })
  return { found: seen.found, isAll: last === end, segments: Math.max(0, last - first + 1) }
}

/** Returns where the last whole record begins. `onMark` says whether to go on. */
async function walkLine(
  archive: Archive,
  line: Line,
  fromSegno: number,
  end: Lsn,
  options: CallOptions,
  onMark: (mark: RecordMark) => boolean,
): Promise<Lsn | null> {
  for (let attempt = 1; ; attempt++) {
    let goesOn = true
    const walker = new RecordWalker({
      start: segmentStart(fromSegno, line.segmentBytes),
      segmentBytes: line.segmentBytes,
      timeline: line.timeline,
      onRecord: ({ head, at, end: next }) => {
        const mark = goesOn ? readMark(head, at, next) : null
        if (mark !== null) goesOn = onMark(mark)
      },
    })
    try {
      for await (const piece of readWal(archive, line, fromSegno, end, options)) {
        walker.push(piece)
        if (!goesOn || walker.stopped !== null) break
      }
      return walker.lastRecord
    } catch (error) {
      if (!isError(error, 'KEY_MISSING', 'ARCHIVE_HOLE') || attempt === attempts) throw error
    }
  }
}
