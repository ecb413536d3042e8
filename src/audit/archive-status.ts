/**
 * How an archive stands at one moment, for people whose receiver does not answer: to which moment it can bring the
 * database, from which backup, and what it says is missing.
 */
import type { Archive } from '../archive/archive.ts'
import type { Backup } from '../archive/backups.ts'
import { type FoundNote, readBacklog } from '../archive/backlog.ts'
import { systemClock } from '../kit/clock.ts'
import type { CallOptions } from '../store/object-store.ts'
import type { Lsn } from '../wal/lsn.ts'
import { type Timestamp, timestampOf } from '../wal/timestamp.ts'
import { type Gap, type ListedWindow, type Listing, listArchive } from './listing.ts'

export interface ArchiveStatus {
  /** When this was said, by our own clock. */
  readonly at: Date
  readonly store: string
  /** Null where no backup has all the WAL that it needs: WAL alone restores nothing. */
  readonly restorable: Restorable | null
  readonly backups: {
    readonly usable: number
    /** Damaged, without the WAL that they need, or of a line that was left. */
    readonly others: number
    /** Of the usable ones, that which was completed last. */
    readonly newest: Backup | null
  }
  readonly windows: readonly ListedWindow[]
  readonly gaps: readonly Gap[]
  /** What receivers have noted that they hold, and the archive does not yet. */
  readonly backlog: readonly FoundNote[]
  /** As in a listing: not empty where more than one timeline may be the newest. */
  readonly tree: readonly string[]
}

/** The newest moment to which the archive can bring the database. */
export interface Restorable {
  readonly timeline: number
  /** Of the last commit; where there is none behind the end of the backup, that end. */
  readonly time: Timestamp
  readonly isCommit: boolean
  /** Where its WAL ends, and whether newer WAL lies behind a gap. */
  readonly end: Lsn
  readonly beforeGap: boolean
  /** The newest backup that leads there. */
  readonly backup: Backup
}

/** Costs what `listArchive` costs, and a request for each note. Rejects as that does. */
export async function archiveStatus(archive: Archive, options: CallOptions): Promise<ArchiveStatus> {
  // First, because a receiver deletes its note when all is there.
  const backlog = await readBacklog(archive.store, options)
  return summarise(await listArchive(archive, options), backlog, new Date(systemClock.nowMs()))
}

export function summarise(listing: Listing, backlog: readonly FoundNote[], at: Date): ArchiveStatus {
  const { store, backups, damaged, windows, gaps, tree } = listing
  const usable = backups.filter(({ standing }) => standing === 'usable').map(({ backup }) => backup)
  return {
    at,
    store,
    restorable: newestOf(windows.map(restorableIn), ({ time }) => time),
    backups: {
      usable: usable.length,
      others: backups.length - usable.length + damaged.length,
      newest: newestOf(usable, (backup) => timestampOf(completedAt(backup))),
    },
    windows,
    gaps,
    backlog,
    tree,
  }
}

/** By the server's clock, or where it did not say, by that of the store. */
export function completedAt({ finishTime, modified }: Backup): Date {
  return finishTime ?? modified
}

function restorableIn({ timeline, first, backups, lastCommit, end, beforeGap }: ListedWindow): Restorable {
  const time = lastCommit ?? timestampOf(completedAt(first))
  return { timeline, time, isCommit: lastCommit !== null, end, beforeGap, backup: backups.at(-1) ?? first }
}

function newestOf<T>(all: readonly T[], timeOf: (one: T) => Timestamp): T | null {
  return all.reduce<T | null>((newest, one) => (newest === null || timeOf(one) > timeOf(newest) ? one : newest), null)
}
