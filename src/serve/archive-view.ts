/**
 * What the archive holds: `/archive.json`, for the page. A look costs requests to the store and some of our time, so
 * nobody looks unless somebody asks: the page, or who cannot tell otherwise what can be restored. One look at a time; and
 * what it found is good for a minute, or for twenty times as long as it took. An answer never waits for a look: it says
 * what is known, how old that is, and whether one is under way.
 */
import type { ToldListing } from '../audit/told-listing.ts'
import type { Clock } from '../kit/clock.ts'
import { describe, isError } from '../kit/errors.ts'
import type { Status } from './status.ts'

type Reason = Status['reasons'][number]

/** The body of `/archive.json`. */
export interface ArchiveAnswer {
  /** When what follows was found; null: not yet. */
  readonly at: string | null
  readonly listing: ToldListing | null
  /** Ask again soon: a look is under way. */
  readonly isLooking: boolean
  /** Why the last look failed; what is told is from an earlier one. */
  readonly problem: Reason | null
}

const restMs = 60_000
const failedRestMs = 10_000
const restShare = 20 // a look that takes long, because the archive is large, is taken at most a twentieth of the time

export class ArchiveView {
  readonly #look: (signal: AbortSignal) => Promise<ToldListing>
  readonly #clock: Clock
  readonly #signal: AbortSignal
  #looking: Promise<void> | null = null
  #found: { readonly listing: ToldListing; readonly at: string } | null = null
  #problem: Reason | null = null
  /** Not before this moment of the monotonic clock is it looked again. */
  #nextMs = -Infinity

  /** @param signal ends a look that is under way, and there are no more of them. */
  constructor(look: (signal: AbortSignal) => Promise<ToldListing>, clock: Clock, signal: AbortSignal) {
    this.#look = look
    this.#clock = clock
    this.#signal = signal
  }

  /** What is known; begins to look if that is old. */
  answer(): ArchiveAnswer {
    if (this.#looking === null && !this.#signal.aborted && this.#clock.monotonicMs() >= this.#nextMs) {
      this.#looking = this.#lookNow().finally(() => {
        this.#looking = null
      })
    }
    return {
      at: this.#found?.at ?? null,
      listing: this.#found?.listing ?? null,
      isLooking: this.#looking !== null,
      problem: this.#problem,
    }
  }

  /** Resolves when no look is under way. */
  async settled(): Promise<void> {
    await this.#looking
  }

  async #lookNow(): Promise<void> {
    const begun = { atMs: this.#clock.monotonicMs(), at: new Date(this.#clock.nowMs()).toISOString() }
    let leastMs = restMs
    try {
      const listing = await this.#look(this.#signal)
      this.#found = { listing, at: begun.at }
      this.#problem = null
    } catch (error) {
      leastMs = failedRestMs
      this.#problem = reasonOf(error)
    }
    const endMs = this.#clock.monotonicMs()
    this.#nextMs = endMs + Math.max(leastMs, restShare * (endMs - begun.atMs))
  }
}

function reasonOf(error: unknown): Reason {
  if (!isError(error)) return { code: 'INTERNAL', message: describe(error) }
  const hint = error.hint === undefined ? {} : { hint: error.hint }
  return { code: error.code, message: describe(error), ...hint }
}
