/**
 * Writes LZ4: one standard frame with independent blocks, and a checksum of the content unless that can be left out: it is
 * computed in WebAssembly, and costs up to a quarter of what compressing costs.
 *
 * One frame, not one per piece, although lz4-napi makes whole frames as fast: several frames in a row are legal, but
 * readers exist that stop after the first without a word, lz4-napi's own among them. So the blocks are lz4-napi's, and
 * the frame around them is ours. `compressSync` puts four bytes with the plain size before the block, exactly where the
 * frame wants the block's size: no copy.
 *
 * In the event loop, which is free again after each block (some 0.3 ms): in the thread pool, lz4-napi needs half as much
 * CPU time again for handing blocks back and forth, most of it in the event loop, and its allocator keeps memory for
 * each thread that it ever worked in (16 threads and blocks of WAL-G's 4 MiB: 730 MB). The output of 256 KiB blocks is
 * 1 % larger.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import lz4 from 'lz4-napi'
import { ourBlockBytes, ourHeader, ourHeaderUnsummed, storedBit } from './lz4-frame.ts'
import { loadXxhash } from './xxhash.ts'

/** Memory: a block, and the piece of `plain` that it is cut from. */
export async function* encodeLz4(
  plain: AsyncIterable<Uint8Array>,
  { hasChecksum = true } = {},
): AsyncGenerator<Uint8Array, void> {
  const content = hasChecksum ? (await loadXxhash()).create32() : null
  yield content === null ? ourHeaderUnsummed : ourHeader
  for await (const block of blocksOf(plain)) {
    content?.update(block)
    yield compressBlock(block)
    await nextTurn()
  }
  const end = Buffer.alloc(content === null ? 4 : 8) // a block size of 0, then the checksum
  if (content !== null) end.writeUInt32LE(content.digest(), 4)
  yield end
}

function compressBlock(plain: Uint8Array): Uint8Array {
  const block = lz4.compressSync(Buffer.from(plain.buffer, plain.byteOffset, plain.length))
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

/**
 * Cuts any pieces into full blocks, the last one shorter. A piece of whole blocks is not copied; of any other, what is left
 * over is, because it may be gone when the next piece is asked for.
 */
async function* blocksOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = []
  let bytes = 0
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + ourBlockBytes - bytes)
      at += part.length
      bytes += part.length
      if (bytes < ourBlockBytes) {
        parts.push(Buffer.from(part))
        continue
      }
      parts.push(part)
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
