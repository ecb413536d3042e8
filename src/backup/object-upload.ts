/** One object that is written while its content comes, compressed and encrypted on the way. */
import type { Archive } from '../archive/archive.ts'
import type { WritableCodec } from '../archive/codec-name.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import { countFailure, countUpload } from '../metrics/uploads.ts'
import type { LongPut } from '../store/object-store.ts'
import { Pipe } from './pipe.ts'

export interface UploadOptions {
  readonly archive: Archive
  readonly codec: WritableCodec
  readonly long: LongPut
  readonly metrics: Metrics
  readonly signal: AbortSignal
}

export class ObjectUpload {
  plainBytes = 0
  storedBytes = 0
  readonly #pipe = new Pipe()
  readonly #signal: AbortSignal
  readonly #stored: Promise<void>

  readonly #metrics: Metrics
  readonly #startedMs = performance.now()
  #isGivenUp = false

  constructor(key: string, { archive, codec, long, metrics, signal }: UploadOptions) {
    this.#signal = signal
    this.#metrics = metrics
    // The server's manifest has a checksum of each file, and one of itself; what else a tar file has is a sum in each header.
    const bytes = archive.encodeInThread(codec, this.#pipe, { isVouchedFor: true })
    // Whose name it is was settled by the claim; so a put may be repeated whose answer was lost.
    this.#stored = archive.store.put(key, this.#counted(bytes), {
      ifAbsent: false,
      long,
      signal,
    })
    this.#stored.then(
      () => this.#count(),
      (error: unknown) => this.#fail(error),
    )
  }

  /** Resolves once the bytes may be overwritten. Rejects with what the store failed with. */
  async write(bytes: Uint8Array): Promise<void> {
    this.plainBytes += bytes.length
    await this.#pipe.write(bytes, this.#signal)
  }

  /** Resolves once the object is durable. */
  async end(): Promise<void> {
    this.#pipe.end()
    await this.#stored
  }

  /** Nothing is stored. Resolves once that is so. */
  async giveUp(reason: unknown): Promise<void> {
    this.#isGivenUp = true
    this.#pipe.fail(reason)
    await this.#stored.catch(() => undefined)
  }

  #count(): void {
    const { plainBytes, storedBytes } = this
    const seconds = (performance.now() - this.#startedMs) / 1000
    countUpload(this.#metrics, { kind: 'backup', seconds, plainBytes, storedBytes })
  }

  #fail(error: unknown): void {
    if (!this.#signal.aborted && !this.#isGivenUp) countFailure(this.#metrics, 'backup')
    this.#pipe.fail(error)
  }

  async *#counted(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    for await (const piece of bytes) {
      this.storedBytes += piece.length
      yield piece
    }
  }
}
