/**
 * What an archive holds, found out with few requests however many objects there are: a listing that begins at a given
 * key costs the same at every place, so the newest segment is found by bisection.
 *
 * Keys sort by timeline, then by position, because PostgreSQL's names do. To begin behind everything that is named
 * after a segment, a listing begins after its name and "z": `.`, `/` and all digits sort before that.
 */
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectInfo, ObjectStore } from '../store/object-store.ts'
import { type Lsn, plus } from '../wal/lsn.ts'
import { historyName, parseSegmentName, segmentName, segmentStart, segnoOf } from '../wal/segment.ts'
import { type GapName, parseChunkKey, parseWalKey, segmentOfKey, tailFolder, tailPrefix, walFolder } from './keys.ts'
import type { Run } from './coverage.ts'
import { type Chunk, planTail } from './tail.ts'

/** How far back a receiver that was killed may have left holes: its uploads in flight, with room to spare. */
export const holeWindow = 64

export interface SegmentOptions extends CallOptions {
  readonly segmentBytes: number
}

export interface RunOptions extends NewestOptions {
  /** Gaps that were noticed: what lies behind them counts. */
  readonly gaps?: readonly GapName[]
}

export interface NewestOptions extends SegmentOptions {
  /** A guess at the number, such as the server's own: the cost is the logarithm of how wrong it is. */
  readonly near?: number
}

/** The end of the archived WAL of one timeline, and what it rests on. */
export interface ArchivedRun {
  readonly timeline: number
  /** Every byte of [from, end) is in the archive. `from` is no further back than was looked, not the archive's begin. */
  readonly from: Lsn
  readonly end: Lsn
  /** The chunks of the segment that holds `end`, in any order; none where `end` is a segment's. */
  readonly tail: readonly Chunk[]
  /** Set if the archive holds newer WAL behind `end`, which a recovery cannot reach. */
  readonly hole: Hole | null
}

export interface Hole {
  /** The first segment that is missing, and the newest one that is there. */
  readonly missing: string
  readonly newest: string
  /** All that is missing between, in order: from the end of what is there to where the archive goes on. */
  readonly lacks: readonly Run[]
  /** What can be read up to the newest one's end. Empty where of that one no beginning is there. */
  readonly behind: Run
}

/** What a timeline has in the archive. */
export interface TimelineFound {
  readonly timeline: number
  /** The key of its history file; null where there is none, as for timeline 1. */
  readonly historyKey: string | null
  /** Whether any of its WAL is there: segment, `.partial`, `.backup` or chunk. */
  readonly hasWal: boolean
}

/** Whether anything lies where WAL-G's layout has WAL: with an identity, what makes a prefix an archive. */
export async function hasWalFolder(store: ObjectStore, options: CallOptions): Promise<boolean> {
  return (await firstAfter(store, walFolder, undefined, options)) !== null
}

/**
 * The number of the newest segment of a timeline that is there as one object, or null. Looks at about 2 x log2 of the
 * distance from `near`, or of the number of segments, many places.
 */
export async function newestSegment(
  store: ObjectStore,
  timeline: number,
  options: NewestOptions,
): Promise<number | null> {
  return (await newestWindow(store, timeline, options))?.newest ?? null
}

/**
 * How far a timeline's WAL reaches without a hole but the `gaps` that are known, looking back over the last 64 segments;
 * null if there is none. Beyond that window no hole is looked for: uploads that a killed receiver left out of order are a
 * few. But where the window itself begins with a hole, what lies before that decides: a base backup brings its own WAL
 * while a receiver is stopped, and that one has to go on from where it was. So does a tail that never became whole.
 */
export async function archivedUpTo(
  store: ObjectStore,
  timeline: number,
  options: RunOptions,
): Promise<ArchivedRun | null> {
  const { segmentBytes } = options
  const gaps = (options.gaps ?? []).filter((gap) => gap.timeline === timeline)
  const [window, tails] = await Promise.all([
    windowBehindNoHole(store, timeline, gaps, options),
    chunksOf(store, timeline, options),
  ])
  if (window === null && tails.size === 0) return null
  const { from, whole } = await withOpenTail(store, timeline, window, tails, options)
  const newest = Math.max(window?.newest ?? 0, ...tails.keys())
  let segno = from
  let tail: readonly Chunk[] = []
  let tailBytes = 0
  for (; ; segno++) {
    if (whole.has(segno)) continue
    tail = tails.get(segno) ?? []
    tailBytes = planTail(tail, segmentBytes).bytes
    if (tailBytes === segmentBytes) continue
    const end = plus(segmentStart(segno, segmentBytes), tailBytes)
    const gap = gaps.find((one) => one.from <= end && end < one.to && segnoOf(one.to, segmentBytes) <= newest)
    if (gap === undefined) break
    segno = segnoOf(gap.to, segmentBytes) - 1
  }
  const name = (number: number): string => segmentName({ timeline, segno: number }, segmentBytes)
  const bytesIn = (number: number): number =>
    whole.has(number) ? segmentBytes : planTail(tails.get(number) ?? [], segmentBytes).bytes
  const lacks = lackedIn(segno, newest, bytesIn, segmentBytes)
  const hole: Hole = {
    missing: name(segno),
    newest: name(newest),
    lacks: lacks.filter(({ from, end }) => !gaps.some((gap) => gap.from <= from && end <= gap.to)),
    behind: runUpTo(newest, bytesIn, segmentBytes),
  }
  return {
    timeline,
    from: segmentStart(from, segmentBytes),
    end: plus(segmentStart(segno, segmentBytes), tailBytes),
    tail: tailBytes === 0 ? [] : tail,
    hole: newest > segno ? hole : null,
  }
}

/** How many bytes there are of a segment's beginning. */
type BytesIn = (segno: number) => number

/** What is missing before the newest segment. */
function lackedIn(first: number, newest: number, bytesIn: BytesIn, segmentBytes: number): Run[] {
  const lacks: Run[] = []
  let from: Lsn | null = null
  for (let segno = first; segno <= newest; segno++) {
    const start = segmentStart(segno, segmentBytes)
    const bytes = bytesIn(segno)
    if (from !== null && (bytes > 0 || segno === newest)) {
      lacks.push({ from, end: start })
      from = null
    }
    if (bytes < segmentBytes) from ??= plus(start, bytes)
  }
  return lacks
}

/** Back from a segment for as long as nothing is missing. */
function runUpTo(newest: number, bytesOf: BytesIn, segmentBytes: number): Run {
  let first = newest
  while (bytesOf(first - 1) === segmentBytes) first--
  return { from: segmentStart(first, segmentBytes), end: plus(segmentStart(newest, segmentBytes), bytesOf(newest)) }
}

/**
 * The key of some object of the same timeline that belongs to a later segment: a segment, `.partial`, `.backup` or
 * chunk. Null if there is none: then nothing on this timeline needs the segment.
 */
export async function anyHigherThan(store: ObjectStore, segment: string, options: CallOptions): Promise<string | null> {
  const timeline = Number.parseInt(segment.slice(0, 8), 16)
  const found = await Promise.all([
    firstAfter(store, `${walFolder}${segment.slice(0, 8)}`, behind(walFolder + segment), options, isOfSegment),
    firstAfter(store, tailPrefix(timeline), behindTail(segment), options, isOfSegment),
  ])
  return found.find((info) => info !== null)?.key ?? null
}

/** The timelines above `above` that have anything in the archive, in order. A few requests for each. */
export async function timelinesAbove(
  store: ObjectStore,
  above: number,
  options: CallOptions,
): Promise<TimelineFound[]> {
  const found: TimelineFound[] = []
  for (let timeline = above; ; ) {
    const next = await nextTimeline(store, timeline, options)
    if (next === null) return found
    found.push(await lookAtTimeline(store, next, options))
    timeline = next
  }
}

async function nextTimeline(store: ObjectStore, above: number, options: CallOptions): Promise<number | null> {
  const [wal, tail] = await Promise.all([
    firstAfter(
      store,
      walFolder,
      behind(walFolder + timelineName(above)),
      options,
      (key) => parseTimeline(key) !== null,
    ),
    firstAfter(store, tailPrefix(), behind(tailPrefix(above)), options, isOfSegment),
  ])
  const numbers = [wal, tail].map((info) => (info === null ? null : parseTimeline(info.key)))
  const timelines = numbers.filter((number) => number !== null)
  return timelines.length === 0 ? null : Math.min(...timelines)
}

async function lookAtTimeline(store: ObjectStore, timeline: number, options: CallOptions): Promise<TimelineFound> {
  const history = walFolder + historyName(timeline)
  const [historyFile, wal, tail] = await Promise.all([
    firstAfter(store, history, undefined, options, (key) => parseWalKey(key)?.kind === 'history'),
    firstAfter(store, walFolder + timelineName(timeline), behind(history), options, isOfSegment),
    firstAfter(store, tailPrefix(timeline), undefined, options, isOfSegment),
  ])
  return { timeline, historyKey: historyFile?.key ?? null, hasWal: wal !== null || tail !== null }
}

interface Window {
  /** The lowest number that was looked for: 64 back from the newest object, or where the timeline begins. */
  readonly from: number
  readonly newest: number
  readonly whole: ReadonlySet<number>
}

/** More would cost a start more than it is worth: what lies so far back, no server has any more. */
const mostWindows = 64

/** The newest segments, down to one window that begins with a segment: a whole one, or one of a gap that is known. */
async function windowBehindNoHole(
  store: ObjectStore,
  timeline: number,
  gaps: readonly GapName[],
  options: NewestOptions,
): Promise<Window | null> {
  let window = await newestWindow(store, timeline, options)
  for (let count = 1; window !== null && count < mostWindows; count++) {
    const { from, newest, whole }: Window = window
    const start = segmentStart(from, options.segmentBytes)
    if (whole.has(from) || gaps.some((gap) => gap.from <= start && start < gap.to)) break
    const before = await newestWindow(store, timeline, { ...options, near: from }, from)
    if (before === null) break
    window = { from: before.from, newest, whole: new Set([...before.whole, ...whole]) }
  }
  return window
}

/** The window, from an older tail on that is not there as a whole segment: that one's receiver has stopped there. */
async function withOpenTail(
  store: ObjectStore,
  timeline: number,
  window: Window | null,
  tails: ReadonlyMap<number, unknown>,
  options: SegmentOptions,
): Promise<Pick<Window, 'from' | 'whole'>> {
  const older = [...tails.keys()].filter((segno) => window === null || segno < window.from)
  if (window === null) return { from: Math.min(...older), whole: new Set() }
  for (const segno of older.toSorted((a, b) => a - b)) {
    if ((await wholeSegments(store, timeline, segno, segno, options)).size > 0) continue
    const between = await wholeSegments(store, timeline, segno, window.from - 1, options)
    return { from: segno, whole: new Set([...between, ...window.whole]) }
  }
  return window
}

/** The newest segments of a timeline below a number, or null where none is there as one object. */
async function newestWindow(
  store: ObjectStore,
  timeline: number,
  options: NewestOptions,
  end = Number.POSITIVE_INFINITY,
): Promise<Window | null> {
  const first = await firstSegno(store, timeline, -1, options)
  if (first === null) return null
  // The newest object may be a .partial or a .backup: where its window has no segment, what lies before it decides.
  for (let below = end; ; ) {
    const newest = await newestObject(store, timeline, first, below, options)
    if (newest === null) return null
    const from = Math.max(first, newest - holeWindow + 1)
    const whole = await wholeSegments(store, timeline, from, newest, options)
    if (whole.size > 0) return { from, newest: Math.max(...whole), whole }
    below = from
  }
}

/**
 * The highest number in [first, below) that an object of the timeline is named after, or null. `first` is the lowest
 * of all. An object is at `low`, and none is above `high`: from the guess on, growing steps up or down find a pair that
 * is close, then the middle is looked at until they meet.
 */
async function newestObject(
  store: ObjectStore,
  timeline: number,
  first: number,
  below: number,
  options: NewestOptions,
): Promise<number | null> {
  if (first >= below) return null
  const above = async (segno: number): Promise<number | null> => {
    const found = await firstSegno(store, timeline, segno, options)
    return found === null || found >= below ? null : found
  }
  let low = first
  let high = Number.POSITIVE_INFINITY
  let at = Math.max(first, (options.near ?? first) - 1)
  for (let step = 1; high === Number.POSITIVE_INFINITY; step *= 2) {
    const found = await above(at)
    if (found === null) high = at
    else low = found
    at = low + step - 1
  }
  for (let step = 1; low === first && high > first; step *= 2) {
    const next = Math.max(first, high - step)
    const found = await above(next)
    if (found === null) high = next
    else low = found
  }
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const found = await above(middle)
    if (found === null) high = middle
    else low = found
  }
  return low
}

/** The lowest number above `segno` (-1 for all) that an object of the timeline is named after, or null. */
async function firstSegno(
  store: ObjectStore,
  timeline: number,
  segno: number,
  options: SegmentOptions,
): Promise<number | null> {
  const prefix = walFolder + timelineName(timeline)
  const after = afterSegno(timeline, segno, options.segmentBytes)
  const found = await firstAfter(store, prefix, after, options, isOfSegment)
  return found === null ? null : segnoOfKey(found.key, options.segmentBytes)
}

/** The numbers in [from, to] whose segment is there as one object. */
async function wholeSegments(
  store: ObjectStore,
  timeline: number,
  from: number,
  to: number,
  { segmentBytes, signal }: SegmentOptions,
): Promise<Set<number>> {
  const found = new Set<number>()
  const prefix = walFolder + timelineName(timeline)
  for await (const { key } of store.list({ prefix, after: afterSegno(timeline, from - 1, segmentBytes), signal })) {
    if (!isOfSegment(key)) continue
    const segno = segnoOfKey(key, segmentBytes)
    if (segno > to) break
    if (parseWalKey(key)?.kind === 'segment') found.add(segno)
  }
  return found
}

/** The chunks of all segments of a timeline, by number: of the open one, and of few others, which a kill has left. */
async function chunksOf(
  store: ObjectStore,
  timeline: number,
  { segmentBytes, signal }: SegmentOptions,
): Promise<Map<number, Chunk[]>> {
  const chunks = new Map<number, Chunk[]>()
  for await (const { key } of store.list({ prefix: tailPrefix(timeline), signal })) {
    const chunk = parseChunkKey(key)
    if (chunk === null) continue
    const at = segnoOfKey(key, segmentBytes)
    const known = chunks.get(at)
    if (known === undefined) chunks.set(at, [chunk])
    else known.push(chunk)
  }
  return chunks
}

/** The first object that `wanted` accepts, under a prefix and after a key; null if there is none. */
async function firstAfter(
  store: ObjectStore,
  prefix: string,
  after: string | undefined,
  { signal }: CallOptions,
  wanted: (key: string) => boolean = () => true,
): Promise<ObjectInfo | null> {
  for (let from = after; ; ) {
    let last: ObjectInfo | null = null
    for await (const info of store.list({ prefix, ...(from === undefined ? {} : { after: from }), limit: 1, signal })) {
      last = info
    }
    if (last === null || wanted(last.key)) return last
    from = last.key
  }
}

/** Sorts behind every key that is named after a segment or a timeline, and before the next one's. */
function behind(name: string): string {
  return `${name}z`
}

function behindTail(segment: string): string {
  return behind(tailFolder(segment).slice(0, -1))
}

function afterSegno(timeline: number, segno: number, segmentBytes: number): string {
  // Before the first segment, but behind the history file, whose name goes on with a dot.
  if (segno < 0) return behind(walFolder + historyName(timeline))
  return behind(walFolder + segmentName({ timeline, segno }, segmentBytes))
}

function isOfSegment(key: string): boolean {
  return segmentOfKey(key) !== null
}

function segnoOfKey(key: string, segmentBytes: number): number {
  try {
    return parseSegmentName(segmentOfKey(key) ?? '', segmentBytes).segno
  } catch (error) {
    throw new WalferryError('ARCHIVE_FOREIGN', `${key} is not the name of a segment of ${segmentBytes} bytes`, {
      hint: 'The archive was written with another wal_segment_size: give this cluster an archive of its own.',
      fields: { key, segmentBytes },
      cause: error,
    })
  }
}

function timelineName(timeline: number): string {
  return timeline.toString(16).toUpperCase().padStart(8, '0')
}

function parseTimeline(key: string): number | null {
  const segment = segmentOfKey(key)
  if (segment !== null) return Number.parseInt(segment.slice(0, 8), 16)
  const object = parseWalKey(key)
  return object?.kind === 'history' ? object.timeline : null
}
