/**
 * Which WAL an archive holds, all of it, from one listing: for each timeline the runs without a hole. The listing is
 * streamed, so that memory grows with the number of holes, and not with that of segments.
 *
 * A run begins with a segment's first byte. It ends with a segment's last one, or within a segment of which only a tail
 * is there.
 */
import type { CallOptions, ObjectInfo } from '../store/object-store.ts'
import { firstTimeline, type TimelineHistory } from '../wal/history.ts'
import { type Lsn, laterOf, plus } from '../wal/lsn.ts'
import { parseSegmentName, segmentStart } from '../wal/segment.ts'
import type { Archive } from './archive.ts'
import { damaged } from './damaged.ts'
import { readHistory } from './history-object.ts'
import { parseChunkKey, parseWalKey, segmentOfKey, tailFolder, tailPrefix, walFolder } from './keys.ts'
import { type Chunk, planTail } from './tail.ts'

/** Every byte of [from, end) is in the archive. */
export interface Run {
  readonly from: Lsn
  readonly end: Lsn
}

export interface TimelineCoverage {
  readonly timeline: number
  /** In order; between two of them there is a hole. */
  readonly runs: readonly Run[]
  /** Where the newest segment begins that any object is named after, also a `.partial` or a `.backup`. */
  readonly newest: Lsn | null
  /** When the newest of its segments and chunks was stored, by the store's clock. */
  readonly newestStored: Date | null
  /** When its history file was stored; null where there is none. */
  readonly historyStored: Date | null
  /** Null where the archive does not say how the timeline came about. */
  readonly history: TimelineHistory | null
}

export interface Coverage {
  readonly segmentBytes: number
  /** By number. */
  readonly timelines: readonly TimelineCoverage[]
}

export interface SegmentBytes extends CallOptions {
  readonly segmentBytes: number
}

/**
 * One listing of all segments, one of all chunks, and a request for each history file. Rejects ARCHIVE_DAMAGED for one
 * that cannot be read, and BAD_INPUT for a segment of another size.
 */
export async function readCoverage(archive: Archive, { segmentBytes, signal }: SegmentBytes): Promise<Coverage> {
  const tally = new CoverageTally(segmentBytes)
  // A tail that becomes whole meanwhile is met again as a segment; the other way round it could be missed.
  for await (const info of archive.store.list({ prefix: tailPrefix(), signal })) tally.addChunk(info)
  for await (const info of archive.store.list({ prefix: walFolder, signal })) tally.addWal(info)
  const timelines: TimelineCoverage[] = []
  for (const { historyKey, ...found } of tally.end()) {
    timelines.push({ ...found, history: await lineOf(archive, found.timeline, historyKey, signal) })
  }
  return { segmentBytes, timelines }
}

/**
 * Whether no WAL of a segment's timeline is missing from the segment's first byte on, up to the newest that is there; or at
 * least up to `upTo`, because uploads overtake one another: what is missing ahead of that may be on its way. Costs a listing
 * of the chunks and one of the segments from that one on. Rejects BAD_INPUT for a segment of another size.
 */
export async function isWholeFrom(
  { store }: Archive,
  segment: string,
  { segmentBytes, upTo, signal }: SegmentBytes & { readonly upTo: Lsn },
): Promise<boolean> {
  const { timeline, segno } = parseSegmentName(segment, segmentBytes)
  const tally = new CoverageTally(segmentBytes)
  // In the order of readCoverage, for the same reason.
  const chunks = { prefix: tailPrefix(timeline), after: tailFolder(segment), signal }
  for await (const info of store.list(chunks)) tally.addChunk(info)
  const first = walFolder + segment
  const segments = { prefix: walFolder + segment.slice(0, 8), after: first.slice(0, -1), signal }
  for await (const info of store.list(segments)) if (info.key >= first) tally.addWal(info)
  const [found] = tally.end()
  const run = found?.runs[0]
  if (found === undefined || run?.from !== segmentStart(segno, segmentBytes)) return false
  const isAll = found.runs.length === 1 && (found.newest ?? run.end) <= run.end
  return isAll || run.end >= upTo
}

async function lineOf(
  archive: Archive,
  timeline: number,
  key: string | null,
  signal: AbortSignal,
): Promise<TimelineHistory | null> {
  if (timeline === 1) return firstTimeline
  return key === null ? null : (await readHistory(archive, timeline, key, signal)).history
}

export type Tallied = Omit<TimelineCoverage, 'history'> & { readonly historyKey: string | null }

interface Building {
  readonly timeline: number
  runs: Run[]
  newest: Lsn | null
  newestStored: Date | null
  historyKey: string | null
  historyStored: Date | null
}

/** Adds up a listing. Chunks come in the order of their keys, and so do the objects of `wal_005/`. */
export class CoverageTally {
  readonly #segmentBytes: number
  readonly #timelines = new Map<number, Building>()
  #chunks: Chunk[] = []

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes
  }

  addChunk({ key, modified }: ObjectInfo): void {
    const chunk = parseChunkKey(key)
    if (chunk === null) throw damaged(key, 'lies among the chunks of a tail, and its name is not that of a chunk')
    if (this.#chunks[0]?.segment !== chunk.segment) this.#endTail()
    this.#chunks.push(chunk)
    this.#see(chunk.segment, modified)
  }

  addWal({ key, modified }: ObjectInfo): void {
    const object = parseWalKey(key)
    if (object?.kind === 'history') {
      const timeline = this.#timeline(object.timeline)
      timeline.historyKey ??= key
      timeline.historyStored ??= modified
      return
    }
    const segment = segmentOfKey(key)
    if (segment === null) return
    if (object?.kind !== 'segment') {
      this.#see(segment, null)
      return
    }
    const { timeline, start } = this.#see(segment, modified)
    addRun(timeline.runs, { from: start, end: plus(start, this.#segmentBytes) })
  }

  end(): Tallied[] {
    this.#endTail()
    for (const timeline of this.#timelines.values()) timeline.runs = unionOf(timeline.runs)
    return [...this.#timelines.values()].toSorted((a, b) => a.timeline - b.timeline)
  }

  #endTail(): void {
    const [first] = this.#chunks
    if (first === undefined) return
    const { timeline, start } = this.#see(first.segment, null)
    const { bytes } = planTail(this.#chunks, this.#segmentBytes)
    this.#chunks = []
    if (bytes > 0) addRun(timeline.runs, { from: start, end: plus(start, bytes) })
  }

  /** @param modified of an object that counts as WAL; null for any other. */
  #see(segment: string, modified: Date | null): { readonly timeline: Building; readonly start: Lsn } {
    const { timeline: number, segno } = parseSegmentName(segment, this.#segmentBytes)
    const timeline = this.#timeline(number)
    const start = segmentStart(segno, this.#segmentBytes)
    timeline.newest = laterOf(timeline.newest ?? start, start)
    if (modified !== null && (timeline.newestStored ?? modified) <= modified) timeline.newestStored = modified
    return { timeline, start }
  }

  #timeline(number: number): Building {
    const known = this.#timelines.get(number)
    if (known !== undefined) return known
    const timeline = {
      timeline: number,
      runs: [],
      newest: null,
      newestStored: null,
      historyKey: null,
      historyStored: null,
    }
    this.#timelines.set(number, timeline)
    return timeline
  }
}

/** Lets the last run grow, where the new one goes on from it: of a hundred thousand segments there is one run. */
function addRun(runs: Run[], run: Run): void {
  const last = runs.at(-1)
  if (last !== undefined && last.from <= run.from && run.from <= last.end) {
    if (run.end > last.end) runs[runs.length - 1] = { from: last.from, end: run.end }
  } else runs.push(run)
}

/** The same bytes in as few runs as possible, in order. */
export function unionOf(runs: readonly Run[]): Run[] {
  const union: Run[] = []
  for (const run of runs.toSorted((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0))) addRun(union, run)
  return union
}
