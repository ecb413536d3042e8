/**
 * Does a receiver hold WAL that the archive has not? Then a recovery must not end here, and lose it. A standby may be told
 * what is there: it asks again.
 */
import { type FoundNote, readBacklog } from '../archive/backlog.ts'
import { WalferryError } from '../kit/errors.ts'
import { formatLsn } from '../wal/lsn.ts'
import type { FetchRequest } from './request.ts'

/**
 * The notes that count. To be read before WAL is looked for: a receiver deletes its note when all is there, so whoever
 * looked for WAL first could find neither.
 */
export async function backlogFor(request: FetchRequest, signal: AbortSignal): Promise<readonly FoundNote[]> {
  if (request.standby || request.ignoreBacklog) return []
  return await readBacklog(request.archive.store, { signal })
}

/** Throws ARCHIVE_BACKLOG, which is worth a retry: the receiver may be about to ship it. */
export function refuseBacklog(name: string, [found]: readonly FoundNote[]): void {
  if (found === undefined) return
  const { slot, note } = found
  const upTo = formatLsn(note.lsn)
  throw new WalferryError(
    'ARCHIVE_BACKLOG',
    `${name} would end the recovery, but the receiver on ${note.host} held WAL of timeline ${note.timeline} up to ${upTo} ` +
      `at ${note.time.toISOString()} that the archive has not yet`,
    {
      retryable: true,
      fields: { name, slot, host: note.host, timeline: note.timeline, lsn: upTo },
      hint:
        `Start the receiver of slot "${slot}" on ${note.host}: it ships what it holds, without any server. If that WAL is lost, or ` +
        'not wanted: --ignore-backlog.',
    },
  )
}
