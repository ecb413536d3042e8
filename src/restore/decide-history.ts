/**
 * What to answer for a history file that is not in the archive: one pure decision over what was seen.
 *
 * A server that recovers to the latest timeline asks for 2, 3, 4 and so on, and takes the first number that is not there
 * for the end. But PostgreSQL skips numbers, and a file can be on its way: then "absent" would hide newer timelines, and
 * the server would promote at the end of an old one.
 */
import { WalferryError } from '../kit/errors.ts'
import { historyName } from '../wal/segment.ts'

export interface HistorySeen {
  /** The timeline whose history file was asked for. */
  readonly timeline: number
  /** Whether the archive has WAL of this timeline. */
  readonly hasWal: boolean
  /** The newest timeline above it whose history file is in the archive, or null. */
  readonly newest: number | null
  /** The newest timeline whose history file lies in pg_wal, or null. */
  readonly own: number | null
  /** The timeline on which the server was when it wrote its last checkpoint, or null. */
  readonly started: number | null
}

/** Throws ARCHIVE_HOLE: retryable where the file may be on its way. */
export function decideHistory({ timeline, hasWal, newest, own, started }: HistorySeen): 'absent' {
  const name = historyName(timeline)
  // The first timeline has no history, and PostgreSQL asks all the same.
  if (timeline === 1) return 'absent'
  // A server that starts on this timeline stays on it without the file, too, and takes no other for its ancestor.
  if (hasWal && started !== timeline) {
    throw new WalferryError('ARCHIVE_HOLE', `the archive has WAL of timeline ${timeline}, but no ${name}`, {
      retryable: true,
      fields: { timeline },
      hint:
        `"Not there" would make the server end on an older timeline, without that WAL. Start the receiver, which ships the ` +
        `file, or put the ${name} of a server's pg_wal into the archive.`,
    })
  }
  // With a newer one in pg_wal, the server knows where it goes, and only collects what lies between.
  if (newest !== null && (own === null || own < timeline)) {
    const newestName = historyName(newest)
    throw new WalferryError('ARCHIVE_HOLE', `the archive has no ${name}, but has ${newestName}: numbers were skipped`, {
      fields: { timeline, newest },
      hint:
        `"Not there" would make the server end on an older timeline. Set recovery_target_timeline = '${newest}'. To stay on an ` +
        `older one on purpose, put the file into pg_wal first: walferry-fetch ${newestName} pg_wal/${newestName} --store ...`,
    })
  }
  return 'absent'
}
