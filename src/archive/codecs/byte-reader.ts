import { copyInto } from '../../kit/copy-into.ts'
import { damaged } from '../damaged.ts'

/** Reads an object's bytes by count, however its stream is cut into pieces. `key` names the object in errors. */
export class ByteReader {
  readonly key: string
  readonly #source: AsyncIterator<Uint8Array>
  #piece: Uint8Array = new Uint8Array(0)
  #at = 0

  constructor(source: AsyncIterable<Uint8Array>, key: string) {
    this.#source = source[Symbol.asyncIterator]()
    this.key = key
  }

  /** True once no byte is left. */
  async atEnd(): Promise<boolean> {
    while (this.#at === this.#piece.length) {
      const next = await this.#source.next()
      if (next.done === true) return true
      this.#piece = next.value
      this.#at = 0
    }
    return false
  }

  /** Fills `target`. Throws ARCHIVE_DAMAGED if the object ends before. */
  async fill(target: Buffer): Promise<void> {
    if ((await this.#fillUpTo(target)) < target.length) throw damaged(this.key, 'is cut')
  }

  /** The next `count` bytes, in memory of their own. Throws ARCHIVE_DAMAGED if the object ends before. */
  async take(count: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(count)
    await this.fill(bytes)
    return bytes
  }

  /** The next `count` bytes, or those that are left, in memory of their own. */
  async takeUpTo(count: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(count)
    return bytes.subarray(0, await this.#fillUpTo(bytes))
  }

  /** Returns how many bytes there were: fewer than `target` has room for if the object ends before. */
  async #fillUpTo(target: Buffer): Promise<number> {
    let done = 0
    while (done < target.length && !(await this.atEnd())) {
      const part = this.#piece.subarray(this.#at, this.#at + target.length - done)
      copyInto(target, done, part)
      done += part.length
      this.#at += part.length
    }
    return done
  }

  /** Some of the next bytes, at most `most`, where they lie: gone when more is asked for. Throws ARCHIVE_DAMAGED at the end. */
  async part(most: number): Promise<Uint8Array> {
    if (await this.atEnd()) throw damaged(this.key, 'is cut')
    const part = this.#piece.subarray(this.#at, this.#at + most)
    this.#at += part.length
    return part
  }

  /** Passes over `count` bytes. Throws ARCHIVE_DAMAGED if the object ends before. */
  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) left -= (await this.part(left)).length
  }

  /** Lets go of the stream. */
  async close(): Promise<void> {
    await this.#source.return?.()
  }
}
