/**
 * The header of a WAL page (src/include/access/xlog_internal.h). All numbers are little-endian, as PostgreSQL writes
 * them on the machines that it is built for today.
 *
 *     short, 24 bytes: magic u16, info u16, timeline u32, page address u64, remaining length u32, 4 bytes of padding
 *     long, 40 bytes:  the same, then system identifier u64, segment size u32, block size u32
 *
 * The first page of a segment has the long header, every other page the short one. Example of a first page, of
 * segment 00000001000000000000002A of 16 MB on PostgreSQL 18:
 *
 *     18 D1 06 00  01 00 00 00  00 00 00 2A 00 00 00 00  00 00 00 00  00 00 00 00
 *     4F 6B 1C 55 8E C9 7A 69  00 00 00 01  00 20 00 00
 *
 * (magic D118; long header and removable backup blocks; timeline 1; 0/2A000000; no record goes on here; ...)
 */
import { asLsn, formatLsn, type Lsn } from './lsn.ts'

/** XLOG_BLCKSZ. Another one needs a PostgreSQL compiled for it, and is refused by `pageFault`. */
export const pageBytes = 8192

export const shortHeaderBytes = 24
export const longHeaderBytes = 40

/** The page begins with the rest of a record that began on an earlier page. */
export const firstIsContinuation = 0x0001
export const hasLongHeader = 0x0002
/** Backup blocks of records on this page may be left out by a compressor. It changes nothing for us. */
const backupBlocksRemovable = 0x0004
/** The record that should go on here was given up (its end was lost in a crash); another one begins instead. */
export const firstReplacesContinuation = 0x0008
const allFlags = firstIsContinuation | hasLongHeader | backupBlocksRemovable | firstReplacesContinuation

/** All that the pages behind a segment's first may have. */
export const shortHeaderFlags = allFlags & ~hasLongHeader

const majorOfMagic: ReadonlyMap<number, number> = new Map([
  [0xd106, 13],
  [0xd10d, 14],
  [0xd110, 15],
  [0xd113, 16],
  [0xd116, 17],
  [0xd118, 18],
])

export interface PageHeader {
  readonly magic: number
  readonly info: number
  readonly timeline: number
  /** The position of the page's first byte. A page of a recycled file still has the address of its former life. */
  readonly address: Lsn
  /** How many bytes of the record that goes on here are left, from this page on. */
  readonly remaining: number
  readonly long: LongHeader | null
}

export interface LongHeader {
  readonly systemIdentifier: bigint
  readonly segmentBytes: number
  readonly pageBytes: number
}

/** What a page should be. Undefined fields are not compared. */
export interface ExpectedPage {
  readonly address: Lsn
  /** The highest timeline that may have written it. */
  readonly timeline: number
  readonly segmentBytes: number
  readonly systemIdentifier?: bigint | undefined
}

/** The PostgreSQL version that writes pages of this magic; null for one that we do not know. */
export function majorVersionOf(magic: number): number | null {
  return majorOfMagic.get(magic) ?? null
}

/**
 * Reads the page header at `bytes[at]`. Null if the bytes end within it. Says nothing about whether it is one: see
 * `pageFault`.
 */
export function readPageHeader(bytes: Uint8Array, at: number): PageHeader | null {
  if (bytes.length - at < shortHeaderBytes) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, Math.min(longHeaderBytes, bytes.length - at))
  const info = view.getUint16(2, true)
  const isLong = (info & hasLongHeader) !== 0
  if (isLong && view.byteLength < longHeaderBytes) return null
  return {
    magic: view.getUint16(0, true),
    info,
    timeline: view.getUint32(4, true),
    address: asLsn(view.getBigUint64(8, true)),
    remaining: view.getUint32(16, true),
    long: isLong
      ? {
          systemIdentifier: view.getBigUint64(24, true),
          segmentBytes: view.getUint32(32, true),
          pageBytes: view.getUint32(36, true),
        }
      : null,
  }
}

export function headerBytesOf(header: PageHeader): number {
  return header.long === null ? shortHeaderBytes : longHeaderBytes
}

/** By its magic number. An unknown version is let through: the rest of the header has been the same since PostgreSQL 9.3. */
export function mayBeWal(header: PageHeader): boolean {
  return header.magic >>> 8 === 0xd1
}

/** What is wrong with a page's header, in words, or null. The checks are those of XLogReaderValidatePageHeader. */
export function pageFault(header: PageHeader, expected: ExpectedPage): string | null {
  const fault = headerFault(header, expected)
  return fault === null ? null : `the page at ${formatLsn(expected.address)} ${fault}`
}

function headerFault(header: PageHeader, expected: ExpectedPage): string | null {
  if (isZeroHeader(header)) return 'is empty'
  if (!mayBeWal(header)) return `is no WAL page (its magic number is ${hex4(header.magic)})`
  if ((header.info & ~allFlags) !== 0) return `has unknown flags (${hex4(header.info)})`
  if (header.address !== expected.address) return `says that it is the one at ${formatLsn(header.address)}`
  if (header.timeline === 0 || header.timeline > expected.timeline) {
    return `is of timeline ${header.timeline}, expected at most ${expected.timeline}`
  }
  const isFirst = header.address % BigInt(expected.segmentBytes) === 0n
  if (header.long === null) return isFirst ? 'begins a segment, but has no long header' : null
  if (!isFirst) return 'has a long header, but does not begin a segment'
  return longHeaderFault(header.long, expected)
}

function longHeaderFault(long: LongHeader, expected: ExpectedPage): string | null {
  if (expected.systemIdentifier !== undefined && long.systemIdentifier !== expected.systemIdentifier) {
    return `is of the system ${long.systemIdentifier}, expected ${expected.systemIdentifier}`
  }
  if (long.segmentBytes !== expected.segmentBytes) {
    return `is of a segment of ${long.segmentBytes} bytes, expected ${expected.segmentBytes}`
  }
  return long.pageBytes === pageBytes ? null : `is one of ${long.pageBytes} bytes, expected ${pageBytes}`
}

/** True for a page that was never written: what follows an XLOG_SWITCH, or the padding of a segment being written. */
export function isZeroHeader(header: PageHeader): boolean {
  return (
    header.magic === 0 && header.info === 0 && header.timeline === 0 && header.address === 0n && header.remaining === 0
  )
}

function hex4(value: number): string {
  return value.toString(16).toUpperCase().padStart(4, '0')
}
