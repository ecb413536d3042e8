import { createBrotliDecompress } from 'node:zlib'
import { through, zlibOptions } from './through.ts'

/** Reads Brotli, whose format has no checksum. */
export async function* decodeBr(source: AsyncIterable<Uint8Array>, key: string): AsyncGenerator<Uint8Array, boolean> {
  yield* through(source, key, createBrotliDecompress(zlibOptions))
  return false
}
