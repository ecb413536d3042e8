import { sleep } from './abort.ts'
import { WalferryError } from './errors.ts'

/** Exponential backoff with full jitter in its upper half: delay = (0.5 to 1.0) x min(maxMs, firstMs x 2^n). */
export interface Backoff {
  readonly firstMs: number
  readonly maxMs: number
}

/** The wait before retry number `retry` (0 for the first one). `random` is in [0, 1). */
export function backoffMs(backoff: Backoff, retry: number, random: number = Math.random()): number {
  const full = Math.min(backoff.maxMs, backoff.firstMs * 2 ** Math.min(retry, 30))
  return full * (0.5 + random / 2)
}

export interface RetryOptions {
  readonly signal: AbortSignal
  readonly backoff: Backoff
  /** Give up, with the last error, once this much time has gone by. Default: never. */
  readonly forMs?: number
  /** Called before each wait. */
  readonly onRetry?: (error: WalferryError, retry: number) => void
}

/** Calls `run` until it succeeds. Only a WalferryError that says `retryable` is tried again; anything else is thrown. */
export async function retry<T>(run: () => Promise<T>, options: RetryOptions): Promise<T> {
  const startedMs = performance.now()
  for (let n = 0; ; n++) {
    try {
      return await run()
    } catch (error) {
      options.signal.throwIfAborted()
      if (!(error instanceof WalferryError) || !error.retryable) throw error
      const waitMs = backoffMs(options.backoff, n)
      if (options.forMs !== undefined && performance.now() - startedMs + waitMs > options.forMs) throw error
      options.onRetry?.(error, n)
      await sleep(waitMs, options.signal)
    }
  }
}
