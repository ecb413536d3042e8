/**
 * Is the file of a segment all that the segment will ever hold? Its name does not say so: a standby archives what it has
 * restored, a padded tail included, and the last segment of a timeline that it has left.
 *
 *     complete     its records run up to its end or past it, or end in an XLOG_SWITCH
 *     incomplete   its records end before, and no page behind them belongs to the segment: zeros, or a former life's
 *     damaged      a record or a page is wrong, and pages that belong to the segment follow it
 *
 * A record that runs past the end cannot be verified, because its checksum lies in the next segment: a tail that ends
 * within it, in the segment's last page, looks complete when it is padded. Whoever knows where tails end has to ask.
 */
import { formatLsn, type Lsn, plus } from './lsn.ts'
import { pageBytes, pageFault, readPageHeader } from './page.ts'
import { RecordWalker } from './record-walker.ts'
import { segmentStart } from './segment.ts'
import type { ExpectedSegment } from './segment-check.ts'

export type SegmentState =
  /** `runsOn`: the last record runs past the end. */
  | { readonly kind: 'complete'; readonly runsOn: boolean }
  /** `reason` says in words where it ends. */
  | { readonly kind: 'incomplete' | 'damaged'; readonly reason: string }

export class SegmentWalk {
  readonly #expected: ExpectedSegment
  readonly #walker: RecordWalker
  #fed = 0
  #goesOnAt: number | null = null

  constructor(expected: ExpectedSegment) {
    this.#expected = expected
    this.#walker = RecordWalker.ofSegment(expected)
  }

  /** Feeds the next whole pages. */
  push(pages: Uint8Array): void {
    if (pages.length % pageBytes !== 0) throw new RangeError(`${pages.length} bytes are no whole pages`)
    for (let at = 0; at < pages.length; at += pageBytes) {
      const page = pages.subarray(at, at + pageBytes)
      if (this.#walker.stopped === null) this.#walker.push(page)
      else if (this.#goesOnAt === null && this.#belongsHere(page)) this.#goesOnAt = this.#fed
      this.#fed += pageBytes
    }
  }

  /** To be asked once all of the segment was fed. */
  end(): SegmentState {
    if (this.#fed !== this.#expected.segmentBytes) {
      const reason = `it has ${this.#fed} bytes, and a segment has ${this.#expected.segmentBytes}`
      return { kind: 'damaged', reason }
    }
    const { stopped, validEnd, endsInSwitch } = this.#walker
    const runsOn = !endsInSwitch && validEnd !== this.#address(this.#fed)
    if (stopped === null) return { kind: 'complete', runsOn }
    if (this.#goesOnAt === null) return { kind: 'incomplete', reason: stopped.reason }
    const reason = `${stopped.reason}, and its WAL goes on at ${formatLsn(this.#address(this.#goesOnAt))}`
    return { kind: 'damaged', reason }
  }

  #belongsHere(page: Uint8Array): boolean {
    const header = readPageHeader(page, 0)
    if (header === null) return false
    const { segment, segmentBytes, systemIdentifier } = this.#expected
    const address = this.#address(this.#fed)
    return pageFault(header, { address, timeline: segment.timeline, segmentBytes, systemIdentifier }) === null
  }

  #address(offset: number): Lsn {
    return plus(segmentStart(this.#expected.segment.segno, this.#expected.segmentBytes), offset)
  }
}
