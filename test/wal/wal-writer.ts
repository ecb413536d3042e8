/**
 * Writes WAL as PostgreSQL would: pages, records, switches. Made for tests, from the same header files as the reader
 * but not with its code: sums are computed bit by bit.
 */
import { asLsn, type Lsn } from '../../src/wal/lsn.ts'

const pageBytes = 8192

export interface WriterOptions {
  readonly start: Lsn
  readonly segmentBytes: number
  readonly timeline?: number
  readonly systemIdentifier?: bigint
  readonly magic?: number
}

/** A record of a resource manager that does not exist; what it holds is of no account here. */
export interface RecordOptions {
  readonly info?: number
  readonly resourceManager?: number
  /** Default: the position of the record written before. */
  readonly previous?: Lsn
}

export class WalWriter {
  /** Of pages that are begun from now on. */
  timeline: number
  readonly #options: WriterOptions
  readonly #parts: Buffer[] = []
  #length = 0
  #previous: Lsn = asLsn(0)
  #replaceNext = false

  constructor(options: WriterOptions) {
    this.#options = options
    this.timeline = options.timeline ?? 1
  }

  get position(): Lsn {
    return asLsn(this.#options.start + BigInt(this.#length))
  }

  /** All that was written, up to the end of the last record's padding. */
  bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }

  /** What was written, with zeros up to the end of its last segment. */
  paddedBytes(): Buffer {
    const bytes = this.bytes()
    const { start, segmentBytes } = this.#options
    const inSegment = Number((start + BigInt(bytes.length)) % BigInt(segmentBytes))
    return Buffer.concat([bytes, Buffer.alloc(inSegment === 0 ? 0 : segmentBytes - inSegment)])
  }

  /** Writes a record with `data` and returns where it begins. */
  record(data: Buffer, options: RecordOptions = {}): Lsn {
    this.#beginPageIfDue(0)
    const at = this.position
    const record = encodeRecord(data, { previous: this.#previous, ...options })
    this.#previous = at
    this.#put(record, record.length)
    return at
  }

  /** Begins a record, stops at the end of the page that holds its `count`-th byte, and drops the rest, as a crash does. */
  lostRecord(data: Buffer, count: number): Lsn {
    this.#beginPageIfDue(0)
    const at = this.position
    const record = encodeRecord(data, { previous: this.#previous })
    const { start } = this.#options
    for (let done = 0; done < count || (start + BigInt(this.#length)) % BigInt(pageBytes) !== 0n; ) {
      this.#beginPageIfDue(record.length - done)
      this.#append(record.subarray(done, done + 1))
      done++
      if (done >= record.length) throw new Error('the record has ended before it was lost')
    }
    this.#replaceNext = true
    return at
  }

  /** Writes an XLOG_SWITCH and fills the segment with `rest` (zeros by default). */
  switchSegment(rest = 0): Lsn {
    const at = this.record(Buffer.alloc(0), { resourceManager: 0, info: 0x40 })
    const inSegment = Number(this.position % BigInt(this.#options.segmentBytes))
    if (inSegment !== 0) this.#append(Buffer.alloc(this.#options.segmentBytes - inSegment, rest))
    return at
  }

  #put(record: Buffer, total: number): void {
    for (let done = 0; done < total; ) {
      this.#beginPageIfDue(done === 0 ? 0 : total - done)
      const room = pageBytes - Number(this.position % BigInt(pageBytes))
      const count = Math.min(room, total - done)
      this.#append(record.subarray(done, done + count))
      done += count
    }
    this.#append(Buffer.alloc((8 - (this.#length % 8)) % 8))
  }

  #beginPageIfDue(remaining: number): void {
    const at = this.position
    if (at % BigInt(pageBytes) !== 0n) return
    const { segmentBytes, magic = 0xd118, systemIdentifier = 7_000_000_000_000_000_001n } = this.#options
    const isFirst = at % BigInt(segmentBytes) === 0n
    const header = Buffer.alloc(isFirst ? 40 : 24)
    header.writeUInt16LE(magic, 0)
    header.writeUInt16LE((remaining > 0 ? 1 : 0) | (isFirst ? 2 : 0) | (this.#replaceNext ? 8 : 0), 2)
    header.writeUInt32LE(this.timeline, 4)
    header.writeBigUInt64LE(at, 8)
    header.writeUInt32LE(remaining, 16)
    if (isFirst) {
      header.writeBigUInt64LE(systemIdentifier, 24)
      header.writeUInt32LE(segmentBytes, 32)
      header.writeUInt32LE(pageBytes, 36)
    }
    this.#replaceNext = false
    this.#append(header)
  }

  #append(bytes: Buffer): void {
    this.#parts.push(bytes)
    this.#length += bytes.length
  }
}

function encodeRecord(data: Buffer, options: RecordOptions): Buffer {
  const record = Buffer.concat([Buffer.alloc(24), data])
  record.writeUInt32LE(record.length, 0)
  record.writeUInt32LE(0, 4)
  record.writeBigUInt64LE(options.previous ?? 0n, 8)
  record.writeUInt8(options.info ?? 0, 16)
  record.writeUInt8(options.resourceManager ?? 200, 17)
  record.writeUInt32LE(slowCrc32c(Buffer.concat([data, record.subarray(0, 20)])), 20)
  return record
}

/** CRC-32C by its definition. */
export function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}
