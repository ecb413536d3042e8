/** What an object decodes to. */

/** How many plain bytes an object must hold: exactly so many, or not more than. */
export type PlainSize = number | { readonly atMost: number }

/**
 * The plain bytes of an object, to be iterated once. What was iterated without an error is whole: a cut, a flipped bit
 * under a checksum, or a wrong size throws ARCHIVE_DAMAGED, at the latest at the end. So act on the bytes only then.
 */
export interface Plain extends AsyncIterable<Uint8Array> {
  /**
   * Whether the object's own checksums, or its encryption, covered every byte. Where not (compressions `none` and `br`,
   * the parts of a base backup in LZ4, some zstd), the caller has to check the content itself. Throws before the iteration has ended.
   */
  readonly checked: boolean
}

/** A generator of the plain bytes, which returns whether they were checked. */
export class Decoding implements Plain {
  readonly #key: string
  readonly #pieces: AsyncGenerator<Uint8Array, boolean>
  #hasBegun = false
  #checked: boolean | undefined

  constructor(key: string, pieces: AsyncGenerator<Uint8Array, boolean>) {
    this.#key = key
    this.#pieces = pieces
  }

  get checked(): boolean {
    if (this.#checked === undefined) throw new Error(`${this.#key} was not read to its end`)
    return this.#checked
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    // It would be taken for an empty object.
    if (this.#hasBegun) throw new Error(`${this.#key} is iterated a second time`)
    this.#hasBegun = true
    return this.#iterate()
  }

  async *#iterate(): AsyncGenerator<Uint8Array, void> {
    const pieces = this.#pieces
    this.#checked = yield* pieces
  }
}
