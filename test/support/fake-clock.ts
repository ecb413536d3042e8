/** A clock that a test holds: it goes on only when it is told to. */
import type { Clock } from '../../src/kit/clock.ts'

export class FakeClock implements Clock {
  #nowMs = Date.UTC(2026, 0, 31, 12)
  #monotonicMs = 0

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  /** Lets time go by. */
  pass(ms: number): void {
    this.#nowMs += ms
    this.#monotonicMs += ms
  }

  /** Sets the clock on the wall, as NTP does; durations do not notice. */
  set(nowMs: number): void {
    this.#nowMs = nowMs
  }
}
