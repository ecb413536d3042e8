/** What would be lost if the server and the spool were gone now. */

export interface LossFacts {
  readonly isStreaming: boolean
  readonly hasServerSpoken: boolean
  /** How old the oldest byte is that is not in the store; null when the store has all that we know of. */
  readonly unshippedAgeMs: number | null
  /** How long ago the moment was that the stored WAL reaches; null while nothing is known. */
  readonly restorableAgeMs: number | null
}

/**
 * In seconds; null before a server has spoken, where nothing lies in the spool either.
 *
 * While WAL is streamed nothing can come into being without our knowledge, so it is the age of the oldest byte that is
 * not in the store, and 0 on an idle server. (A standby tells what it knows: one that is cut off from its primary says
 * that there is no more.) Without a stream nobody knows what the server writes: then all since the moment that the
 * stored WAL reaches may be lost.
 */
export function lossSeconds(facts: LossFacts): number | null {
  const { isStreaming, hasServerSpoken, unshippedAgeMs, restorableAgeMs } = facts
  const ageMs = isStreaming ? unshippedAgeMs : (restorableAgeMs ?? unshippedAgeMs)
  if (ageMs !== null) return ageMs / 1000
  return isStreaming && hasServerSpoken ? 0 : null
}
