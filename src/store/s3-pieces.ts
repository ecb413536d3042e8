import { reasonOf } from '../kit/abort.ts'
import { type Backoff, retry } from '../kit/retry.ts'
import type { LongPut } from './object-store.ts'
import type { PartBuffers } from './body.ts'
import type { S3Upload } from './s3-upload.ts'

const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }

/**
 * The pieces of one upload, several on their way at once, each sent again while that makes sense. Memory: as many pieces
 * as are on their way, and the one that is made.
 */
export class S3Pieces {
  readonly #upload: S3Upload
  readonly #long: LongPut
  readonly #buffers: PartBuffers
  readonly #end = new AbortController()
  readonly #underWay = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | null = null

  constructor(upload: S3Upload, long: LongPut, buffers: PartBuffers, signal: AbortSignal) {
    this.#upload = upload
    this.#long = long
    this.#buffers = buffers
    const onAbort = (): void => this.#end.abort(reasonOf(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    this.#end.signal.addEventListener('abort', () => signal.removeEventListener('abort', onAbort), { once: true })
  }

  /** Takes the buffer over. Resolves once the next piece can be made. Rejects with what one of them failed with. */
  async add(bytes: Uint8Array): Promise<void> {
    const { piecesAtOnce } = this.#long
    if (piecesAtOnce === 1) return await this.#send(bytes)
    while (this.#underWay.size >= piecesAtOnce) await Promise.race(this.#underWay)
    this.#mustGoOn()
    const sending = this.#send(bytes)
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#underWay.delete(sending))
    this.#underWay.add(sending)
  }

  /** Resolves once all are there. */
  async allSent(): Promise<void> {
    await Promise.all(this.#underWay)
    this.#mustGoOn()
    this.#end.abort(new Error('all is sent'))
  }

  /** Cuts what is on its way; never rejects. */
  async giveUp(reason: unknown): Promise<void> {
    this.#end.abort(reason)
    await Promise.all(this.#underWay)
  }

  #mustGoOn(): void {
    if (this.#failure !== null) throw this.#failure.error
  }

  async #send(bytes: Uint8Array): Promise<void> {
    const { signal } = this.#end
    const number = this.#upload.take()
    await retry(() => this.#upload.send(number, bytes, signal), { signal, backoff, forMs: this.#long.retryForMs })
    this.#buffers.give(bytes)
  }
}
