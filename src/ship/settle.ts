/**
 * What follows a put, for many segments at once: a request for each would cost as much again as their puts.
 *
 *     put -> stored     the archive was seen in its place after the put had ended
 *         -> settled    its chunks are deleted
 *
 * What a crash leaves is a whole segment, maybe beside its chunks: the next start compares it, and comes by here again.
 */
import type { Carrier } from './carrier.ts'
import type { Whole } from './record.ts'

export interface Settling {
  readonly carrier: Carrier
  /** Asks anew whether the archive is in its place, and rejects where it is not. */
  readonly confirm: (signal: AbortSignal) => Promise<void>
  /** Some are stored now. Their chunks can be deleted later; whoever waits for the position should not. */
  readonly onStored: () => void
}

/**
 * Of those that are put, it takes what is put now: the confirmation may be older than what is put from here on. Where that
 * fails they are to be put anew. What is stored stays so, however this ends.
 */
export async function settle(wholes: readonly Whole[], settling: Settling, signal: AbortSignal): Promise<void> {
  const { carrier, confirm, onStored } = settling
  const records = wholes.map(({ record }) => record)
  const put = records.filter((record) => record.put)
  for (const record of records) record.busy.add('settle')
  try {
    await confirm(signal).catch((error: unknown) => {
      for (const record of put) record.put = false
      throw error
    })
    for (const record of put) {
      // Not if the archive was seen to be away meanwhile.
      record.stored = record.put
      record.put = false
    }
    onStored()
    // A chunk that is still on its way would be left behind. Its end makes this come up again.
    const alone = wholes.filter(({ record }) => record.stored && record.busy.size === 1)
    if (alone.length > 0) await carrier.deleteChunks(alone, signal)
  } finally {
    for (const record of records) record.busy.delete('settle')
  }
}
