import { reasonOf } from './abort.ts'

/**
 * Wakes those who wait for "something changed". A waiter names the count it has seen, so that a ring between looking
 * and waiting is never lost:
 *
 *     const seen = bell.count
 *     if (!ready()) await bell.after(seen, signal)
 */
export class Bell {
  #count = 0
  #waiters: (() => void)[] = []

  get count(): number {
    return this.#count
  }

  ring(): void {
    this.#count++
    if (this.#waiters.length === 0) return
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }

  /** Resolves once the bell has rung after `seen` was read, or after `timeoutMs`. Rejects when `signal` aborts. */
  after(seen: number, signal: AbortSignal, timeoutMs?: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(reasonOf(signal))
        return
      }
      if (this.#count !== seen) {
        resolve()
        return
      }
      let timer: NodeJS.Timeout | undefined
      const done = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      const forget = (): void => {
        this.#waiters = this.#waiters.filter((waiter) => waiter !== done)
      }
      const onAbort = (): void => {
        clearTimeout(timer)
        forget()
        reject(reasonOf(signal))
      }
      if (timeoutMs !== undefined) {
        timer = setTimeout(() => {
          forget()
          done()
        }, timeoutMs)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiters.push(done)
    })
  }
}
