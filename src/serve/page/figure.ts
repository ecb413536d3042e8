/** A figure of the page: its picture, as wide as there is room, and the tables that say the same, made while they are open. */
import { byId } from './dom.ts'

export interface Shown {
  /** @param width in pixels. */
  picture(width: number): readonly Element[]
  tables(): readonly HTMLElement[]
}

export class Figure {
  readonly #plot: Element
  readonly #details: HTMLDetailsElement
  readonly #scroll: Element
  readonly #shown: Shown
  #width = 0

  constructor(id: string, shown: Shown) {
    const place = byId(id)
    const [plot, details, scroll] = [
      place.querySelector('.plot'),
      place.querySelector('details'),
      place.querySelector('.scroll'),
    ]
    if (plot === null || details === null || scroll === null) throw new Error(`#${id} is no figure`)
    this.#plot = plot
    this.#details = details
    this.#scroll = scroll
    this.#shown = shown
    details.addEventListener('toggle', () => this.#fillTables())
    new ResizeObserver(() => this.#fit()).observe(plot)
    this.#fit()
  }

  /** What it shows has changed. */
  redraw(): void {
    this.#plot.replaceChildren(...this.#shown.picture(this.#width))
    this.#fillTables()
  }

  #fit(): void {
    const width = Math.floor(this.#plot.clientWidth)
    if (width === this.#width || width === 0) return
    this.#width = width
    this.redraw()
  }

  #fillTables(): void {
    this.#scroll.replaceChildren(...(this.#details.open ? this.#shown.tables() : []))
  }
}
