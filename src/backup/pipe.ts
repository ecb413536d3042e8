import { Bell } from '../kit/bell.ts'

/**
 * Bytes from one who writes to one who iterates, piece by piece: the writer waits until the reader is done with a piece,
 * and may then overwrite it. The reader ends when the writer does; where either fails, the other is told by `fail`.
 */
export class Pipe implements AsyncIterable<Uint8Array> {
  readonly #news = new Bell()
  #piece: Uint8Array | null = null
  #ended = false
  #failure: { readonly error: unknown } | null = null

  /** Resolves once the reader has asked for the next one. Rejects with what the pipe failed with. */
  async write(piece: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#mustGoOn()
    this.#piece = piece
    this.#news.ring()
    while (this.#piece !== null) {
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
      if (this.#piece !== null) {
        yield this.#piece
        this.#piece = null
        this.#news.ring()
      } else if (this.#ended) return
      else await this.#news.after(this.#news.count, never)
    }
  }

  #mustGoOn(): void {
    if (this.#failure !== null) throw this.#failure.error
  }
}
