/** Questions to a store that may be away: asked again until it answers, told once for each kind of failure. */
import { sleep } from '../kit/abort.ts'
import { describe, type ErrorCode, isError, type WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { type Backoff, backoffMs } from '../kit/retry.ts'
import type { Metrics } from '../metrics/catalogue.ts'

const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }
/** What no waiting mends; what a person must mend in the store itself (its permissions, say) does not belong here. */
const final: readonly ErrorCode[] = [
  'ARCHIVE_CONFLICT',
  'ARCHIVE_DAMAGED',
  'ARCHIVE_FOREIGN',
  'BAD_INPUT',
  'ENCRYPTION_KEY',
]

export class StoreAsker {
  readonly #log: Log
  readonly #metrics: Metrics
  #problem: WalferryError | null = null

  constructor(log: Log, metrics: Metrics) {
    this.#log = log
    this.#metrics = metrics
  }

  /** Why it has not answered the question that was asked last, or null. */
  get problem(): WalferryError | null {
    return this.#problem
  }

  /** Somebody else tells from now on what is wrong with it. */
  forgetProblem(): void {
    this.#problem = null
  }

  /** Resolves with the answer, however long that takes. Rejects if `signal` aborts, or with what no waiting mends. */
  async ask<T>(question: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let failures = 0; ; failures++) {
      try {
        const answer = await question(signal)
        if (this.#problem !== null) this.#log.info('the store answers')
        this.#problem = null
        return answer
      } catch (error) {
        signal.throwIfAborted()
        if (!isError(error) || final.includes(error.code)) throw error
        this.#noteOutage(error)
        await sleep(backoffMs(backoff, failures), signal)
      }
    }
  }

  #noteOutage(error: WalferryError): void {
    this.#metrics.add('walferry_store_failures_total', 1, { code: error.code })
    if (this.#problem?.code !== error.code) {
      const message = `the store does not answer: ${describe(error)}`
      if (error.retryable) this.#log.warn(message, { code: error.code, hint: error.hint })
      else this.#log.error(message, { code: error.code, hint: error.hint })
    }
    this.#problem = error
  }
}
