import { Bell } from '../kit/bell.ts'

/**
 * Bytes from one who writes to one who iterates, with room for a few pieces: the writer waits for the reader. The reader
 * ends when the writer does; where the reader fails, the writer is told by `fail`.
 */
export class Pipe implements AsyncIterable<Uint8Array> {
  readonly #roomBytes: number
  readonly #news = new Bell()
  #pieces: Uint8Array[] = []
  #bytes = 0
  #ended = false
  #failure: { readonly error: unknown } | null = null

  constructor(roomBytes: number) {
    this.#roomBytes = roomBytes
  }

  /** Resolves once there is room for more. Rejects with what the pipe failed with. */
  async write(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#mustGoOn()
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
    this.#news.ring()
    while (this.#bytes > this.#roomBytes) {
      await this.#news.after(this.#news.count, signal)
      this.#mustGoOn()
    }
  }

  /** Nothing more comes. */
  end(): void {
    this.#ended = true
    this.#news.ring()
  }

  /** Neither side goes on: both throw this error. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#news.ring()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    const never = new AbortController().signal
    for (;;) {
      this.#mustGoOn()
      const pieces = this.#pieces
      this.#pieces = []
      this.#bytes = 0
      if (pieces.length > 0) {
        this.#news.ring()
        // Whoever reads may be slow: what was said meanwhile is looked at before a wait.
        yield* pieces
      } else if (this.#ended) return
      else await this.#news.after(this.#news.count, never)
    }
  }

  #mustGoOn(): void {
    if (this.#failure !== null) throw this.#failure.error
  }
}
