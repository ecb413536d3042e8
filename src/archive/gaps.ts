/**
 * Notes of WAL that was lost: the server had discarded it before anybody had received it.
 *
 *     walferry_001/gaps/00000001-000000002a000000-000000002c000000.json
 *     {"timeline":1,"from":"0/2A000000","to":"0/2C000000","reason":"...","noticedAt":"2026-01-31T12:00:00.000Z",
 *      "acknowledged":false}
 *
 * A note is for people, and for the next start: what is missing is always computed from what is there, because a gap can
 * close (another receiver, or archive_command, may have had the WAL).
 */
import { isError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'
import { formatLsn } from '../wal/lsn.ts'
import { type GapName, gapFolder, gapKey, parseGapKey } from './keys.ts'

export interface GapNote extends GapName {
  /** Why the WAL is not there, as a sentence. */
  readonly reason: string
  readonly noticedAt: Date
}

/** Writes a note, unless it is there. Resolves once it is durable. */
export async function putGap(store: ObjectStore, gap: GapNote, { signal }: CallOptions): Promise<void> {
  const note = {
    timeline: gap.timeline,
    from: formatLsn(gap.from),
    to: formatLsn(gap.to),
    reason: gap.reason,
    noticedAt: gap.noticedAt.toISOString(),
    acknowledged: false,
  }
  try {
    await store.put(gapKey(gap), Buffer.from(`${JSON.stringify(note)}\n`), { ifAbsent: true, signal })
  } catch (error) {
    if (!isError(error, 'KEY_EXISTS')) throw error
  }
}

/** All gaps that were noticed, by timeline and position. */
export async function listGaps(store: ObjectStore, { signal }: CallOptions): Promise<GapName[]> {
  const found: GapName[] = []
  for await (const { key } of store.list({ prefix: gapFolder, signal })) {
    const gap = parseGapKey(key)
    if (gap !== null) found.push(gap)
  }
  return found
}
