/**
 * The records by which a recovery finds its target: the end of a transaction, and a named restore point.
 *
 *     record header, 24 bytes: length u32, xid u32, previous u64, info u8, resource manager u8, 2 bytes, CRC u32
 *     then, in this order and where they are there: 253 origin u16; 252 top-level xid u32
 *     then 255 length u8, or 254 length u32, and the main data:
 *       transaction (resource manager 1), info & 0x70: 0x00 commit, 0x20 abort, 0x30 and 0x40 the same of a prepared one
 *         time i64, ...                                                       (xl_xact_commit, xl_xact_abort)
 *       restore point (resource manager 0, info & 0xF0 = 0x70)
 *         time i64, name char[64], ended by a zero                            (xl_restore_point)
 *
 * It is the same from PostgreSQL 13 to 18 (src/include/access/{xlogrecord,xact,xlog_internal}.h).
 */
import type { Lsn } from './lsn.ts'
import { asTimestamp, type Timestamp } from './timestamp.ts'

interface Mark {
  /** Where the record begins, and where the next one can begin. */
  readonly at: Lsn
  readonly end: Lsn
  /** By the server's clock. Neighbours may be out of order by what a commit takes. */
  readonly time: Timestamp
}

export type RecordMark =
  /** `xid` is null for a prepared transaction, whose own number lies further behind. */
  | (Mark & { readonly kind: 'commit' | 'abort'; readonly xid: number | null })
  | (Mark & { readonly kind: 'restore-point'; readonly name: string })

/** The longest that a mark with all that can come before it reaches: that much of a record has to be given. */
export const markBytes = 24 + 3 + 5 + 2 + 8 + 64

const xlogManager = 0
const transactionManager = 1
const headerBytes = 24
const origin = 253
const topLevelXid = 252
const shortData = 255
const longData = 254

/** What the record says that begins with `bytes` and lies at [at, end), if it is a mark; else null. */
export function readMark(bytes: Uint8Array, at: Lsn, end: Lsn): RecordMark | null {
  const info = bytes[16] ?? 0
  const manager = bytes[17]
  if (manager === transactionManager) {
    const operation = info & 0x70
    const kind = operation === 0x00 || operation === 0x30 ? 'commit' : 'abort'
    if (kind === 'abort' && operation !== 0x20 && operation !== 0x40) return null
    const data = mainData(bytes)
    if (data === null) return null
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const xid = operation === 0x00 || operation === 0x20 ? view.getUint32(4, true) : null
    return { kind, at, end, xid, time: asTimestamp(view.getBigInt64(data, true)) }
  }
  if (manager === xlogManager && (info & 0xf0) === 0x70) {
    const data = mainData(bytes)
    if (data === null) return null
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const name = Buffer.from(bytes.subarray(data + 8, data + 8 + 64))
    const length = name.indexOf(0)
    const text = name.toString('utf8', 0, length === -1 ? name.length : length)
    return { kind: 'restore-point', at, end, name: text, time: asTimestamp(view.getBigInt64(data, true)) }
  }
  return null
}

/** Where the main data begins; null if there is none that could hold a time. */
function mainData(bytes: Uint8Array): number | null {
  let at = headerBytes
  if (bytes[at] === origin) at += 3
  if (bytes[at] === topLevelXid) at += 5
  const header = bytes[at] === shortData ? 2 : bytes[at] === longData ? 5 : null
  return header === null || at + header + 8 > bytes.length ? null : at + header
}
