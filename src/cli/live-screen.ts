/** A screen of lines that are written over: on a terminal its second page, elsewhere one block behind the other. */
import { type Canvas, canvasOf, isScreen } from './paint.ts'

const enter = '\u001B[?1049h\u001B[?25l\u001B[?7l' // the second page, without cursor, without wrapping
const leave = '\u001B[?7h\u001B[?25h\u001B[?1049l'
const toTop = '\u001B[H'
const clearLine = '\u001B[K'
const clearBelow = '\u001B[J'

export class LiveScreen {
  readonly #out: NodeJS.WriteStream
  readonly #isLive: boolean
  #shown: readonly string[] = []

  /** `close` has to be called, or the terminal stays without a cursor. */
  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    this.#isLive = isScreen(out)
    if (this.#isLive) out.write(enter)
  }

  /** Shows lines in the place of those before; where there are too many, without those that are empty, then the first. */
  show(draw: (canvas: Canvas) => readonly string[]): void {
    this.#shown = draw(canvasOf(this.#out))
    if (!this.#isLive) {
      this.#out.write(`${this.#shown.join('\n')}\n\n`)
      return
    }
    const rows = this.#out.rows ?? 24
    const all = this.#shown.length > rows ? this.#shown.filter((line) => line !== '') : this.#shown
    // In one write, so that nothing flickers; cleared before, because behind a full line the last character would go.
    this.#out.write(
      `${toTop}${all
        .slice(0, rows)
        .map((line) => clearLine + line)
        .join('\r\n')}${clearBelow}`,
    )
  }

  /** Gives the terminal back as it was, and leaves what was shown last. */
  close(): void {
    if (this.#isLive) this.#out.write(`${leave}${this.#shown.map((line) => `${line}\n`).join('')}`)
  }
}
