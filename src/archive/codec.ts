/**
 * From plain bytes to an object's bytes and back: compressed, then encrypted where there is a key (`secret`). Each
 * compression, and the encryption, is loaded at its first use.
 *
 * Memory is bounded both ways, whatever the size: encoding holds a few pieces, decoding a few blocks. What an
 * object decodes to is limited, too: more, or less, than its name promises is damage.
 */
import { type Codec, codecOfKey, type WritableCodec } from './codec-name.ts'
import { unreadable } from './codec-support.ts'
import { damaged } from './damaged.ts'
import type { EncryptionKey } from './encryption/key.ts'
import { unlessEncrypted } from './encryption/mismatch.ts'
import { Decoding, type Plain, type PlainSize } from './plain.ts'

export interface EncodeOptions {
  /**
   * What reads the content holds it against a checksum from elsewhere, as a base backup's manifest is. Then LZ4 leaves out
   * its own. (That of zstd costs nothing.)
   */
  readonly isVouchedFor?: boolean
}

/**
 * Compresses and encrypts. The pieces may have any size. Each must stay untouched until the next one is asked for; with
 * `none`, it is also what is yielded.
 */
export async function* encode(
  codec: WritableCodec,
  plain: AsyncIterable<Uint8Array>,
  secret: EncryptionKey | null = null,
  options: EncodeOptions = {},
): AsyncGenerator<Uint8Array, void> {
  const compressed = compress(codec, plain, options)
  if (secret === null) yield* compressed
  else yield* (await import('./encryption/secret-stream.ts')).encrypt(compressed, secret)
}

async function* compress(
  codec: WritableCodec,
  plain: AsyncIterable<Uint8Array>,
  options: EncodeOptions,
): AsyncGenerator<Uint8Array, void> {
  switch (codec) {
    case 'lz4':
      yield* (await import('./codecs/lz4-encode.ts')).encodeLz4(plain, { hasChecksum: options.isVouchedFor !== true })
      return
    case 'zst':
      yield* (await import('./codecs/zst-encode.ts')).encodeZst(plain)
      return
    case 'none':
      yield* plain
  }
}

/**
 * Decrypts and decompresses what lies under `key`, by the key's extension. Throws ARCHIVE_DAMAGED; ENCRYPTION_KEY where
 * `secret` is not the object's key, or there should be one, or none; BAD_INPUT for `lzma`.
 */
export function decode(
  key: string,
  source: AsyncIterable<Uint8Array>,
  size: PlainSize,
  secret: EncryptionKey | null = null,
): Plain {
  return new Decoding(key, decoded(key, source, size, secret))
}

async function* decoded(
  key: string,
  source: AsyncIterable<Uint8Array>,
  size: PlainSize,
  secret: EncryptionKey | null,
): AsyncGenerator<Uint8Array, boolean> {
  const most = typeof size === 'number' ? size : size.atMost
  const least = typeof size === 'number' ? size : 0
  const compressed = await decrypter(source, key, secret)
  const pieces = await decompressor(codecOfKey(key), compressed, key)
  let bytes = 0
  try {
    for (;;) {
      const next = await pieces.next()
      if (next.done === true) {
        if (bytes < least) throw damaged(key, `holds ${bytes} bytes instead of ${least}`)
        return next.value || secret !== null
      }
      bytes += next.value.length
      if (bytes > most) throw damaged(key, `holds more than ${most} bytes`)
      if (next.value.length > 0) yield next.value
    }
  } finally {
    await pieces.return(false)
  }
}

async function decrypter(
  source: AsyncIterable<Uint8Array>,
  key: string,
  secret: EncryptionKey | null,
): Promise<AsyncIterable<Uint8Array>> {
  if (secret === null) return unlessEncrypted(source, key)
  return (await import('./encryption/secret-stream.ts')).decrypt(source, key, secret)
}

async function decompressor(
  codec: Codec,
  source: AsyncIterable<Uint8Array>,
  key: string,
): Promise<AsyncGenerator<Uint8Array, boolean>> {
  switch (codec) {
    case 'lz4':
      return (await import('./codecs/lz4-decode.ts')).decodeLz4(source, key)
    case 'zst':
      return (await import('./codecs/zst-decode.ts')).decodeZst(source, key)
    case 'gz':
      return (await import('./codecs/gz.ts')).decodeGz(source, key)
    case 'br':
      return (await import('./codecs/br.ts')).decodeBr(source, key)
    case 'none':
      return asItIs(source)
    case 'lzma':
      throw unreadable(key)
  }
}

async function* asItIs(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, boolean> {
  yield* source
  return false
}
