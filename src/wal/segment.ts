/**
 * Names of WAL files. A segment's name is timeline, then the segment's number split at 4 GiB of WAL: three groups of
 * eight upper-case hexadecimal digits. It depends on the segment size: with 16 MB, number 0x1FF on timeline 1 is
 * `0000000100000001000000FF`; with 1 MB the last group runs to FFF (src/include/access/xlog_internal.h, XLogFileName).
 */
import { WalferryError } from '../kit/errors.ts'
import { asLsn, type Lsn } from './lsn.ts'

/** One WAL file. `segno` counts segments since LSN 0. */
export interface Segment {
  readonly timeline: number
  readonly segno: number
}

export function isSameSegment(a: Segment, b: Segment): boolean {
  return a.segno === b.segno && a.timeline === b.timeline
}

const minSegmentBytes = 1024 * 1024
const maxSegmentBytes = 1024 * 1024 * 1024
const bytesPerGroup = 4 * 1024 * 1024 * 1024

/** A wal_segment_size that PostgreSQL allows: a power of two from 1 MB to 1 GB. */
export function isSegmentSize(bytes: number): boolean {
  return bytes >= minSegmentBytes && bytes <= maxSegmentBytes && Number.isInteger(Math.log2(bytes))
}

function hex8(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, '0')
}

/** Example: `00000001000000000000002A`. */
export function segmentName(segment: Segment, segmentBytes: number): string {
  const perGroup = bytesPerGroup / segmentBytes
  return hex8(segment.timeline) + hex8(Math.floor(segment.segno / perGroup)) + hex8(segment.segno % perGroup)
}

/** True for the form of a segment's name, whatever the segment size. */
export function isSegmentName(name: string): boolean {
  return /^[0-9A-F]{24}$/.test(name)
}

/** Reads a segment's name. Throws BAD_INPUT if it is none, or none for this segment size. */
export function parseSegmentName(name: string, segmentBytes: number): Segment {
  const perGroup = bytesPerGroup / segmentBytes
  const low = Number.parseInt(name.slice(16), 16)
  if (!isSegmentName(name) || low >= perGroup) {
    throw new WalferryError('BAD_INPUT', `"${name}" is not the name of a WAL segment of ${segmentBytes} bytes`)
  }
  return {
    timeline: Number.parseInt(name.slice(0, 8), 16),
    segno: Number.parseInt(name.slice(8, 16), 16) * perGroup + low,
  }
}

/** The number of the segment that holds the byte at `lsn`. */
export function segnoOf(lsn: Lsn, segmentBytes: number): number {
  return Number(lsn / BigInt(segmentBytes))
}

/** The number of the segment that holds the byte before `end`: an end exactly on a boundary belongs to what it ends. */
export function segnoBefore(end: Lsn, segmentBytes: number): number {
  return end === 0n ? 0 : Number((end - 1n) / BigInt(segmentBytes))
}

/** The position of a segment's first byte. */
export function segmentStart(segno: number, segmentBytes: number): Lsn {
  return asLsn(BigInt(segno) * BigInt(segmentBytes))
}

/** How far `lsn` lies in its segment, in bytes. */
export function offsetIn(lsn: Lsn, segmentBytes: number): number {
  return Number(lsn % BigInt(segmentBytes))
}

/** Example: `00000002.history`. */
export function historyName(timeline: number): string {
  return `${hex8(timeline)}.history`
}

/** The timeline of a history file's name, or null if it is none. */
export function parseHistoryName(name: string): number | null {
  const match = /^([0-9A-F]{8})\.history$/.exec(name)
  return match === null ? null : Number.parseInt(match[1] ?? '', 16)
}
