import type { Clock } from '../kit/clock.ts'
import { describe, type ErrorCode, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { type Backoff, backoffMs } from '../kit/retry.ts'
import type { Metrics } from '../metrics/catalogue.ts'

export interface AttemptsOptions {
  /** What is attempted, for the message that it works again. */
  readonly what: string
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** Errors that no retry may mend: what is in the archive has to be looked at first. */
const halting: readonly ErrorCode[] = ['ARCHIVE_CONFLICT', 'ARCHIVE_DAMAGED', 'ARCHIVE_FOREIGN', 'ENCRYPTION_KEY']
const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }

/**
 * How it goes with the store, over all that is tried side by side: what is wrong, how long to wait before anything is tried
 * again, and whether that makes sense. A success ends the wait; it does not end a halt.
 */
export class Attempts {
  readonly #options: AttemptsOptions
  #failures = 0
  #notBeforeMs = 0
  #problem: WalferryError | null = null
  #halted: WalferryError | null = null

  constructor(options: AttemptsOptions) {
    this.#options = options
  }

  /** Why nothing succeeds at the moment, or null. */
  get problem(): WalferryError | null {
    return this.#problem
  }

  /** What no retry can mend, or null. */
  get halted(): WalferryError | null {
    return this.#halted
  }

  /** How long nothing is to be tried; undefined if something may be. */
  pauseMs(nowMs: number): number | undefined {
    return nowMs < this.#notBeforeMs ? this.#notBeforeMs - nowMs : undefined
  }

  /** Ends a wait. */
  tryNow(): void {
    this.#notBeforeMs = 0
  }

  /** Tries something, and tells whether it went well. `doing` is a verb phrase. Does not reject. */
  async make(doing: string, signal: AbortSignal, work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      if (!signal.aborted) this.#failed(error, doing)
      return false
    }
  }

  /** Something is proved to be where it belongs. */
  succeeded(): void {
    if (this.#halted !== null) return
    if (this.#problem !== null) this.#options.log.info(`${this.#options.what} works again`)
    this.#problem = null
    this.#failures = 0
    this.#notBeforeMs = 0
  }

  #failed(error: unknown, doing: string): void {
    const { log, metrics, clock } = this.#options
    const known = isError(error)
      ? error
      : new WalferryError('STORE_FAILED', `cannot ${doing}`, {
          cause: error,
          hint: 'This is a fault of walferry: please report it.',
        })
    metrics.add('walferry_store_failures_total', 1, { code: known.code })
    if (known.code === 'ARCHIVE_CONFLICT') metrics.add('walferry_conflicts_total', 1, { place: 'archive' })
    if (this.#halted !== null) return
    if (halting.includes(known.code)) {
      log.error(`shipping halted: ${describe(known)}`, { code: known.code, hint: known.hint })
      this.#halted = known
      this.#problem = known
      return
    }
    // What runs side by side fails together: one pause, and one line in the log, for all of it.
    const first = clock.monotonicMs() >= this.#notBeforeMs
    if (first) {
      const waitMs = backoffMs(backoff, this.#failures++)
      this.#notBeforeMs = clock.monotonicMs() + waitMs
      const fields = { code: known.code, retryInMs: Math.round(waitMs), hint: known.hint }
      if (known.retryable) log.warn(`cannot ${doing}: ${describe(known)}`, fields)
      else log.error(`cannot ${doing}: ${describe(known)}`, fields)
    }
    this.#problem = known
  }
}
