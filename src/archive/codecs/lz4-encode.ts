/**
 * Writes LZ4: one standard frame with independent blocks and a content checksum.
 *
 * One frame, not one per piece, although lz4-napi makes whole frames as fast (16 MiB of WAL on two cores: 20 ms either
 * way): several frames in a row are legal, but readers exist that stop after the first without a word, lz4-napi's
 * own among them. So the blocks are lz4-napi's, in the thread pool, and the frame around them is ours. `compress`
 * puts four bytes with the plain size before the block, exactly where the frame wants the block's size: no copy.
 * The checksum runs in the event loop, 0.1 ms for each block.
 *
 * Blocks of 256 KiB, not of WAL-G's 4 MiB: lz4-napi's allocator keeps memory for each thread that it ever worked in. With
 * 16 threads a process grew to 730 MB with blocks of 4 MiB, and to 180 MB with these; the output is 1 % larger.
 */
import lz4 from 'lz4-napi'
import type { XXHashAPI } from 'xxhash-wasm'
import { inOrder } from '../in-order.ts'
import { ourBlockBytes, ourHeader, storedBit } from './lz4-frame.ts'
import { loadXxhash } from './xxhash.ts'

const blocksInFlight = 4 // enough to keep two cores busy

/** Memory: a few blocks, and the pieces of `plain` that they are cut from. */
export async function* encodeLz4(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const xxhash: XXHashAPI = await loadXxhash()
  const content = xxhash.create32()
  yield ourHeader
  yield* inOrder(blocksOf(plain), blocksInFlight, (block) => {
    content.update(block)
    return compressBlock(block)
  })
  const end = Buffer.alloc(8) // a block size of 0, then the checksum
  end.writeUInt32LE(content.digest(), 4)
  yield end
}

async function compressBlock(plain: Uint8Array): Promise<Uint8Array> {
  const block = await lz4.compress(plain)
  const bytes = block.length - 4
  if (bytes < plain.length) {
    block.writeUInt32LE(bytes)
    return block
  }
  const stored = Buffer.allocUnsafe(4 + plain.length)
  stored.writeUInt32LE((storedBit | plain.length) >>> 0)
  stored.set(plain, 4)
  return stored
}

/** Cuts any pieces into full blocks, the last one shorter. A piece that is a block already is not copied. */
async function* blocksOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = []
  let bytes = 0
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + ourBlockBytes - bytes)
      at += part.length
      bytes += part.length
      parts.push(part)
      if (bytes < ourBlockBytes) continue
      yield joined(parts)
      parts = []
      bytes = 0
    }
  }
  if (bytes > 0) yield joined(parts)
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts
  return first !== undefined && parts.length === 1 ? first : Buffer.concat(parts)
}
