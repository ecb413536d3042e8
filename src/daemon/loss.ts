/** What would be lost if the server and the spool were gone now. */

export interface LossFacts {
  readonly isStreaming: boolean
  /** The server's clock at this moment; null before it first spoke. All three are milliseconds since 1970. */
  readonly serverNowMs: number | null
  /** Since when the oldest byte exists that is not in the store; null when the store has all that we know of. */
  readonly unshippedSinceMs: number | null
  /** The newest moment to which the store alone can bring the database; null while nothing is known. */
  readonly restorableMs: number | null
}

/**
 * In seconds, by the server's clock; null before a server was first connected.
 *
 * While WAL is streamed nothing can come into being without our knowledge, so it is the age of the oldest byte that is
 * not in the store, and 0 on an idle server. Without a stream nobody knows what the server writes: then all since the
 * restorable time may be lost.
 */
export function lossSeconds({ isStreaming, serverNowMs, unshippedSinceMs, restorableMs }: LossFacts): number | null {
  if (serverNowMs === null) return null
  const blindSinceMs = restorableMs ?? unshippedSinceMs
  const sinceMs = isStreaming ? unshippedSinceMs : blindSinceMs
  if (sinceMs === null) return isStreaming ? 0 : null
  return Math.max(0, (serverNowMs - sinceMs) / 1000)
}
