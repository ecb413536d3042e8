/**
 * Walks the records of WAL from page to page and segment to segment, and says how far they are whole and right. What
 * PostgreSQL's recovery would accept and where it would end (src/backend/access/transam/xlogreader.c), with no more
 * memory than one record header: a record may have 1 GB.
 *
 *     record: length u32, xid u32, previous record's position u64, info u8, resource manager u8, 2 bytes, CRC-32C u32,
 *             then length - 24 bytes of data. The sum is over the data, then the header up to the sum.
 *
 * A record begins at a multiple of 8. It may go on over any number of pages, and even its header may be cut by a page's
 * end, but never within the first 8 bytes. Each page that it goes on with says so, and how much is left of it.
 *
 * An XLOG_SWITCH record ends its segment: what follows it there is not read (zeros, or after a crash what the file held
 * before), and records go on at the next segment's first page.
 *
 * A record whose end was lost in a crash stays in the WAL. Its next page is then written anew with the flag
 * `firstReplacesContinuation`, and the walk drops the record there, as PostgreSQL does.
 */
import { crc32c } from './crc32c.ts'
import { asLsn, formatLsn, type Lsn, plus } from './lsn.ts'
import {
  firstIsContinuation,
  firstReplacesContinuation,
  isZeroHeader,
  longHeaderBytes,
  pageBytes,
  pageFault,
  type PageHeader,
  readPageHeader,
  shortHeaderBytes,
} from './page.ts'
import { offsetIn, segmentStart } from './segment.ts'
import type { ExpectedSegment } from './segment-check.ts'

export interface WalkOptions {
  /** Where the fed bytes begin: the first byte of a page. */
  readonly start: Lsn
  readonly segmentBytes: number
  /** The highest timeline that pages may be of. They may be of earlier ones, but never go back. */
  readonly timeline: number
  /** Not compared where unknown. */
  readonly systemIdentifier?: bigint | undefined
  /** Told of each record that is whole and right, in order. */
  readonly onRecord?: ((record: WalkedRecord) => void) | undefined
}

export interface WalkedRecord {
  /** The record's header and what follows it, up to `headBytes` in all. Valid only during the call. */
  readonly head: Uint8Array
  readonly at: Lsn
  /** Where the next record can begin. */
  readonly end: Lsn
}

/** Why the walk went no further. At the end of what a server has written, that is the normal outcome. */
export interface Stop {
  /** The page or the record that was not accepted. */
  readonly at: Lsn
  /** `empty`: zeros where a page or a record should begin. `invalid`: something else than the WAL that belongs there. */
  readonly kind: 'empty' | 'invalid'
  /** In words, for a log. */
  readonly reason: string
}

/**
 * What the next byte belongs to, unless it is a page header's:
 * - `header`, `data`: of a record that began in what was fed
 * - `leftover`: the rest of a record that began before; it cannot be verified
 * - `padding`: up to the next multiple of 8
 * - `switched`: the segment's rest after an XLOG_SWITCH
 */
type State = 'header' | 'data' | 'leftover' | 'padding' | 'switched'

const recordHeaderBytes = 24
const headBytes = 128 // what readMark wants, with room to spare
const crcOffset = 20
const xlogResourceManager = 0
const switchInfo = 0x40

export class RecordWalker {
  readonly #options: WalkOptions
  /** The start position's halves: positions of records are compared as numbers, which is faster than as bigints. */
  readonly #startHigh: number
  readonly #startLow: number

  // Offsets count from the start.
  #fed = 0
  #inSegment: number
  #state: State = 'header'
  #stop: Stop | null = null

  readonly #pageHeader = new Uint8Array(longHeaderBytes)
  #timeline = 0
  #magic = 0

  /** Its header, and behind it the beginning of its data where `onRecord` wants that. */
  readonly #record = new Uint8Array(headBytes)
  readonly #recordView = new DataView(this.#record.buffer)
  #recordGot = 0
  #recordAt = 0
  #headerGot = 0
  /** How much is still to come of the record, the leftover or the padding. */
  #left = 0
  #crc = 0

  #firstRecord: number | null = null
  #lastRecord: number | null = null
  #validEnd: number | null = null
  #completeUpTo: number | null = null
  #endsInSwitch = false

  constructor(options: WalkOptions) {
    this.#options = options
    this.#startHigh = Number(options.start >> 32n)
    this.#startLow = Number(options.start & 0xffffffffn)
    this.#inSegment = offsetIn(options.start, options.segmentBytes)
    if (this.#inSegment % pageBytes !== 0) {
      throw new RangeError(`a walk cannot start at ${formatLsn(options.start)}, which does not begin a page`)
    }
  }

  /** A walk that starts with a segment's first byte. */
  static ofSegment(expected: ExpectedSegment): RecordWalker {
    return new RecordWalker({
      start: segmentStart(expected.segment.segno, expected.segmentBytes),
      segmentBytes: expected.segmentBytes,
      timeline: expected.segment.timeline,
      systemIdentifier: expected.systemIdentifier,
    })
  }

  /** The end of the last record that is whole and right, at a multiple of 8. Null while there is none. */
  get validEnd(): Lsn | null {
    return this.#lsn(this.#validEnd)
  }

  /** Where the first verified record begins. What lies before it is the rest of a record that began earlier. */
  get firstRecord(): Lsn | null {
    return this.#lsn(this.#firstRecord)
  }

  /** Where the last verified record begins. */
  get lastRecord(): Lsn | null {
    return this.#lsn(this.#lastRecord)
  }

  /** True if the last verified record is an XLOG_SWITCH. */
  get endsInSwitch(): boolean {
    return this.#endsInSwitch
  }

  /**
   * The end of the last segment that is complete: its records run up to its end or past it, or end in an XLOG_SWITCH.
   * A switch completes its segment at once, before the rest is fed. Null while there is none.
   *
   * A record that runs past the end is not verified by this; `validEnd` moves past it once its last byte was fed.
   */
  get completeUpTo(): Lsn | null {
    return this.#lsn(this.#completeUpTo)
  }

  /** Null while the walk goes on. */
  get stopped(): Stop | null {
    return this.#stop
  }

  /** Feeds the bytes that follow those fed before, in pieces of any size. After a stop nothing is looked at any more. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && this.#stop === null; ) {
      const inPage = this.#inSegment % pageBytes
      const headerBytes = this.#inSegment < pageBytes ? longHeaderBytes : shortHeaderBytes
      if (this.#state === 'switched') {
        at += this.#skip(Math.min(bytes.length - at, this.#options.segmentBytes - this.#inSegment))
      } else if (inPage < headerBytes) {
        at += this.#takePageHeader(bytes, at, inPage, headerBytes)
      } else {
        at += this.#takeRecord(bytes, at, Math.min(bytes.length, at + pageBytes - inPage))
      }
      if (this.#inSegment === 0 && this.#stop === null) this.#completeUpTo = this.#fed
    }
  }

  #skip(count: number): number {
    this.#advance(count)
    if (this.#inSegment === 0) this.#state = 'header'
    return count
  }

  #advance(count: number): void {
    this.#fed += count
    this.#inSegment += count
    if (this.#inSegment === this.#options.segmentBytes) this.#inSegment = 0
  }

  #takePageHeader(bytes: Uint8Array, at: number, inPage: number, headerBytes: number): number {
    const count = Math.min(bytes.length - at, headerBytes - inPage)
    this.#pageHeader.set(bytes.subarray(at, at + count), inPage)
    this.#advance(count)
    if (inPage + count === headerBytes) this.#enterPage(this.#fed - headerBytes)
    return count
  }

  #enterPage(pageAt: number): void {
    const header = readPageHeader(this.#pageHeader, 0)
    if (header === null) throw new Error('a buffer of the size of a long header holds no header')
    const address = plus(this.#options.start, pageAt)
    const fault = pageFault(header, { ...this.#options, address }) ?? this.#orderFault(header, pageAt)
    if (fault !== null) {
      this.#stopAt(pageAt, isZeroHeader(header) ? 'empty' : 'invalid', fault)
      return
    }
    this.#timeline = header.timeline
    this.#magic = header.magic
    const goesOn = (header.info & firstIsContinuation) !== 0
    if (pageAt === 0 && goesOn) {
      this.#state = 'leftover'
      this.#left = header.remaining
    }
    if ((header.info & firstReplacesContinuation) !== 0) this.#expectRecord()
    const expected = this.#isWithinRecord() ? this.#left : 0
    const remaining = goesOn ? header.remaining : 0
    if (goesOn && remaining === 0) {
      this.#stopAt(
        pageAt,
        'invalid',
        `the page at ${formatLsn(address)} goes on with a record of which nothing is left`,
      )
    } else if (remaining !== expected) {
      const reason = `the page at ${formatLsn(address)} has ${remaining} bytes of an earlier record, expected ${expected}`
      this.#stopAt(pageAt, 'invalid', reason)
    }
  }

  #orderFault(header: PageHeader, pageAt: number): string | null {
    if (pageAt === 0) return null
    const where = `the page at ${formatLsn(header.address)}`
    if (header.magic !== this.#magic) return `${where} is of another PostgreSQL version than the one before`
    if (header.timeline >= this.#timeline) return null
    return `${where} is of timeline ${header.timeline}, after one of timeline ${this.#timeline}`
  }

  #isWithinRecord(): boolean {
    return this.#state === 'data' || this.#state === 'leftover' || (this.#state === 'header' && this.#headerGot > 0)
  }

  #expectRecord(): void {
    this.#state = 'header'
    this.#headerGot = 0
  }

  /** Takes what it can of `bytes[at]` to `bytes[end - 1]`, which lie on one page. */
  #takeRecord(bytes: Uint8Array, at: number, end: number): number {
    if (this.#state === 'header') return this.#takeWholeRecords(bytes, at, end) || this.#takeHeader(bytes, at, end)
    const count = Math.min(this.#left, end - at)
    if (this.#state === 'data') {
      this.#crc = crc32c(this.#crc, bytes, at, at + count)
      if (this.#options.onRecord !== undefined && this.#recordGot < headBytes) {
        const kept = bytes.subarray(at, at + Math.min(count, headBytes - this.#recordGot))
        this.#record.set(kept, this.#recordGot)
        this.#recordGot += kept.length
      }
    }
    this.#left -= count
    this.#advance(count)
    if (this.#left === 0) this.#endPart()
    return count
  }

  /**
   * Takes records that lie whole within `bytes[at]` to `bytes[end - 1]`, and are right: nearly all records do and are,
   * and this way they cost little more than their sums. Stops before any other, of which the general way says more.
   */
  #takeWholeRecords(bytes: Uint8Array, at: number, end: number): number {
    if (this.#headerGot > 0 || this.#lastRecord === null) return 0
    let previousLow = this.#low(this.#lastRecord)
    let previousHigh = this.#high(this.#lastRecord)
    const low = this.#low(this.#fed)
    const high = this.#high(this.#fed)
    let last = -1
    let next = at
    let isSwitch = false
    while (!isSwitch && end - next >= recordHeaderBytes) {
      const length = readUint32(bytes, next)
      if (length < recordHeaderBytes || length > end - next) break
      const padded = length + (-length & 7)
      if (padded > end - next) break
      if (readUint32(bytes, next + 8) !== previousLow || readUint32(bytes, next + 12) !== previousHigh) break
      const dataCrc = crc32c(0, bytes, next + recordHeaderBytes, next + length)
      if (crc32c(dataCrc, bytes, next, next + crcOffset) !== readUint32(bytes, next + crcOffset)) break
      isSwitch = isSwitchRecord(bytes, next)
      if (this.#options.onRecord !== undefined) {
        this.#tell(bytes.subarray(next, next + Math.min(length, headBytes)), this.#fed + (next - at), padded)
      }
      previousLow = low + (next - at)
      previousHigh = high
      last = next
      next += padded
    }
    if (last < 0) return 0
    this.#recordAt = this.#fed + (last - at)
    this.#advance(next - at)
    this.#accept(isSwitch)
    return next - at
  }

  #takeHeader(bytes: Uint8Array, at: number, end: number): number {
    if (this.#headerGot === 0) this.#recordAt = this.#fed
    const count = Math.min(recordHeaderBytes - this.#headerGot, end - at)
    for (let n = 0; n < count; n++) this.#record[this.#headerGot + n] = bytes[at + n]!
    this.#headerGot += count
    this.#advance(count)
    if (this.#headerGot < 4) return count
    const length = this.#recordView.getUint32(0, true)
    if (length < recordHeaderBytes) {
      const reason = `the record at ${this.#text(this.#recordAt)} has a length of ${length} bytes`
      this.#stopAt(this.#recordAt, length === 0 ? 'empty' : 'invalid', reason)
      return count
    }
    this.#left = length - this.#headerGot
    if (this.#headerGot === recordHeaderBytes) this.#endHeader()
    return count
  }

  #endHeader(): void {
    if (!this.#hasRightPrevious()) {
      const previous = formatLsn(asLsn(this.#recordView.getBigUint64(8, true)))
      const reason = `the record at ${this.#text(this.#recordAt)} says that it follows the one at ${previous}`
      this.#stopAt(this.#recordAt, 'invalid', reason)
      return
    }
    this.#state = 'data'
    this.#recordGot = recordHeaderBytes
    this.#crc = 0
    if (this.#left === 0) this.#endPart()
  }

  /**
   * A record names the one before it. That tells a record of a recycled file, whose sum is right, from one that belongs
   * here. Of the first record we know only that it must name an earlier position.
   */
  #hasRightPrevious(): boolean {
    const low = this.#recordView.getUint32(8, true)
    const high = this.#recordView.getUint32(12, true)
    if (this.#lastRecord !== null) return low === this.#low(this.#lastRecord) && high === this.#high(this.#lastRecord)
    const ownHigh = this.#high(this.#recordAt)
    return high < ownHigh || (high === ownHigh && low < this.#low(this.#recordAt))
  }

  /** The data, the leftover or the padding has ended. */
  #endPart(): void {
    if (this.#state === 'padding') {
      this.#endRecord()
      return
    }
    if (
      this.#state === 'data' &&
      crc32c(this.#crc, this.#record, 0, crcOffset) !== this.#recordView.getUint32(crcOffset, true)
    ) {
      this.#stopAt(this.#recordAt, 'invalid', `the record at ${this.#text(this.#recordAt)} has a wrong checksum`)
      return
    }
    this.#left = -this.#inSegment & 7
    this.#state = 'padding'
    if (this.#left === 0) this.#endRecord()
  }

  /** The record has ended, with its padding. A leftover has no header, and proves nothing. */
  #endRecord(): void {
    const isLeftover = this.#headerGot === 0
    this.#expectRecord()
    if (isLeftover) return
    this.#tell(this.#record.subarray(0, this.#recordGot), this.#recordAt, this.#fed - this.#recordAt)
    this.#accept(isSwitchRecord(this.#record, 0))
  }

  #tell(head: Uint8Array, offset: number, bytes: number): void {
    const { onRecord, start } = this.#options
    onRecord?.({ head, at: plus(start, offset), end: plus(start, offset + bytes) })
  }

  /** The record that began at #recordAt ends here, and is right. */
  #accept(isSwitch: boolean): void {
    this.#firstRecord ??= this.#recordAt
    this.#lastRecord = this.#recordAt
    this.#validEnd = this.#fed
    this.#endsInSwitch = isSwitch
    if (isSwitch && this.#inSegment !== 0) {
      this.#state = 'switched'
      this.#completeUpTo = this.#fed + this.#options.segmentBytes - this.#inSegment
    }
  }

  #stopAt(offset: number, kind: Stop['kind'], reason: string): void {
    this.#stop = { at: plus(this.#options.start, offset), kind, reason }
  }

  #high(offset: number): number {
    return this.#startHigh + Math.floor((this.#startLow + offset) / 0x1_0000_0000)
  }

  #low(offset: number): number {
    return (this.#startLow + offset) % 0x1_0000_0000
  }

  #lsn(offset: number | null): Lsn | null {
    return offset === null ? null : plus(this.#options.start, offset)
  }

  #text(offset: number): string {
    return formatLsn(plus(this.#options.start, offset))
  }
}

function isSwitchRecord(bytes: Uint8Array, at: number): boolean {
  return bytes[at + 17] === xlogResourceManager && ((bytes[at + 16] ?? 0) & 0xf0) === switchInfo
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}
