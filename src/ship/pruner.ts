import type { Clock } from '../kit/clock.ts'
import { describe, isError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { type Backoff, backoffMs } from '../kit/retry.ts'

export interface PrunerOptions {
  /** Removes all that can be removed. */
  readonly prune: (signal: AbortSignal) => Promise<void>
  /** A removal has ended, in whatever way. */
  readonly onEnd: () => void
  readonly clock: Clock
  readonly log: Log
}

const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }

/**
 * Frees the spool of what is proved in the archive, beside the uploads: to free a segment of 16 MB takes a disk as long as
 * to upload it. Nothing begins but by `begin`. What fails is told and tried again, and keeps nobody from uploading.
 */
export class Pruner {
  readonly #options: PrunerOptions
  #isAsked = false
  #underWay: Promise<void> | null = null
  #failures = 0
  #notBeforeMs = 0

  constructor(options: PrunerOptions) {
    this.#options = options
  }

  /** What is under way; null for nothing. It does not reject. */
  get underWay(): Promise<void> | null {
    return this.#underWay
  }

  /** Something can be removed that could not be before. */
  ask(): void {
    this.#isAsked = true
  }

  /** Begins if that was asked for, unless one is under way, or has failed just now. */
  begin(nowMs: number, signal: AbortSignal): void {
    if (!this.#isAsked || this.#underWay !== null || nowMs < this.#notBeforeMs) return
    this.#isAsked = false
    this.#underWay = this.#run(signal)
  }

  /** How long not to begin after a failure; undefined where nothing is to be tried again. */
  pauseMs(nowMs: number): number | undefined {
    return this.#isAsked && nowMs < this.#notBeforeMs ? this.#notBeforeMs - nowMs : undefined
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { prune, onEnd, clock, log } = this.#options
    try {
      await prune(signal)
      this.#failures = 0
    } catch (error) {
      this.#isAsked = true
      if (signal.aborted) return
      const waitMs = backoffMs(backoff, this.#failures++)
      this.#notBeforeMs = clock.monotonicMs() + waitMs
      const { code, hint } = isError(error) ? error : { code: undefined, hint: undefined }
      log.error(`cannot free the spool: ${describe(error)}`, { code, retryInMs: Math.round(waitMs), hint })
    } finally {
      this.#underWay = null
      onEnd()
    }
  }
}
