import { pipeline } from 'node:stream'
import { WalferryError } from '../../kit/errors.ts'
import { createCompressor, nativeZstd } from './zst-native.ts'

/** Writes one zstd frame with a content checksum. Throws BAD_INPUT where Node.js has no zstd. */
export async function* encodeZst(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const zstd = nativeZstd()
  if (zstd === null) {
    throw new WalferryError('BAD_INPUT', `Node.js ${process.versions.node} cannot write zstd`, {
      hint: 'Use Node.js 22.15 or later, or the compression lz4.',
    })
  }
  const compressor = createCompressor(zstd)
  pipeline(plain, compressor, () => undefined)
  yield* compressor
}
