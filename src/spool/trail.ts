/**
 * Remembers when the server sent which bytes, coarsely and in bounded memory, so that a lag in bytes can be told in
 * seconds. A sample (position, time) says: the bytes from here on, up to the next sample, were sent at that time. Or, for
 * another use: at that time the server had no more than up to here.
 */
import type { Lsn } from '../wal/lsn.ts'

interface Sample {
  readonly from: Lsn
  readonly atMs: number
  readonly toldMs: number
}

/** Closer samples would not change a lag that is read in tenths of seconds. */
const firstSpacingMs = 20
const maxSamples = 2048

export class Trail {
  #samples: Sample[] = []
  #spacingMs = firstSpacingMs

  /**
   * The bytes from `from` on were sent at `atMs`. Positions that go back are ignored; for the newest position the newer
   * time counts, because no byte of it can have come before. `toldMs` is the same moment as somebody else's clock told it.
   */
  note(from: Lsn, atMs: number, toldMs = atMs): void {
    const last = this.#samples.at(-1)
    if (last?.from === from) this.#samples.pop()
    else if (last !== undefined && (from < last.from || atMs - last.atMs < this.#spacingMs)) return
    this.#samples.push({ from, atMs, toldMs })
    if (this.#samples.length < maxSamples) return
    // A long outage: keep every second sample. A byte then seems sent a little earlier than it was, never later.
    this.#samples = this.#samples.filter((_, i) => i % 2 === 0)
    this.#spacingMs *= 2
  }

  /** When the byte at `position` was sent, or null if that is not known. */
  timeOf(position: Lsn): number | null {
    return this.#sampleOf(position)?.atMs ?? null
  }

  /** The same, as it was told. */
  toldTimeOf(position: Lsn): number | null {
    return this.#sampleOf(position)?.toldMs ?? null
  }

  #sampleOf(position: Lsn): Sample | undefined {
    let low = 0
    let high = this.#samples.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const sample = this.#samples[middle]
      if (sample !== undefined && sample.from <= position) low = middle + 1
      else high = middle
    }
    return this.#samples[low - 1]
  }

  /** The bytes from `position` on are given up: others will take their places. */
  forgetFrom(position: Lsn): void {
    this.#samples = this.#samples.filter((sample) => sample.from < position)
  }

  /** Nobody will ask for bytes before `position` any more. */
  forgetBefore(position: Lsn): void {
    let keep = 0
    while (keep + 1 < this.#samples.length) {
      const next = this.#samples[keep + 1]
      if (next === undefined || next.from > position) break
      keep++
    }
    if (keep > 0) this.#samples.splice(0, keep)
    if (this.#samples.length < maxSamples / 4) this.#spacingMs = firstSpacingMs
  }
}
