/**
 * Is a file the segment that its name says? Two checks, both of page headers only: cheap, because they look at one
 * page in one case, and at 24 bytes of every 8192 in the other.
 *
 * Not checked is what lies between the headers: `RecordWalker` (record-walker.ts) does that.
 */
import {
  type ExpectedPage,
  isZeroHeader,
  longHeaderBytes,
  pageBytes,
  pageFault,
  type PageHeader,
  readPageHeader,
  shortHeaderBytes,
  shortHeaderFlags,
} from './page.ts'
import { plus } from './lsn.ts'
import { type Segment, segmentName, segmentStart } from './segment.ts'

export interface ExpectedSegment {
  /** What the name says. Pages may be of an earlier timeline: timeline 2's first segment begins with 1's bytes. */
  readonly segment: Segment
  readonly segmentBytes: number
  /** Not compared where unknown. */
  readonly systemIdentifier?: bigint | undefined
}

/** What is wrong with a segment's first page, in words, or null. `bytes` are the file's first: 40 are enough. */
export function firstPageFault(bytes: Uint8Array, expected: ExpectedSegment): string | null {
  const header = readPageHeader(bytes, 0)
  if (header === null) return `${nameOf(expected)} ends within its first page's header, at byte ${bytes.length}`
  const fault = pageFault(header, pageOf(expected, 0))
  return fault === null ? null : `${nameOf(expected)}: ${fault}`
}

/**
 * Checks every page header of one segment, fed in order in pieces of any size.
 *
 * Empty pages are allowed at the end (after an XLOG_SWITCH, or where a tail was padded), but nothing may follow them.
 * A server that crashed just after a switch can leave pages of the file's former life there instead; PostgreSQL never
 * reads them, but here they are a fault: where it matters, a RecordWalker tells the two apart.
 */
export class SegmentChecker {
  readonly #expected: ExpectedSegment
  readonly #startHigh: number
  readonly #startLow: number
  readonly #header = new Uint8Array(longHeaderBytes)
  #fed = 0
  #timeline = 0
  #magic = 0
  #emptyFrom: number | null = null
  #fault: string | null = null

  constructor(expected: ExpectedSegment) {
    this.#expected = expected
    const start = segmentStart(expected.segment.segno, expected.segmentBytes)
    this.#startHigh = Number(start >> 32n)
    this.#startLow = Number(start & 0xffffffffn)
  }

  /** What is wrong so far, in words, or null. */
  get fault(): string | null {
    return this.#fault
  }

  /** The offset of the first empty page, or null. */
  get emptyFrom(): number | null {
    return this.#emptyFrom
  }

  push(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at < bytes.length && this.#fault === null; ) {
      const inPage = this.#fed % pageBytes
      if (inPage === 0 && this.#goesOn(view, at)) {
        const page = Math.min(bytes.length - at, pageBytes)
        at += page
        this.#fed += page
        continue
      }
      const wanted = this.#fed < pageBytes ? longHeaderBytes : shortHeaderBytes
      const take = Math.min(bytes.length - at, (inPage < wanted ? wanted : pageBytes) - inPage)
      if (inPage < wanted) this.#header.set(bytes.subarray(at, at + take), inPage)
      at += take
      this.#fed += take
      if (inPage < wanted && inPage + take === wanted) this.#checkPage(this.#fed - wanted)
    }
  }

  /** To be asked once all is fed: also a wrong length is a fault then. */
  end(): string | null {
    if (this.#fault === null && this.#fed !== this.#expected.segmentBytes) {
      this.#setFault(`it has ${this.#fed} bytes, expected ${this.#expected.segmentBytes}`)
    }
    return this.#fault
  }

  /**
   * Whether the page that begins at `at` is without fault, because it says the same as the one before it, and its address.
   * So is nearly every page, and to look closer at 2048 of them takes as long as to decompress them, in a process that has
   * just started. What is not seen at once is left to `#checkPage`.
   */
  #goesOn(view: DataView, at: number): boolean {
    return (
      this.#fed > 0 &&
      this.#fed < this.#expected.segmentBytes &&
      this.#emptyFrom === null &&
      view.byteLength - at >= shortHeaderBytes &&
      view.getUint16(at, true) === this.#magic &&
      (view.getUint16(at + 2, true) & ~shortHeaderFlags) === 0 &&
      view.getUint32(at + 4, true) === this.#timeline &&
      view.getUint32(at + 8, true) === this.#startLow + this.#fed &&
      view.getUint32(at + 12, true) === this.#startHigh
    )
  }

  #checkPage(offset: number): void {
    if (offset >= this.#expected.segmentBytes) {
      this.#setFault(`it has more than ${this.#expected.segmentBytes} bytes`)
      return
    }
    const header = readPageHeader(this.#header, 0)
    if (header === null) throw new Error('a buffer of the size of a long header holds no header')
    if (offset > 0 && isZeroHeader(header)) {
      this.#emptyFrom ??= offset
      return
    }
    if (this.#emptyFrom !== null) {
      this.#setFault(`the page at offset ${this.#emptyFrom} is empty, but the one at ${offset} is not`)
      return
    }
    const fault = pageFault(header, pageOf(this.#expected, offset)) ?? this.#orderFault(header, offset)
    if (fault !== null) this.#setFault(fault)
    this.#timeline = header.timeline
    this.#magic = header.magic
  }

  #orderFault(header: PageHeader, offset: number): string | null {
    if (offset === 0) return null
    if (header.magic !== this.#magic) return `the page at offset ${offset} is of another PostgreSQL version`
    if (header.timeline >= this.#timeline) return null
    return `the page at offset ${offset} is of timeline ${header.timeline}, after one of timeline ${this.#timeline}`
  }

  #setFault(fault: string): void {
    this.#fault = `${nameOf(this.#expected)}: ${fault}`
  }
}

function nameOf(expected: ExpectedSegment): string {
  return segmentName(expected.segment, expected.segmentBytes)
}

function pageOf(expected: ExpectedSegment, offset: number): ExpectedPage {
  return {
    address: plus(segmentStart(expected.segment.segno, expected.segmentBytes), offset),
    timeline: expected.segment.timeline,
    segmentBytes: expected.segmentBytes,
    systemIdentifier: expected.systemIdentifier,
  }
}
