import { pipeline, type Transform } from 'node:stream'
import { damaged } from '../damaged.ts'

/**
 * Options of every stream of node:zlib. For each piece of its output it goes to the thread pool and back; with the 16 KiB
 * that it takes by itself that is more than half of all time (zstd: 263 MB/s are read instead of 1,390, gzip 330 instead
 * of 1,100).
 */
export const zlibOptions = { chunkSize: 256 * 1024 }

/** A decompressor of node:zlib. `bytesWritten` counts what it made use of. */
export type Decompressor = Transform & { readonly bytesWritten: number }

/**
 * Sends an object through a decompressor, with its back-pressure. What it cannot decode, a cut, and bytes behind its
 * end throw ARCHIVE_DAMAGED; an error of the source is thrown as it is.
 */
export async function* through(
  source: AsyncIterable<Uint8Array>,
  key: string,
  decompressor: Decompressor,
): AsyncGenerator<Uint8Array, void> {
  const input: { bytes: number; error: unknown } = { bytes: 0, error: null }
  async function* counted(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of source) {
        input.bytes += piece.length
        yield piece
      }
    } catch (error) {
      input.error = error
      throw error
    }
  }
  // Errors reach the loop below, because the pipeline destroys the decompressor with them.
  pipeline(counted, decompressor, () => undefined)
  try {
    yield* decompressor
  } catch (error) {
    throw input.error ?? damaged(key, 'cannot be decompressed', error)
  }
  if (input.bytes === 0) throw damaged(key, 'is empty')
  // Where the content ends before the input does, zlib stops reading and ends its output as if nothing were there.
  if (!decompressor.writableFinished || decompressor.bytesWritten !== input.bytes) {
    throw damaged(key, 'has other bytes behind its end')
  }
}
