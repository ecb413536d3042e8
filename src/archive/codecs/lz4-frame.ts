/**
 * The header of an LZ4 frame (lz4_Frame_format.md, version 1.6.4), here WAL-G's:
 *
 *     04 22 4d 18   magic number, 0x184d2204
 *     64            FLG: version 01, independent blocks, content checksum; no block checksums, no content size
 *     70            BD: blocks of at most 4 MiB
 *     b9            second byte of the xxh32 of what lies between the magic number and here
 *
 * Then blocks, each behind its size (bit 31: stored as it is), a size of 0, and the xxh32 of the content.
 */
import type { XXHashAPI } from 'xxhash-wasm'
import { damaged } from '../damaged.ts'
import type { ByteReader } from './byte-reader.ts'

export const frameMagic = 0x184d2204
export const storedBit = 0x80000000

/** As WAL-G's, but for the size of the blocks: see `lz4-encode.ts`. */
export const ourHeader: Uint8Array = Buffer.from('04224d18645008', 'hex')
/** The same without a checksum of the content. */
export const ourHeaderUnsummed: Uint8Array = Buffer.from('04224d186050fb', 'hex')
export const ourBlockBytes = 256 * 1024

export interface Lz4Frame {
  readonly linkedBlocks: boolean
  readonly blockChecksums: boolean
  readonly contentChecksum: boolean
  readonly contentBytes: bigint | null
  readonly maxBlockBytes: number
}

/** Skippable frames have the magic numbers 0x184d2a50 to 0x184d2a5f. */
export function isSkippable(magic: number): boolean {
  return magic >>> 4 === 0x184d2a5
}

/** Reads a frame's header behind its magic number. Throws ARCHIVE_DAMAGED. */
export async function readFrameHeader(reader: ByteReader, xxhash: XXHashAPI): Promise<Lz4Frame> {
  const fixed = await reader.take(2)
  const [flags = 0, blocks = 0] = fixed
  const maxBlockBytes = [64, 256, 1024, 4096][((blocks >> 4) & 7) - 4]
  if (flags >> 6 !== 1 || (flags & 0x02) !== 0 || (blocks & 0x8f) !== 0 || maxBlockBytes === undefined) {
    throw damaged(reader.key, 'has an LZ4 frame header that no version of the format has')
  }
  const size = await reader.take((flags & 0x08) === 0 ? 0 : 8)
  const dictionary = await reader.take((flags & 0x01) === 0 ? 0 : 4)
  const [checksum] = await reader.take(1)
  if (checksum !== ((xxhash.h32Raw(Buffer.concat([fixed, size, dictionary])) >>> 8) & 0xff)) {
    throw damaged(reader.key, 'has an LZ4 frame header with a wrong checksum')
  }
  if (dictionary.length > 0) throw damaged(reader.key, 'needs a dictionary, which no archive has')
  return {
    linkedBlocks: (flags & 0x20) === 0,
    blockChecksums: (flags & 0x10) !== 0,
    contentChecksum: (flags & 0x04) !== 0,
    contentBytes: size.length === 0 ? null : size.readBigUInt64LE(),
    maxBlockBytes: maxBlockBytes * 1024,
  }
}
