/**
 * What lies in the spool, as far as it is durable: whole segments, the open one, and those that were left.
 *
 * A *left* segment is one that will not grow: its timeline ended in it, or WAL behind it was lost. It stays, as a
 * `.partial`, until it is removed.
 */
import { isOnLine, leavesAt } from '../wal/history.ts'
import { type Lsn, lsnZero, plus } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { isSameSegment, offsetIn, type Segment, segmentName, segmentStart, segnoOf } from '../wal/segment.ts'
import { bytesOfParent, type Histories, type HistoryFile, timelineBefore } from './histories.ts'
import { partialSuffix } from './segment-file.ts'

/** A segment that lies in the spool. */
export interface SpoolSegment {
  readonly segment: Segment
  readonly name: string
  readonly whole: boolean
  /** Not whole, and it never will be. */
  readonly left: boolean
  /** Bytes from its beginning that are durable, and proved to be the server's. */
  readonly syncedBytes: number
}

/** A segment that will not grow, and how much of it there is. */
export interface LeftSegment {
  readonly segment: Segment
  readonly bytes: number
}

/** The furthest place that is durable; what of its segment could not be verified after a crash is not `proved`. */
export interface SpoolEnd {
  readonly place: Place
  readonly proved: boolean
}

/** What a start finds in the spool's folder. */
export interface SpoolContents {
  readonly wholes: readonly Segment[]
  readonly left: readonly LeftSegment[]
  /** null while there is nothing. */
  readonly end: SpoolEnd | null
  /** The segment of `end` where a stream began there that had passed others over. */
  readonly begin: Segment | null
  readonly histories: Histories
}

export class Inventory {
  readonly #segmentBytes: number
  #wholes: Segment[]
  #left: LeftSegment[]
  #end: SpoolEnd | null
  readonly #foundBegin: Segment | null
  readonly #histories: Map<number, HistoryFile>
  /** The timeline that is being received, and where its stream began. */
  #timeline: number
  #begin: Lsn = lsnZero

  constructor(contents: SpoolContents, segmentBytes: number) {
    this.#segmentBytes = segmentBytes
    this.#wholes = [...contents.wholes]
    this.#left = [...contents.left]
    this.#end = contents.end
    this.#foundBegin = contents.begin
    this.#histories = new Map(contents.histories)
    this.#timeline = contents.end?.place.timeline ?? 0
  }

  get end(): Place | null {
    return this.#end?.place ?? null
  }

  get provedEnd(): Place | null {
    const end = this.#end
    if (end === null || end.proved) return end?.place ?? null
    const segment = this.#segmentOf(end.place)
    const timeline = timelineBefore(segment, this.#segmentBytes, this.#histories)
    const before = [segment.timeline, timeline].map((number) => ({ timeline: number, segno: segment.segno - 1 }))
    const follows = this.#wholes.some((one) => before.some((segmentBefore) => isSameSegment(one, segmentBefore)))
    const isBegin = this.#foundBegin !== null && isSameSegment(this.#foundBegin, segment)
    return follows || isBegin
      ? { timeline: segment.timeline, lsn: segmentStart(segment.segno, this.#segmentBytes) }
      : null
  }

  get histories(): Histories {
    return this.#histories
  }

  /** By timeline and position. */
  segments(): SpoolSegment[] {
    const found = this.#wholes.map((segment) => this.#describe(segment, 'whole', this.#segmentBytes))
    for (const { segment, bytes } of this.#left) found.push(this.#describe(segment, 'left', bytes))
    const end = this.#end
    const bytes = end === null ? 0 : offsetIn(end.place.lsn, this.#segmentBytes)
    if (end !== null && bytes > 0)
      found.push(this.#describe(this.#segmentOf(end.place), 'open', end.proved ? bytes : 0))
    return found.toSorted((a, b) => a.segment.timeline - b.segment.timeline || a.segment.segno - b.segment.segno)
  }

  /** See `Spool.onLine`. */
  onLine(timeline: number): Lsn | 'all' | null {
    if (timeline === this.#timeline) return 'all'
    const line = this.#histories.get(this.#timeline)?.history
    return line === undefined || !isOnLine(line, timeline) ? null : leavesAt(line, timeline)
  }

  keepHistory(timeline: number, kept: HistoryFile): void {
    this.#histories.set(timeline, kept)
  }

  /** A stream begins at a segment's start. */
  beginStream(begin: Place): void {
    this.#timeline = begin.timeline
    this.#begin = begin.lsn
    const end = this.#end
    // Its bytes come again.
    if (end?.proved === false && isSameSegment(this.#segmentOf(end.place), this.#segmentOf(begin))) {
      this.#end = { place: begin, proved: true }
    }
  }

  /** The stream is durable up to here. */
  moveEnd(to: Place): void {
    const end = this.#end
    const isElsewhere = end !== null && (end.place.timeline !== to.timeline || this.#isBeforeStream(end.place))
    if (isElsewhere) this.#leave(end)
    if (end === null || isElsewhere || to.lsn >= end.place.lsn) this.#end = { place: to, proved: true }
    // A segment that was left before is the open one again.
    this.#left = this.#left.filter((one) => !isSameSegment(one.segment, this.#segmentOf(to)))
  }

  addWhole(segment: Segment): void {
    // It may have been whole before, and was streamed over once more.
    if (!this.#isWhole(segment)) this.#wholes.push(segment)
    this.#left = this.#left.filter((one) => !isSameSegment(one.segment, segment))
  }

  /** Bytes at a segment's beginning that must be equal to what is streamed over them. */
  knownBytes(segment: Segment): number {
    if (this.#isWhole(segment)) return this.#segmentBytes
    const left = this.#left.find((one) => isSameSegment(one.segment, segment))
    if (left !== undefined) return left.bytes
    const end = this.#end
    if (end === null || !end.proved || !isSameSegment(this.#segmentOf(end.place), segment)) return 0
    return offsetIn(end.place.lsn, this.#segmentBytes)
  }

  /** The name of the file of a whole or left segment. */
  fileOf(segment: Segment): string {
    const isLeft = this.#left.some((one) => isSameSegment(one.segment, segment))
    return segmentName(segment, this.#segmentBytes) + (isLeft ? partialSuffix : '')
  }

  /** The file of a whole or left segment is gone. */
  remove(segment: Segment): void {
    this.#wholes = this.#wholes.filter((one) => !isSameSegment(one, segment))
    this.#left = this.#left.filter((one) => !isSameSegment(one.segment, segment))
  }

  #isWhole(segment: Segment): boolean {
    return this.#wholes.some((one) => isSameSegment(one, segment))
  }

  #describe(segment: Segment, state: 'whole' | 'left' | 'open', syncedBytes: number): SpoolSegment {
    const name = segmentName(segment, this.#segmentBytes)
    return { segment, name, whole: state === 'whole', left: state === 'left', syncedBytes }
  }

  #segmentOf({ timeline, lsn }: Place): Segment {
    return { timeline, segno: segnoOf(lsn, this.#segmentBytes) }
  }

  #isBeforeStream(place: Place): boolean {
    return plus(segmentStart(this.#segmentOf(place).segno, this.#segmentBytes), this.#segmentBytes) <= this.#begin
  }

  /** The segment that was open before a stream elsewhere will not grow any more. */
  #leave(end: SpoolEnd): void {
    const bytes = offsetIn(end.place.lsn, this.#segmentBytes)
    const segment = this.#segmentOf(end.place)
    // What could not be verified is never shipped: its file stays, and the next start finds it. And what a timeline has
    // of its parent's bytes alone says nothing of its own.
    const isWorthIt = end.proved && bytes > bytesOfParent(segment, this.#segmentBytes, this.#histories)
    if (isWorthIt && !this.#isWhole(segment)) this.#left.push({ segment, bytes })
  }
}
