/**
 * Reads LZ4: any number of standard frames, with skippable frames between them, in every form that the format allows
 * but with a dictionary. lz4-napi's `decompressFrame` is not used: it wants the whole object in memory, and returns
 * the first of several frames only. Nor is the thread pool: a block takes 0.2 ms (WAL-G's of 4 MiB: 3 ms), and what
 * lz4-napi's allocator keeps for each thread came to 4.5 GB with 16 threads.
 *
 * A cut, bytes behind the last frame, and a flipped bit where a frame has a checksum throw ARCHIVE_DAMAGED, at the latest at
 * the end of the iteration: bytes are given out before the checksum behind them is known.
 */
import lz4 from 'lz4-napi'
import type { XXHashAPI } from 'xxhash-wasm'
import { damaged, notOfItsFormat } from '../damaged.ts'
import { ByteReader } from './byte-reader.ts'
import { frameMagic, isSkippable, type Lz4Frame, readFrameHeader, storedBit } from './lz4-frame.ts'
import { loadXxhash } from './xxhash.ts'

const linkBytes = 64 * 1024 // how far a linked block may reach back

/** Returns whether a checksum covered all of the content. */
export async function* decodeLz4(source: AsyncIterable<Uint8Array>, key: string): AsyncGenerator<Uint8Array, boolean> {
  const xxhash = await loadXxhash()
  const reader = new ByteReader(source, key)
  let frames = 0
  let checked = true
  try {
    while (!(await reader.atEnd())) {
      const magic = (await reader.take(4)).readUInt32LE()
      if (isSkippable(magic)) {
        await reader.skip((await reader.take(4)).readUInt32LE())
        continue
      }
      if (magic !== frameMagic) {
        throw frames === 0 ? notOfItsFormat(key, 'LZ4') : damaged(key, 'has other bytes behind its last LZ4 frame')
      }
      const frame = await readFrameHeader(reader, xxhash)
      yield* content(reader, frame, xxhash)
      checked &&= frame.contentChecksum
      frames++
    }
  } finally {
    await reader.close()
  }
  if (frames === 0) throw damaged(key, 'is empty')
  return checked
}

async function* content(reader: ByteReader, frame: Lz4Frame, xxhash: XXHashAPI): AsyncGenerator<Uint8Array, void> {
  const checksum = xxhash.create32()
  let bytes = 0
  let before: Uint8Array | null = null
  for await (const block of blocks(reader, frame, xxhash)) {
    const piece = decodeBlock(block, before, reader.key)
    if (frame.linkedBlocks) before = lastOf(before, piece)
    if (frame.contentChecksum) checksum.update(piece)
    bytes += piece.length
    yield piece
  }
  if (frame.contentChecksum && (await reader.take(4)).readUInt32LE() !== checksum.digest()) {
    throw damaged(reader.key, 'does not match its checksum')
  }
  if (frame.contentBytes !== null && frame.contentBytes !== BigInt(bytes)) {
    throw damaged(reader.key, `holds ${bytes} bytes and says ${frame.contentBytes}`)
  }
}

interface Block {
  readonly stored: boolean
  /** Four bytes, then the block's own: `uncompressSync` wants the plain size there, and is content with the largest. */
  readonly bytes: Buffer
}

async function* blocks(reader: ByteReader, frame: Lz4Frame, xxhash: XXHashAPI): AsyncGenerator<Block, void> {
  for (;;) {
    const size = (await reader.take(4)).readUInt32LE()
    if (size === 0) return
    const stored = size >= storedBit
    const length = stored ? size - storedBit : size
    if (length > frame.maxBlockBytes) throw damaged(reader.key, `has an LZ4 block of ${length} bytes`)
    const bytes = Buffer.allocUnsafe(4 + length)
    bytes.writeUInt32LE(frame.maxBlockBytes)
    await reader.fill(bytes.subarray(4))
    if (frame.blockChecksums && (await reader.take(4)).readUInt32LE() !== xxhash.h32Raw(bytes.subarray(4))) {
      throw damaged(reader.key, 'has an LZ4 block with a wrong checksum')
    }
    yield { stored, bytes }
  }
}

function decodeBlock(block: Block, before: Uint8Array | null, key: string): Uint8Array {
  if (block.stored) return block.bytes.subarray(4)
  try {
    return lz4.uncompressSync(block.bytes, before)
  } catch (error) {
    throw damaged(key, 'has an LZ4 block that cannot be decoded', error)
  }
}

/** A linked block refers to the last 64 KiB before it, which lz4-napi takes for a dictionary. */
function lastOf(before: Uint8Array | null, piece: Uint8Array): Uint8Array {
  if (before === null || piece.length >= linkBytes) return piece.subarray(-linkBytes)
  return Buffer.concat([before, piece]).subarray(-linkBytes)
}
