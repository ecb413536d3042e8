/**
 * WAL that is made up, and right in all that can be checked without a server: pages with headers, records with lengths,
 * links back and checksums. For what is about any timeline, any system and any segment size; real servers' WAL is
 * tested elsewhere.
 */
import { crc32c } from '../../src/wal/crc32c.ts'
import { hasLongHeader, firstIsContinuation, longHeaderBytes, pageBytes, shortHeaderBytes } from '../../src/wal/page.ts'

export const segmentBytes = 1024 * 1024
export const systemIdentifier = 7_574_638_451_905_423_678n

const magic = 0xd118
const recordHeaderBytes = 24
const crcOffset = 20
const heapResourceManager = 10
const xlogResourceManager = 0
const switchInfo = 0x40
const restorePointInfo = 0x70
const transactionManager = 1
const abortInfo = 0x20
const shortData = 255
const mostSegments = 8

export interface MadeWalOptions {
  readonly timeline?: number
  readonly systemIdentifier?: bigint
  /** The first segment's number. Default 1. */
  readonly firstSegno?: number
}

export class MadeWal {
  readonly systemIdentifier: bigint
  readonly firstSegno: number
  #timeline: number
  #bytes = Buffer.alloc(mostSegments * segmentBytes)
  /** Where the next byte goes, and where the last record began, as LSNs. */
  #at: number
  #previous: number

  constructor(options: MadeWalOptions = {}) {
    this.systemIdentifier = options.systemIdentifier ?? systemIdentifier
    this.firstSegno = options.firstSegno ?? 1
    this.#timeline = options.timeline ?? 1
    this.#at = this.firstSegno * segmentBytes
    this.#previous = this.#at - pageBytes
  }

  /** The end of the last record, as an LSN. */
  get end(): number {
    return this.#at
  }

  /** Writes records of `dataBytes` each, filled with `fill`, until at least `end` is reached. */
  fillTo(end: number, fill: string, dataBytes = 3000): this {
    while (this.#at < end) this.record(Buffer.alloc(dataBytes, fill))
    return this
  }

  record(data: Buffer): this {
    this.#write(heapResourceManager, 0, data)
    return this
  }

  /** The commit of a transaction. `time` is in microseconds since 2000. */
  commit(xid: number, time: bigint): this {
    this.#write(transactionManager, 0, Buffer.concat([Buffer.from([shortData, 8]), int64(time)]), xid)
    return this
  }

  abort(xid: number, time: bigint): this {
    this.#write(transactionManager, abortInfo, Buffer.concat([Buffer.from([shortData, 8]), int64(time)]), xid)
    return this
  }

  restorePoint(name: string, time: bigint): this {
    const padded = Buffer.alloc(64)
    padded.write(name)
    this.#write(
      xlogResourceManager,
      restorePointInfo,
      Buffer.concat([Buffer.from([shortData, 72]), int64(time), padded]),
    )
    return this
  }

  /** An XLOG_SWITCH, and zeros up to the segment's end. */
  switch(): this {
    this.#write(xlogResourceManager, switchInfo, Buffer.alloc(0))
    this.#at = Math.ceil(this.#at / segmentBytes) * segmentBytes
    return this
  }

  /** Another line of history, which goes on from here. Without `timeline` it is one of those that should not exist. */
  fork(timeline = this.#timeline): MadeWal {
    const { systemIdentifier, firstSegno } = this
    const other = new MadeWal({ systemIdentifier, firstSegno, timeline })
    other.#bytes = Buffer.from(this.#bytes)
    other.#at = this.#at
    other.#previous = this.#previous
    return other
  }

  /** A segment as it lies in pg_wal: with zeros behind the end. */
  segment(segno: number): Buffer {
    const from = (segno - this.firstSegno) * segmentBytes
    return Buffer.from(this.#bytes.subarray(from, from + segmentBytes))
  }

  #write(resourceManager: number, info: number, data: Buffer, xid = 0): void {
    const record = Buffer.alloc(recordHeaderBytes + data.length)
    record.writeUInt32LE(record.length, 0)
    record.writeUInt32LE(xid, 4)
    record.writeBigUInt64LE(BigInt(this.#previous), 8)
    record.writeUInt8(info, 16)
    record.writeUInt8(resourceManager, 17)
    data.copy(record, recordHeaderBytes)
    const ofData = crc32c(0, record, recordHeaderBytes, record.length)
    record.writeUInt32LE(crc32c(ofData, record, 0, crcOffset), crcOffset)
    for (let done = 0; done < record.length; ) {
      if (this.#at % pageBytes === 0) this.#beginPage(done === 0 ? 0 : record.length - done)
      if (done === 0) this.#previous = this.#at
      const count = Math.min(record.length - done, pageBytes - (this.#at % pageBytes))
      record.copy(this.#bytes, this.#offset(), done, done + count)
      done += count
      this.#at += count
    }
    this.#at = Math.ceil(this.#at / 8) * 8
  }

  #beginPage(remaining: number): void {
    const isFirst = this.#at % segmentBytes === 0
    const header = Buffer.alloc(isFirst ? longHeaderBytes : shortHeaderBytes)
    header.writeUInt16LE(magic, 0)
    header.writeUInt16LE((isFirst ? hasLongHeader : 0) | (remaining > 0 ? firstIsContinuation : 0), 2)
    header.writeUInt32LE(this.#timeline, 4)
    header.writeBigUInt64LE(BigInt(this.#at), 8)
    header.writeUInt32LE(remaining, 16)
    if (isFirst) {
      header.writeBigUInt64LE(this.systemIdentifier, 24)
      header.writeUInt32LE(segmentBytes, 32)
      header.writeUInt32LE(pageBytes, 36)
    }
    header.copy(this.#bytes, this.#offset())
    this.#at += header.length
  }

  #offset(): number {
    return this.#at - this.firstSegno * segmentBytes
  }
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(value)
  return bytes
}
