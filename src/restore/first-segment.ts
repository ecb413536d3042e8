/**
 * The first segment of a timeline, which holds the fork: it begins with a copy of its parent's bytes, and where it is
 * not in the archive, the server takes its parent's segment of that number, and all that the parent wrote there after
 * the fork.
 */
import { fileAt, type ReadableAt, type WritableAt } from '../archive/bytes-at.ts'
import { WalferryError } from '../kit/errors.ts'
import { type Ancestor, forkOf, type TimelineHistory, timelineAt } from '../wal/history.ts'
import { asLsn } from '../wal/lsn.ts'
import { offsetIn, segmentName, segnoOf } from '../wal/segment.ts'
import type { ExpectedSegment } from '../wal/segment-check.ts'
import type { Lacking, LostBranch } from './decide.ts'
import { lineOf } from './line.ts'
import { firstDifference, validBytesOf, walk } from './own-copy.ts'
import { checkTail, receiveSegment } from './receive-segment.ts'
import type { FetchRequest } from './request.ts'
import { withTemporary } from './temporary.ts'

const pieceBytes = 1024 * 1024

/** What decide.ts needs to know of a fork. */
export interface ForkSeen {
  readonly tailBytes: number
  readonly lacking: Lacking | null
  readonly lostBranch: LostBranch | null
}

/**
 * Looks whether a timeline begins in this segment. If so, and the tail may be served, it is filled up to the fork; if it
 * may not, or there is none, what the ancestors wrote behind the fork is looked for. Elsewhere, nothing is done.
 */
export async function lookAtFork(
  request: FetchRequest,
  expected: ExpectedSegment,
  tail: WritableAt,
  { tailBytes, mayServe }: { readonly tailBytes: number; readonly mayServe: boolean },
  signal: AbortSignal,
): Promise<ForkSeen> {
  const asItIs = { tailBytes, lacking: null, lostBranch: null }
  if (tailBytes === expected.segmentBytes) return asItIs
  const history = await lineOf(request, expected.segment.timeline, signal)
  const first = history === null ? null : firstSegmentOf(history, expected)
  if (first === null) return asItIs
  if (tailBytes === 0 || !mayServe) return { ...asItIs, lostBranch: await lostBranchIn(request, first, signal) }
  if (tailBytes >= first.forkOffset) return asItIs
  const lacking = await fillUpToFork(request, first, tail, tailBytes, signal)
  if (lacking !== null) return { ...asItIs, lacking }
  await checkTail(tail, first.forkOffset, expected, request.name)
  return { ...asItIs, tailBytes: first.forkOffset }
}

interface FirstSegment {
  readonly expected: ExpectedSegment
  /** How far into the segment the fork lies. */
  readonly forkOffset: number
  /** The timeline that holds the last byte before the fork. */
  readonly parent: number
  /** Timelines that the line left within this segment: mostly the parent alone. */
  readonly left: readonly Ancestor[]
}

function firstSegmentOf(history: TimelineHistory, expected: ExpectedSegment): FirstSegment | null {
  const { segmentBytes, segment } = expected
  const fork = forkOf(history)
  if (fork === null || segnoOf(fork.switchPoint, segmentBytes) !== segment.segno) return null
  return {
    expected,
    forkOffset: offsetIn(fork.switchPoint, segmentBytes),
    parent: timelineAt(history, asLsn(fork.switchPoint - 1n)),
    left: history.ancestors.filter(({ switchPoint }) => segnoOf(switchPoint, segmentBytes) === segment.segno),
  }
}

/**
 * Fills a tail that ends before the fork up to it, with the parent's bytes. Returns what of them is not there, or null.
 * Throws ARCHIVE_CONFLICT where the two differ.
 */
async function fillUpToFork(
  request: FetchRequest,
  first: FirstSegment,
  tail: WritableAt,
  bytes: number,
  signal: AbortSignal,
): Promise<Lacking | null> {
  return await withAncestor(request, first, first.parent, signal, async (name, source, has) => {
    const upTo = Math.min(has, first.forkOffset)
    const shared = Math.min(upTo, bytes)
    if ((await firstDifference(source, tail, shared)) < shared) throw differs(request.name, name)
    for (let at = bytes; at < upTo; at += pieceBytes) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, upTo - at))
      await source.read(piece, at)
      await tail.write(piece, at)
    }
    return upTo === first.forkOffset ? null : { name, forkOffset: first.forkOffset, bytes: Math.max(upTo, bytes) }
  })
}

/** WAL that an ancestor wrote into this segment after the line had left it, or null. */
async function lostBranchIn(
  request: FetchRequest,
  first: FirstSegment,
  signal: AbortSignal,
): Promise<LostBranch | null> {
  for (const { timeline, switchPoint } of first.left) {
    const end = await withAncestor(request, first, timeline, signal, async (_name, source, has) => {
      const ancestor = ofTimeline(first.expected, timeline)
      const walked = await walk(source, has, ancestor)
      // A record may go on in the next segment.
      return walked.completeUpTo === null ? validBytesOf(walked, ancestor) : ancestor.segmentBytes
    })
    if (end > offsetIn(switchPoint, first.expected.segmentBytes)) {
      return { timeline, forkOffset: first.forkOffset, fork: switchPoint }
    }
  }
  return null
}

/** Runs `use` with what the archive has of an ancestor's segment of the same number: its bytes from 0 on. */
async function withAncestor<T>(
  { archive, dest }: FetchRequest,
  { expected }: FirstSegment,
  timeline: number,
  signal: AbortSignal,
  use: (name: string, source: ReadableAt, bytes: number) => Promise<T>,
): Promise<T> {
  const ancestor = ofTimeline(expected, timeline)
  const { segment, segmentBytes, systemIdentifier = null } = ancestor
  const name = segmentName(segment, segmentBytes)
  return await withTemporary(dest, 'ancestor', async (file, path) => {
    const source = fileAt(file, path)
    const read = await archive.readTail(name, segmentBytes, source, { signal })
    if (read.found === 'tail') {
      if (read.bytes > 0) await checkTail(source, read.bytes, ancestor, name)
      return await use(name, source, read.bytes)
    }
    const key = read.objects[0]?.key ?? ''
    await receiveSegment(archive, key, source, { name, segmentBytes, systemIdentifier, signal })
    return await use(name, source, segmentBytes)
  })
}

function ofTimeline(expected: ExpectedSegment, timeline: number): ExpectedSegment {
  return { ...expected, segment: { timeline, segno: expected.segment.segno } }
}

function differs(name: string, ancestor: string): WalferryError {
  return new WalferryError('ARCHIVE_CONFLICT', `the tail of ${name} differs from ${ancestor} before the fork`, {
    fields: { segment: name, ancestor },
    hint: 'A timeline begins with the bytes of its parent: one of the two belongs to another history. Keep both, and compare them with the pg_wal of the server.',
  })
}
