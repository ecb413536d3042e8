/** How far a restore is, as one line on a terminal that is drawn anew; nothing elsewhere. */
import { progressText } from './progress-text.ts'

const frameMs = 200

export class RestoreProgress {
  readonly #out: NodeJS.WriteStream
  readonly #live: boolean
  readonly #startedMs = performance.now()
  #drawnMs = Number.NEGATIVE_INFINITY

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    this.#live = out.isTTY && process.env['TERM'] !== 'dumb'
  }

  show(bytes: number, total: number): void {
    const now = performance.now()
    if (!this.#live || now - this.#drawnMs < frameMs) return
    this.#drawnMs = now
    this.#out.write(`\r\x1b[2K${progressText(bytes, total, (now - this.#startedMs) / 1000)}`)
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#live && this.#drawnMs > 0) this.#out.write('\r\x1b[2K')
  }
}
