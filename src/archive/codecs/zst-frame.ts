/**
 * The frame around zstd's blocks (RFC 8878, sections 3.1.1 and 3.1.2):
 *
 *     28 b5 2f fd   magic number, 0xfd2fb528
 *     04            content checksum; no single segment, no dictionary, no content size
 *     68            window: 8 MiB
 *     94 6a 01      block header: not the last (bit 0), compressed (bits 1 and 2), 11,602 bytes (the rest)
 *     ...           blocks, each of at most 128 KiB, plain and compressed; at last the low half of the content's xxh64
 */
import { damaged } from '../damaged.ts'
import type { ByteReader } from './byte-reader.ts'

export const zstMagic = 0xfd2fb528
const maxWindowBytes = 128 * 1024 * 1024 // the zstd tool's own limit: what needs more, it refuses, too
const maxBlockBytes = 128 * 1024

export interface ZstFrame {
  readonly header: Buffer
  readonly contentChecksum: boolean
  readonly contentBytes: bigint | null
}

/** Reads a frame's header behind its magic number. Throws ARCHIVE_DAMAGED. */
export async function readZstHeader(reader: ByteReader): Promise<ZstFrame> {
  const magic = Buffer.alloc(4)
  magic.writeUInt32LE(zstMagic)
  const descriptor = await reader.take(1)
  const flags = descriptor.readUInt8()
  const single = (flags & 0x20) !== 0
  const sizeForm = flags >> 6
  if ((flags & 0x08) !== 0) throw damaged(reader.key, 'has a zstd frame header that no version of the format has')
  const window = await reader.take(single ? 0 : 1)
  const dictionary = await reader.take([0, 1, 2, 4][flags & 3] ?? 0)
  const size = await reader.take(sizeForm === 0 ? Number(single) : 2 ** sizeForm)
  const contentBytes = size.length === 0 ? null : contentSize(size)
  if (dictionary.some((byte) => byte !== 0)) throw damaged(reader.key, 'needs a dictionary, which no archive has')
  const windowBytes = single ? Number(contentBytes) : windowSize(window.readUInt8())
  if (windowBytes > maxWindowBytes) throw damaged(reader.key, `needs a zstd window of ${windowBytes} bytes`)
  const header = Buffer.concat([magic, descriptor, window, dictionary, size])
  return { header, contentChecksum: (flags & 0x04) !== 0, contentBytes }
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

function contentSize(field: Buffer): bigint {
  switch (field.length) {
    case 1:
      return BigInt(field.readUInt8())
    case 2:
      return BigInt(field.readUInt16LE() + 256)
    case 4:
      return BigInt(field.readUInt32LE())
    default:
      return field.readBigUInt64LE()
  }
}

/** The blocks of a frame, each with its header. Throws ARCHIVE_DAMAGED. */
export async function* zstBlocks(reader: ByteReader): AsyncGenerator<Buffer, void> {
  for (let last = false; !last; ) {
    const head = await reader.take(3)
    const fields = head.readUIntLE(0, 3)
    last = (fields & 1) !== 0
    const type = (fields >> 1) & 3
    const bytes = fields >> 3
    if (type === 3 || bytes > maxBlockBytes) throw damaged(reader.key, 'has a zstd block that the format forbids')
    const repeatedByte = type === 1
    yield Buffer.concat([head, await reader.take(repeatedByte ? 1 : bytes)])
  }
}
