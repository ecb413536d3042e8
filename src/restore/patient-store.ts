/**
 * A store that is asked again while it cannot be reached, and that is read on from where the connection broke: a backup
 * takes hours to read, and every method of a store makes one attempt. What writes or deletes is passed on as it is.
 */
import { sleep } from '../kit/abort.ts'
import { isError, type WalferryError } from '../kit/errors.ts'
import { type Backoff, backoffMs } from '../kit/retry.ts'
import type {
  CallOptions,
  GetOptions,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from '../store/object-store.ts'

const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }

export interface Patience {
  /** Give up, with the last error, once so much time has gone by without an answer or a byte. */
  readonly forMs: number
  /** Called before each new attempt; `failures` in a row came before this one. */
  readonly onRetry: (error: WalferryError, failures: number) => void
}

export class PatientStore implements ObjectStore {
  readonly #store: ObjectStore
  readonly #patience: Patience

  constructor(store: ObjectStore, patience: Patience) {
    this.#store = store
    this.#patience = patience
  }

  get url(): string {
    return this.#store.url
  }

  get conditionalPut(): ObjectStore['conditionalPut'] {
    return this.#store.conditionalPut
  }

  /** The object must not change meanwhile: none of an archive does. */
  async get(key: string, options: GetOptions): Promise<AsyncIterable<Uint8Array>> {
    const first = await this.#again(() => this.#store.get(key, options), options)
    return this.#readOn(key, first, options)
  }

  async head(key: string, options: CallOptions): Promise<ObjectInfo | null> {
    return await this.#again(() => this.#store.head(key, options), options)
  }

  async findAmong(beginning: string, ends: readonly string[], options: CallOptions): Promise<ObjectInfo[]> {
    return await this.#again(() => this.#store.findAmong(beginning, ends, options), options)
  }

  /** A listing that breaks off is begun again behind the last object. */
  async *list(options: ListOptions): AsyncGenerator<ObjectInfo> {
    const turn = new Turn(this.#patience, options.signal)
    let { after, limit } = options
    for (;;) {
      try {
        const rest = { ...(after === undefined ? {} : { after }), ...(limit === undefined ? {} : { limit }) }
        for await (const info of this.#store.list({ ...options, ...rest })) {
          after = info.key
          if (limit !== undefined) limit--
          yield info
          turn.moved()
        }
        return
      } catch (error) {
        await turn.failed(error)
      }
    }
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    await this.#store.put(key, body, options)
  }

  async deleteMany(keys: readonly string[], options: CallOptions): Promise<void> {
    await this.#store.deleteMany(keys, options)
  }

  close(): void {
    this.#store.close()
  }

  async *#readOn(key: string, first: AsyncIterable<Uint8Array>, options: GetOptions): AsyncGenerator<Uint8Array> {
    const turn = new Turn(this.#patience, options.signal)
    let from = options.from ?? 0
    for (let pieces: AsyncIterable<Uint8Array> | null = first; ; pieces = null) {
      try {
        for await (const piece of pieces ?? (await this.#store.get(key, { ...options, from }))) {
          from += piece.length
          yield piece
          turn.moved()
        }
        return
      } catch (error) {
        await turn.failed(error)
      }
    }
  }

  async #again<T>(attempt: () => Promise<T>, { signal }: CallOptions): Promise<T> {
    const turn = new Turn(this.#patience, signal)
    for (;;) {
      try {
        return await attempt()
      } catch (error) {
        await turn.failed(error)
      }
    }
  }
}

/** The attempts since something moved. */
class Turn {
  readonly #patience: Patience
  readonly #signal: AbortSignal
  #failures = 0
  #movedMs = performance.now()

  constructor(patience: Patience, signal: AbortSignal) {
    this.#patience = patience
    this.#signal = signal
  }

  moved(): void {
    this.#failures = 0
    this.#movedMs = performance.now()
  }

  /** Waits, and returns for another attempt; throws `error` if there is to be none. */
  async failed(error: unknown): Promise<void> {
    this.#signal.throwIfAborted()
    if (!isError(error) || !error.retryable) throw error
    const failures = this.#failures++
    const waitMs = backoffMs(backoff, failures)
    if (performance.now() - this.#movedMs + waitMs > this.#patience.forMs) throw error
    this.#patience.onRetry(error, failures)
    await sleep(waitMs, this.#signal)
  }
}
