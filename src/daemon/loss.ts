/** What would be lost if the server and the spool were gone now. */

export interface LossFacts {
  readonly isStreaming: boolean
  readonly hasServerSpoken: boolean
  /** How old the oldest byte is that is not in the store; null when the store has all that we know of. */
  readonly unshippedAgeMs: number | null
  /** How long ago the moment was that the stored WAL reaches; null while nothing is known. */
  readonly restorableAgeMs: number | null
  /** How long the server has owed an answer; null while it owes none. */
  readonly owedMs: number | null
  /** How long ago its last word came; null before the first. */
  readonly lastWordAgeMs: number | null
}

/** A server that is asked for a word answers at once; one that has not for so long may be cut off. */
const answerMs = 5000

/**
 * In seconds; null before a server has spoken, where nothing lies in the spool either.
 *
 * While WAL is streamed nothing can come into being without our knowledge, so it is the age of the oldest byte that is
 * not in the store, and 0 on an idle server. (A standby tells what it knows: one that is cut off from its primary says
 * that there is no more.) Where it owes an answer, what it has written since its last word is not known, and may be lost,
 * too. Without a stream nobody knows what the server writes: then all since the moment that the stored WAL reaches
 * may be lost.
 */
export function lossSeconds(facts: LossFacts): number | null {
  const { isStreaming, hasServerSpoken, unshippedAgeMs, restorableAgeMs, owedMs, lastWordAgeMs } = facts
  const unheardMs = owedMs !== null && owedMs >= answerMs ? lastWordAgeMs : null
  const streamedMs = unheardMs === null ? unshippedAgeMs : Math.max(unheardMs, unshippedAgeMs ?? 0)
  const ageMs = isStreaming ? streamedMs : (restorableAgeMs ?? unshippedAgeMs)
  if (ageMs !== null) return ageMs / 1000
  return isStreaming && hasServerSpoken ? 0 : null
}
