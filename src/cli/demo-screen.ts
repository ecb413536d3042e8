/** The demo's output: on a terminal a block of figures that is drawn anew, elsewhere a plain line now and then. */
import { isScreen } from './paint.ts'

export interface Figure {
  readonly name: string
  readonly value: string
}

const plainEveryMs = 2000

export class DemoScreen {
  readonly #out: NodeJS.WriteStream
  readonly #live: boolean
  #drawnLines = 0
  #plainAtMs = Number.NEGATIVE_INFINITY

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    this.#live = isScreen(out)
  }

  /** A line that stays. */
  say(text: string): void {
    this.#drawnLines = 0
    this.#out.write(`${text}\n`)
  }

  /** Shows the figures in place of those shown before. */
  show(figures: readonly Figure[]): void {
    if (this.#live) {
      const width = Math.max(...figures.map((one) => one.name.length))
      const up = this.#drawnLines > 0 ? `\x1b[${this.#drawnLines}A` : ''
      const lines = figures.map((one) => `\x1b[2K    ${one.name.padEnd(width)}  ${one.value}\n`)
      this.#out.write(up + lines.join(''))
      this.#drawnLines = figures.length
      return
    }
    if (performance.now() - this.#plainAtMs < plainEveryMs) return
    this.#plainAtMs = performance.now()
    this.#out.write(`    ${figures.map((one) => `${one.name} ${one.value}`).join(', ')}\n`)
  }
}
