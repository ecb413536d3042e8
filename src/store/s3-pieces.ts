import { reasonOf } from '../kit/abort.ts'
import { type Backoff, retry } from '../kit/retry.ts'
import type { LongPut } from './object-store.ts'
import { partBytes, type S3Upload } from './s3-upload.ts'

const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }

/**
 * The pieces of one upload, several on their way at once, each sent again while that makes sense. Memory: as many pieces
 * as are on their way; with one at a time, none.
 */
export class S3Pieces {
  readonly #upload: S3Upload
  readonly #long: LongPut
  readonly #end = new AbortController()
  readonly #underWay = new Set<Promise<void>>()
  readonly #buffers: Buffer[] = []
  #failure: { readonly error: unknown } | null = null

  constructor(upload: S3Upload, long: LongPut, signal: AbortSignal) {
    this.#upload = upload
    this.#long = long
    const onAbort = (): void => this.#end.abort(reasonOf(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    this.#end.signal.addEventListener('abort', () => signal.removeEventListener('abort', onAbort), { once: true })
  }

  /** Resolves once the next piece can be made: `bytes` may then be changed. Rejects with what one of them failed with. */
  async add(bytes: Uint8Array): Promise<void> {
    const { piecesAtOnce } = this.#long
    if (piecesAtOnce === 1) return await this.#send(bytes)
    while (this.#underWay.size >= piecesAtOnce) await Promise.race(this.#underWay)
    this.#mustGoOn()
    const copy = this.#buffers.pop() ?? Buffer.allocUnsafeSlow(partBytes)
    copy.set(bytes)
    const sending = this.#send(copy.subarray(0, bytes.length))
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => {
        this.#underWay.delete(sending)
        this.#buffers.push(copy)
      })
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
  }
}
