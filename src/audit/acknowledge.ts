/**
 * Gaps of an archive that nobody has acknowledged, and the acknowledgement. It only says that somebody knows: what can be
 * restored does not change by it.
 */
import { acknowledgeGap, gapPlace, isAcknowledged, listGaps } from '../archive/gaps.ts'
import type { GapName } from '../archive/keys.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'

/** By timeline and position. */
export async function unacknowledgedGaps(store: ObjectStore, options: CallOptions): Promise<GapName[]> {
  const open: GapName[] = []
  for (const gap of await listGaps(store, options)) {
    if (!(await isAcknowledged(store, gap, options))) open.push(gap)
  }
  return open
}

export interface Acknowledged {
  readonly gap: GapName
  /** Somebody had said so before. */
  readonly wasBefore: boolean
}

/**
 * Acknowledges the gaps that begin at `places` (`1/0/5000000`), or all. Rejects BAD_INPUT where there is none, before
 * anything is written. Resolves once all are durable; to be repeated without harm.
 */
export async function acknowledgeGaps(
  store: ObjectStore,
  places: readonly string[] | 'all',
  options: CallOptions & { readonly now: Date },
): Promise<Acknowledged[]> {
  const gaps = places === 'all' ? await unacknowledgedGaps(store, options) : await gapsAt(store, places, options)
  const done: Acknowledged[] = []
  for (const gap of gaps) done.push({ gap, wasBefore: !(await acknowledgeGap(store, gap, options)) })
  return done
}

async function gapsAt(store: ObjectStore, places: readonly string[], options: CallOptions): Promise<GapName[]> {
  const known = await listGaps(store, options)
  const missing = places.find((place) => !known.some((gap) => gapPlace(gap) === place))
  if (missing !== undefined) {
    throw new WalferryError('BAD_INPUT', `no gap is noted at ${missing} in ${store.url}`, {
      hint: 'A gap is named by its timeline and its first LSN, such as 1/0/5000000. walferry acknowledge lists those that wait.',
    })
  }
  return known.filter((gap) => places.includes(gapPlace(gap)))
}
