/**
 * Waiting that can be cut short. Every wait of the program takes an AbortSignal; an aborted wait rejects with the
 * signal's reason and leaves no timer and no listener behind.
 */

/** Resolves after `ms`; rejects with the signal's reason if it aborts first. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(reasonOf(signal))
      return
    }
    const onAbort = (): void => {
      clearTimeout(timer)
      reject(reasonOf(signal))
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/**
 * Runs `work` under a signal that aborts when `signal` does, or after `ms` with the error that `late` makes.
 * Not AbortSignal.any: a long-lived parent would keep every child of it (Node.js 20).
 */
export async function withDeadline<T>(
  ms: number,
  signal: AbortSignal,
  late: () => Error,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const own = new AbortController()
  const onAbort = (): void => own.abort(reasonOf(signal))
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(() => own.abort(late()), ms)
  try {
    return await work(own.signal)
  } catch (error) {
    // The abort's reason says more than the error that a library makes of it.
    if (own.signal.aborted) throw reasonOf(own.signal)
    throw error
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

/** The reason of an aborted signal, as an Error. */
export function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason ?? 'aborted'))
}

/** Resolves with `promise`, or rejects with the signal's reason if that comes first; the promise itself goes on. */
export function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      promise.catch(() => undefined)
      reject(reasonOf(signal))
      return
    }
    const onAbort = (): void => reject(reasonOf(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
