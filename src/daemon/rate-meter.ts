/** How fast WAL comes and goes: over the last minute, or since the start where that is shorter. */
import { sleep } from '../kit/abort.ts'
import type { Clock } from '../kit/clock.ts'
import type { Positions } from '../spool/positions.ts'
import { bytesBetween, type Lsn, lsnZero } from '../wal/lsn.ts'
import type { Rate } from './known.ts'

interface Sample {
  readonly atMs: number
  readonly received: Lsn
  readonly shipped: Lsn
}

const everyMs = 5000
const windowMs = 60_000
/** Over less, a single message would look like a flood. */
const leastMs = 1000

export class RateMeter {
  readonly #positions: Positions
  readonly #clock: Clock
  #samples: Sample[] = []

  constructor(positions: Positions, clock: Clock) {
    this.#positions = positions
    this.#clock = clock
  }

  get rate(): Rate {
    const now = this.#sample()
    const first = this.#samples.find(({ atMs }) => atMs >= now.atMs - windowMs) ?? now
    const ms = now.atMs - first.atMs
    // Where the server's line parts from ours, positions go back.
    const perSecond = (from: Lsn, to: Lsn): number =>
      ms < leastMs || to < from ? 0 : (bytesBetween(from, to) / ms) * 1000
    return {
      receivedBytesPerSecond: perSecond(first.received, now.received),
      shippedBytesPerSecond: perSecond(first.shipped, now.shipped),
    }
  }

  /** Takes samples until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.note()
      await sleep(everyMs, signal).catch(() => undefined)
    }
  }

  /** Takes one sample, unless nothing is known yet: from nothing to the first position is no way that WAL has come. */
  note(): void {
    const now = this.#sample()
    if (now.shipped === lsnZero) return
    this.#samples = [...this.#samples.filter(({ atMs }) => atMs >= now.atMs - windowMs), now]
  }

  #sample(): Sample {
    const { received, shipped } = this.#positions
    return { atMs: this.#clock.monotonicMs(), received, shipped }
  }
}
