/**
 * How lag and throughput went, for the page's charts: a ring of samples in memory, since the start and at most for a
 * day, and what a chart can show of it.
 *
 * Moments are those of a monotonic clock until somebody asks: a clock on the wall that is set does not tear the chart.
 */

export const seriesNames = ['loss', 'receive', 'sync', 'ship', 'received', 'shipped'] as const
/** `loss` and the lag of `receive`, `sync`, `ship` in seconds; `received` and `shipped` in bytes per second. */
export type SeriesName = (typeof seriesNames)[number]
/** null: not known then. */
export type Sample = Readonly<Record<SeriesName, number | null>>

/** One entry for each column. A column without a sample is null in all three. */
export interface Column {
  readonly min: readonly (number | null)[]
  readonly max: readonly (number | null)[]
  readonly last: readonly (number | null)[]
}

/** Columns of equal width in time. The least and the greatest of each are kept: no spike is lost. */
export interface Thinned {
  /** Unix time in milliseconds at which the first column begins. */
  readonly startMs: number
  readonly stepMs: number
  readonly columns: number
  readonly series: Readonly<Record<SeriesName, Column>>
}

/** The body of `/history.json`. */
export interface History {
  /** The last hour. */
  readonly recent: Thinned
  /** Since the start, at most a day. */
  readonly all: Thinned
}

export class SampleRing {
  readonly intervalMs: number
  readonly #times: Float64Array
  readonly #values: Readonly<Record<SeriesName, Float32Array>>
  #next = 0
  #count = 0

  /** @param intervalMs how far apart the samples are. */
  constructor(intervalMs: number, capacity: number) {
    this.intervalMs = intervalMs
    this.#times = new Float64Array(capacity)
    const empty = (): Float32Array => new Float32Array(capacity)
    this.#values = {
      loss: empty(),
      receive: empty(),
      sync: empty(),
      ship: empty(),
      received: empty(),
      shipped: empty(),
    }
  }

  get count(): number {
    return this.#count
  }

  /** Takes the place of the oldest one when it is full. */
  add(atMs: number, sample: Sample): void {
    this.#times[this.#next] = atMs
    for (const name of seriesNames) this.#values[name][this.#next] = sample[name] ?? Number.NaN
    this.#next = (this.#next + 1) % this.#times.length
    this.#count = Math.min(this.#count + 1, this.#times.length)
  }

  /**
   * The samples of the last `spanMs` in at most `columns` columns. Columns begin at whole multiples of their width, so
   * that a chart that is drawn again moves, and does not flicker.
   *
   * @param now the same moment on the clock of the samples and on the wall.
   */
  thin(spanMs: number, columns: number, now: { readonly atMs: number; readonly wallMs: number }): Thinned {
    const oldest = this.#oldestSince(now.atMs - spanMs)
    const firstMs = oldest === null ? now.atMs : this.#at(this.#times, oldest)
    // One more than fits, because the first and the last column may be begun in their midst.
    const least = (now.atMs - firstMs) / Math.max(1, columns - 1)
    const stepMs = this.intervalMs * roundCount(least / this.intervalMs)
    const startMs = Math.floor(firstMs / stepMs) * stepMs
    const count = oldest === null ? 0 : Math.floor((now.atMs - startMs) / stepMs) + 1
    const column = (name: SeriesName): Column => this.#column(name, oldest, startMs, stepMs, count)
    return {
      startMs: Math.round(startMs + now.wallMs - now.atMs),
      stepMs,
      columns: count,
      series: {
        loss: column('loss'),
        receive: column('receive'),
        sync: column('sync'),
        ship: column('ship'),
        received: column('received'),
        shipped: column('shipped'),
      },
    }
  }

  #column(name: SeriesName, oldest: number | null, startMs: number, stepMs: number, count: number): Column {
    // Plain numbers until the end: a day has 8640 samples, and shipping waits while we count.
    const least = new Float64Array(count).fill(Infinity)
    const greatest = new Float64Array(count).fill(-Infinity)
    const last = new Float64Array(count).fill(Number.NaN)
    for (let nth = oldest ?? this.#count; nth < this.#count; nth++) {
      const value = this.#at(this.#values[name], nth)
      if (Number.isNaN(value)) continue
      const at = Math.floor((this.#at(this.#times, nth) - startMs) / stepMs)
      if (value < (least[at] ?? 0)) least[at] = value
      if (value > (greatest[at] ?? 0)) greatest[at] = value
      last[at] = value
    }
    return { min: Array.from(least, told), max: Array.from(greatest, told), last: Array.from(last, told) }
  }

  /** The number of the oldest sample that is not before `atMs`; null: there is none. */
  #oldestSince(atMs: number): number | null {
    for (let nth = 0; nth < this.#count; nth++) if (this.#at(this.#times, nth) >= atMs) return nth
    return null
  }

  /** The nth oldest. */
  #at(values: Float32Array | Float64Array, nth: number): number {
    const capacity = this.#times.length
    return values[(this.#next - this.#count + nth + capacity) % capacity] ?? Number.NaN
  }
}

/** How many samples make a column: with one every ten seconds, columns are of 10, 20, 30 s, 1, 2, 5, 10 min ... */
function roundCount(least: number): number {
  return [1, 2, 3, 6, 12, 30, 60].find((count) => count >= least) ?? Math.ceil(least)
}

/** To four digits: a chart shows no more than that, and the answer gets smaller. */
function told(value: number): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : null
}
