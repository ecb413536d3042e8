/**
 * global/pg_control: whose cluster it is, and its own checksum, which stands right behind the fields that it covers
 * (src/include/catalog/pg_control.h, ControlFileData). How many those are depends on the version; the file is filled up
 * with zeros.
 */
import { damaged } from '../archive/damaged.ts'
import { crc32c } from '../wal/crc32c.ts'

/** Bytes of the fields, from the oldest to any newer version. */
const leastBytes = 200
const mostBytes = 508

/** The cluster's system identifier. Throws ARCHIVE_DAMAGED if no checksum fits. */
export function readControlFile(key: string, content: Buffer): bigint {
  for (let at = leastBytes; at <= mostBytes && at + 4 <= content.length; at += 4) {
    if (content.readUInt32LE(at) === crc32c(0, content, 0, at)) return content.readBigUInt64LE(0)
  }
  throw damaged(key, 'holds a global/pg_control with a wrong checksum')
}
