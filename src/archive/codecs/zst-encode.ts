import { pipeline } from 'node:stream'
import { WalferryError } from '../../kit/errors.ts'
import { createCompressor, nativeZstd } from './zst-native.ts'

/**
 * Writes one zstd frame with a content checksum. A piece is used up when the next one is asked for. Throws BAD_INPUT where
 * Node.js has no zstd.
 */
export async function* encodeZst(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const compressor = createCompressor(requireZstd())
  pipeline(plain, compressor, () => undefined)
  yield* compressor
}

/** Throws BAD_INPUT where Node.js has no zstd. */
export function requireZstd(): NonNullable<ReturnType<typeof nativeZstd>> {
  const zstd = nativeZstd()
  if (zstd !== null) return zstd
  throw new WalferryError('BAD_INPUT', `Node.js ${process.versions.node} cannot write zstd`, {
    hint: 'Use Node.js 22.15 or later, or --compression lz4.',
  })
}
