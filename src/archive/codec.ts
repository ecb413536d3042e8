/**
 * From plain bytes to an object's bytes and back. Each compression is loaded at its first use.
 *
 * Memory is bounded both ways, whatever the size: encoding holds a few pieces, decoding a few blocks. What an
 * object decodes to is limited, too: more, or less, than its name promises is damage.
 */
import { WalferryError } from '../kit/errors.ts'
import { type Codec, codecOfKey, type WritableCodec } from './codec-name.ts'
import { damaged } from './damaged.ts'

/** How many plain bytes an object must hold: exactly so many, or not more than. */
export type PlainSize = number | { readonly atMost: number }

/**
 * The plain bytes of an object, to be iterated once. What was iterated without an error is whole: a cut, a flipped bit
 * under a checksum, or a wrong size throws ARCHIVE_DAMAGED, at the latest at the end. So act on the bytes only then.
 */
export interface Plain extends AsyncIterable<Uint8Array> {
  /**
   * Whether the object's own checksums covered every byte. Where not (compressions `none` and `br`, some zstd), the
   * caller has to check the content itself. Throws before the iteration has ended.
   */
  readonly checked: boolean
}

/** Compresses. The pieces may have any size. They must stay untouched: they are read in other threads. */
export async function* encode(
  codec: WritableCodec,
  plain: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  switch (codec) {
    case 'lz4':
      yield* (await import('./codecs/lz4-encode.ts')).encodeLz4(plain)
      return
    case 'zst':
      yield* (await import('./codecs/zst-encode.ts')).encodeZst(plain)
      return
    case 'none':
      yield* plain
  }
}

/** Throws BAD_INPUT if this Node.js cannot write `codec`. To be called at the start: not with the first segment. */
export async function refuseUnwritable(codec: WritableCodec): Promise<void> {
  if (codec === 'zst') (await import('./codecs/zst-encode.ts')).requireZstd()
}

/** Throws BAD_INPUT if what lies under `key` cannot be decompressed. To be called before an object is opened. */
export function refuseUnreadable(key: string): void {
  if (codecOfKey(key) === 'lzma') throw unreadable(key)
}

function unreadable(key: string): WalferryError {
  return new WalferryError('BAD_INPUT', `${key} is compressed with LZMA, which this version cannot read`, {
    hint: 'Read it with wal-g, or store it again as lz4.',
    fields: { key },
  })
}

/** Decompresses what lies under `key`, by the key's extension. Throws ARCHIVE_DAMAGED; BAD_INPUT for `lzma`. */
export function decode(key: string, source: AsyncIterable<Uint8Array>, size: PlainSize): Plain {
  return new DecodedObject(key, source, size)
}

class DecodedObject implements Plain {
  readonly #key: string
  readonly #source: AsyncIterable<Uint8Array>
  readonly #size: PlainSize
  #checked: boolean | undefined

  constructor(key: string, source: AsyncIterable<Uint8Array>, size: PlainSize) {
    this.#key = key
    this.#source = source
    this.#size = size
  }

  get checked(): boolean {
    if (this.#checked === undefined) throw new Error(`${this.#key} was not read to its end`)
    return this.#checked
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    const most = typeof this.#size === 'number' ? this.#size : this.#size.atMost
    const least = typeof this.#size === 'number' ? this.#size : 0
    const decoded = await decoder(codecOfKey(this.#key), this.#source, this.#key)
    let bytes = 0
    try {
      for (;;) {
        const next = await decoded.next()
        if (next.done === true) {
          if (bytes < least) throw damaged(this.#key, `holds ${bytes} bytes instead of ${least}`)
          this.#checked = next.value
          return
        }
        bytes += next.value.length
        if (bytes > most) throw damaged(this.#key, `holds more than ${most} bytes`)
        if (next.value.length > 0) yield next.value
      }
    } finally {
      await decoded.return(false)
    }
  }
}

async function decoder(
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
