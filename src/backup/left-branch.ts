import type { Archive } from '../archive/archive.ts'
import { timelinesAbove } from '../archive/catalogue.ts'
import { readHistory } from '../archive/history-object.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions } from '../store/object-store.ts'
import { leavesAt } from '../wal/history.ts'
import { formatLsn, type Lsn } from '../wal/lsn.ts'

/**
 * Refuses a server that has gone on with a timeline behind the place where the archive's line has left it: an old primary
 * that came back. Its backup would lie on a branch that no recovery to the newest timeline can use. Throws SERVER_TIMELINE.
 */
export async function refuseLeftBranch(
  archive: Archive,
  timeline: number,
  upTo: Lsn,
  options: CallOptions,
): Promise<void> {
  for (const newer of await timelinesAbove(archive.store, timeline, options)) {
    if (newer.historyKey === null || !newer.hasWal) continue
    const { history } = await readHistory(archive, newer.timeline, newer.historyKey, options.signal)
    const left = leavesAt(history, timeline)
    if (left === null || left >= upTo) continue
    throw new WalferryError(
      'SERVER_TIMELINE',
      `the server is at ${formatLsn(upTo)} on timeline ${timeline}, which timeline ${newer.timeline} of the archive has ` +
        `left at ${formatLsn(left)}`,
      {
        hint: 'It is an old primary, or another server has been promoted without its WAL: back up the one that counts.',
        fields: { timeline, newer: newer.timeline },
      },
    )
  }
}
