/**
 * What to ship next: one pure decision over the segments and history files that lie in the spool, by timeline.
 *
 * Five lanes run beside each other:
 * - *find*: asks which whole segments the archive has, of several with one request, right before they are put;
 * - *whole*: whole segments, the oldest first, several at once; they may land in any order, but not far ahead of the
 *   first that is missing, and on its timeline only: who has nothing but the archive must see that it is missing;
 * - *settle*: deletes the chunks of those that are stored whole, which are listed of several with one request;
 * - *chunk*: the next chunk of a tail, one at a time. Only the first segment that is not covered yet may have one, so
 *   that a chunk never lies behind a hole;
 * - *merge*: several chunks of the open segment's tail into one, so that there are never many.
 *
 * A timeline is born in order: the bytes of its first segment up to the fork, then its history file, then all others. A
 * server that saw the history sooner would follow the new timeline without these bytes, or replay those of the line
 * that was left.
 *
 * A segment that became whole while it had chunks gets its last chunk at once, beside its upload as a whole: a few
 * hundred kilobytes cover it, and the next segment's tail does not wait for 16 MB.
 */
import { holeWindow } from '../archive/catalogue.ts'
import { type Chunk, type Merge, planMerge } from '../archive/tail.ts'
import type { SpoolSegment } from '../spool/inventory.ts'
import { bytesBeforeFork } from '../wal/history.ts'
import type { Lsn } from '../wal/lsn.ts'
import { offsetIn, segnoOf } from '../wal/segment.ts'

/** A segment of the spool, and what the store has of it. */
export interface Shipment extends SpoolSegment {
  /** Keys under which the archive has all of it, as it said a moment ago; null if it did not. */
  readonly found: readonly string[] | null
  /** Durable in the store under its own name. */
  readonly stored: boolean
  /** Stored, and no chunk of it is left. */
  readonly settled: boolean
  /** How often it could not be settled. */
  readonly refusals: number
  /** Chunks in the store that were put or compared by us; null until it was looked. */
  readonly chunks: readonly Chunk[] | null
  /** The store has chunks up to here, which can be compared once as much is synced; 0 before it was looked. */
  readonly lookFromBytes: number
  /** Bytes from its beginning that those chunks cover. */
  readonly coveredBytes: number
  readonly busy: ReadonlySet<Lane>
}

/** A history file of the spool. */
export interface HistoryShipment {
  readonly timeline: number
  /** The first byte that is the timeline's own. */
  readonly fork: Lsn
  readonly stored: boolean
  readonly busy: boolean
}

export type Lane = 'find' | 'whole' | 'settle' | 'chunk' | 'merge'

export type Task = { readonly shipment: Shipment } & (
  | { readonly lane: 'whole'; readonly found: readonly string[] }
  /** Finds out which chunks the store has of a segment, before the first one of ours. */
  | { readonly lane: 'chunk'; readonly to: null }
  | { readonly lane: 'chunk'; readonly from: number; readonly to: number }
  | { readonly lane: 'merge'; readonly merge: Merge }
)

export interface PlanInput {
  readonly shipments: readonly Shipment[]
  readonly histories: readonly HistoryShipment[]
  readonly segmentBytes: number
  readonly uploadConcurrency: number
  /** The oldest synced byte of the tail has waited for as long as it may. */
  readonly tailIsDue: boolean
}

/** Tasks of one segment each to start now. Those that are under way (`busy`) are not named again. */
export function nextTasks(input: PlanInput): Task[] {
  return [...wholeTasks(input), ...chunkTasks(input), ...mergeTasks(input)]
}

/** Half of what is looked back over for a hole. */
const mostAhead = holeWindow / 2

function isFarAhead({ segment }: Shipment, front: Shipment | null): boolean {
  if (front === null || segment.timeline < front.segment.timeline) return false
  return segment.timeline > front.segment.timeline || segment.segno - front.segment.segno >= mostAhead
}

function wholeTasks(input: PlanInput): Task[] {
  return wholesToPut(input)
    .flatMap((shipment) => (shipment.found === null ? [] : { lane: 'whole' as const, shipment, found: shipment.found }))
    .slice(0, freeUploads(input))
}

function wholesToPut(input: PlanInput): Shipment[] {
  const front = frontOf(input.shipments, input.segmentBytes)
  return input.shipments
    .filter((one) => one.whole && !one.stored && !one.busy.has('whole'))
    .filter((one) => !waitsForHistory(one, input) && !isFarAhead(one, front))
}

function freeUploads({ shipments, uploadConcurrency }: PlanInput): number {
  return Math.max(0, uploadConcurrency - shipments.filter((one) => one.busy.has('whole')).length)
}

/** More than that do not wait for one answer. */
const mostTogether = 16

/** The whole segments to look for in the archive now, if one of them could be put. */
export function nextToFind(input: PlanInput): Shipment[] {
  if (input.shipments.some((one) => one.busy.has('find'))) return []
  const waiting = wholesToPut(input)
  const unknown = waiting.filter((one) => one.found === null)
  return waiting.length - unknown.length >= freeUploads(input) ? [] : unknown.slice(0, mostTogether)
}

/** So many stored segments make a request worth while. Until then they lie in the spool. */
const worthSettling = 4

/**
 * The stored segments to settle now; what failed least often comes first. While others are uploaded, they wait for those.
 * One of which a chunk is still on its way waits for it: it would be left behind.
 */
export function nextToSettle({ shipments, uploadConcurrency }: PlanInput): Shipment[] {
  if (shipments.some((one) => one.busy.has('settle'))) return []
  const stored = shipments.filter((one) => one.stored && !one.settled && one.busy.size === 0)
  const isUploading = shipments.some((one) => one.busy.has('whole'))
  if (isUploading && stored.length < Math.min(uploadConcurrency, worthSettling)) return []
  return stored.toSorted((a, b) => a.refusals - b.refusals).slice(0, mostTogether)
}

function chunkTasks(input: PlanInput): Task[] {
  if (input.shipments.some((one) => one.busy.has('chunk'))) return []
  const front = frontOf(input.shipments, input.segmentBytes)
  if (front === null || front.syncedBytes === 0 || waitsForHistory(front, input)) return []
  // A whole segment without chunks is covered soonest as a whole.
  if (front.whole && front.coveredBytes === 0) return []
  if (front.chunks === null) {
    // One that was left since then will never reach as far: it is compared as it is.
    const waits = front.syncedBytes < front.lookFromBytes && !front.left
    return waits ? [] : [{ lane: 'chunk', shipment: front, to: null }]
  }
  if (front.syncedBytes <= front.coveredBytes || !(input.tailIsDue || front.whole || front.left)) return []
  // A timeline's first bytes are its parent's: they are shipped at once, or not yet.
  if (front.syncedBytes < bytesOfParent(front, input)) return []
  return [{ lane: 'chunk', shipment: front, from: front.coveredBytes, to: front.syncedBytes }]
}

function mergeTasks({ shipments, segmentBytes }: PlanInput): Task[] {
  const open = shipments.at(-1)
  if (open === undefined || open.whole || open.left || open.chunks === null || open.busy.has('merge')) return []
  // Another one has made it whole, and that stands among its chunks: it is not to be replaced by what we have of it.
  if (open.coveredBytes >= segmentBytes) return []
  const merge = planMerge(open.chunks)
  return merge === null ? [] : [{ lane: 'merge', shipment: open, merge }]
}

/** The first segment that the store does not cover to its end, or null. */
export function frontOf(shipments: readonly Shipment[], segmentBytes: number): Shipment | null {
  return shipments.find((one) => !isCovered(one, segmentBytes)) ?? null
}

/** The store has all of the segment that there will ever be. */
export function isCovered(one: Shipment, segmentBytes: number): boolean {
  return one.stored || one.coveredBytes >= (one.left ? one.syncedBytes : segmentBytes)
}

/** The history files to put now: those whose timeline has come as far as its fork. */
export function nextHistories(input: PlanInput): number[] {
  const newest = input.shipments.at(-1)?.segment.timeline ?? 0
  return input.histories
    .filter((one) => !one.stored && !one.busy && one.timeline <= newest && isBorn(one, input))
    .map((one) => one.timeline)
}

/** Its first segment reaches up to the fork in the store; or it was never ours to ship. */
function isBorn(history: HistoryShipment, { shipments, segmentBytes }: PlanInput): boolean {
  const segno = segnoOf(history.fork, segmentBytes)
  const first = shipments.find(({ segment }) => segment.timeline === history.timeline && segment.segno === segno)
  return first === undefined || first.stored || first.coveredBytes >= Math.max(1, offsetIn(history.fork, segmentBytes))
}

/** Of a timeline whose history is not stored, only the first segment may be. */
function waitsForHistory({ segment }: Shipment, { histories, segmentBytes }: PlanInput): boolean {
  const history = histories.find((one) => one.timeline === segment.timeline)
  return history !== undefined && !history.stored && segnoOf(history.fork, segmentBytes) !== segment.segno
}

function bytesOfParent({ segment }: Shipment, { histories, segmentBytes }: PlanInput): number {
  const history = histories.find((one) => one.timeline === segment.timeline)
  return bytesBeforeFork(history?.fork ?? null, segment.segno, segmentBytes)
}

/** Bytes of the first uncovered segment that no chunk carries, neither stored nor under way (up to `chunkTo`). */
export function unshippedTail(shipments: readonly Shipment[], segmentBytes: number, chunkTo: number): number {
  const front = frontOf(shipments, segmentBytes)
  return front === null ? 0 : Math.max(0, front.syncedBytes - Math.max(front.coveredBytes, chunkTo))
}
