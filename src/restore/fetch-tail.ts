/**
 * A segment that is not there as one object: its tail, if it may be served, or the proof that nothing needs it. Looks,
 * in an order that makes the looks agree; what they amount to is decided in decide.ts.
 */
import { rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { FoundNote } from '../archive/backlog.ts'
import { fileAt } from '../archive/bytes-at.ts'
import { anyHigherThan, timelinesAbove } from '../archive/catalogue.ts'
import { identityKey } from '../archive/keys.ts'
import { WalferryError } from '../kit/errors.ts'
import { formatLsn, plus } from '../wal/lsn.ts'
import { parseSegmentName, segmentStart } from '../wal/segment.ts'
import type { ExpectedSegment } from '../wal/segment-check.ts'
import { decide } from './decide.ts'
import { lookAtFork } from './first-segment.ts'
import { forkBehind } from './fork-behind.ts'
import { lookAtOwnCopy } from './own-copy.ts'
import { refuseOtherLines } from './page-timelines.ts'
import { checkTail } from './receive-segment.ts'
import { backlogFor, refuseBacklog } from './refuse-backlog.ts'
import type { FetchAnswer, FetchRequest } from './request.ts'
import { withTemporary } from './temporary.ts'
import { ownerFor } from './whose.ts'

/** The segment became whole meanwhile, or is needed by what was seen only after it had been looked for. */
export interface LookAgain {
  readonly answer: 'look again'
  readonly neededBy: string | null
}

const becameWhole: LookAgain = { answer: 'look again', neededBy: null }

/** @param neededBy what was seen to need the segment, before it was looked for this time; null for nothing. */
export async function fetchTail(
  request: FetchRequest,
  neededBy: string | null,
  signal: AbortSignal,
): Promise<FetchAnswer | LookAgain> {
  const { archive, name, dest } = request
  const [backlog, owner] = await Promise.all([backlogFor(request, signal), ownerFor(request, signal)])
  if (owner === null) return await absentWithoutOwner(request, backlog, signal)
  const { segmentBytes } = owner
  const expected: ExpectedSegment = {
    segment: parseSegmentName(name, segmentBytes),
    segmentBytes,
    systemIdentifier: BigInt(owner.systemIdentifier),
  }
  return await withTemporary(dest, 'answer', async (file, path) => {
    const tail = fileAt(file, path)
    const read = await archive.readTail(name, segmentBytes, tail, { signal })
    if (read.found === 'whole') return becameWhole
    await file.truncate(read.bytes)
    if (read.bytes > 0) {
      await checkTail(tail, read.bytes, expected, name)
      await refuseOtherLines(request, tail, read.bytes, expected, signal)
    }
    if (read.bytes < segmentBytes && neededBy === null) {
      const seen = await whatNeeds(request, expected, signal)
      // It may have come before what needs it did, and after we had looked for it.
      if (seen !== null) return { answer: 'look again', neededBy: seen }
    }
    const tailBytes = request.tails || read.bytes === segmentBytes ? read.bytes : 0
    const mayServe = neededBy === null || request.endAtHole
    const first = await lookAtFork(request, expected, tail, { tailBytes, mayServe }, signal)
    const start = segmentStart(expected.segment.segno, segmentBytes)
    const own = await lookAtOwnCopy(join(dirname(dest), name), tail, Math.max(read.bytes, first.tailBytes), expected)
    const decision = decide({ name, start, segmentBytes, neededBy, own, endAtHole: request.endAtHole, ...first })
    if (decision !== 'serve-full-tail') refuseBacklog(name, backlog)
    switch (decision) {
      case 'own':
        return { answer: 'absent', why: 'pg_wal has it, or more of it' }
      case 'end':
        return { answer: 'absent', why: 'the archive ends before it' }
      case 'end-at-hole':
        return { answer: 'absent', why: `it is a hole, taken for the end; given up is ${neededBy}`, gaveUp: true }
      case 'serve-tail':
      case 'serve-full-tail':
    }
    // PostgreSQL takes a segment only at its full size; zeros behind the end are the end of WAL.
    await file.truncate(segmentBytes)
    await rename(path, dest)
    if (decision === 'serve-full-tail') return { answer: 'served', what: 'the segment' }
    return { answer: 'served', what: `the tail, up to ${formatLsn(plus(start, first.tailBytes))}` }
  })
}

/** What cannot be reached without the segment: a later object of its timeline, or a timeline that forked behind it. */
async function whatNeeds(
  { archive, name }: FetchRequest,
  expected: ExpectedSegment,
  signal: AbortSignal,
): Promise<string | null> {
  const later = await anyHigherThan(archive.store, name, { signal })
  if (later !== null) return later
  const timeline = await forkBehind(archive, expected, signal)
  return timeline === null ? null : `timeline ${timeline}, which forked behind it`
}

/** Without the size of a segment no tail can be served and no fork be placed: then only an archive without WAL lacks it. */
async function absentWithoutOwner(
  { archive, name }: FetchRequest,
  backlog: readonly FoundNote[],
  signal: AbortSignal,
): Promise<FetchAnswer> {
  const { store } = archive
  const withWal = (await timelinesAbove(store, 0, { signal })).find((found) => found.hasWal)
  if (withWal === undefined) {
    refuseBacklog(name, backlog)
    return { answer: 'absent', why: 'the archive has no WAL' }
  }
  throw new WalferryError(
    'ARCHIVE_DAMAGED',
    `${store.url} has WAL of timeline ${withWal.timeline}, and nothing in it says whose, or of which segment size`,
    { hint: `Put ${identityKey} back, or the archive's first whole segment.`, fields: { timeline: withWal.timeline } },
  )
}
