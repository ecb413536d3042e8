/** All that an archive can restore from: its WAL and its base backups, read anew each time. */
import type { CallOptions } from '../store/object-store.ts'
import type { Archive } from './archive.ts'
import { type Backup, type DamagedBackup, listBackups } from './backups.ts'
import { type Coverage, readCoverage } from './coverage.ts'
import { type Line, lineOf } from './line.ts'
import { newestTimelines, storedSinceIn } from './newest-timeline.ts'
import { mustHaveOwner } from './owner.ts'
import { type RecoveryWindow, windowsOf } from './windows.ts'

export interface Survey {
  readonly coverage: Coverage
  /** By timeline and position. */
  readonly backups: readonly Backup[]
  /** Backups that may be anything. */
  readonly damaged: readonly DamagedBackup[]
  /** The timelines that may be the newest: mostly one, none without WAL. */
  readonly newest: readonly number[]
}

/**
 * Costs a listing of all WAL, and a request for each backup and each history file. Rejects ARCHIVE_FOREIGN where nothing
 * says whose the archive is: then it is none.
 */
export async function surveyArchive(archive: Archive, options: CallOptions): Promise<Survey> {
  const { store } = archive
  const { segmentBytes } = await mustHaveOwner(archive, options)
  const [coverage, { backups, damaged }] = await Promise.all([
    readCoverage(archive, { ...options, segmentBytes }),
    listBackups(store, options),
  ])
  const newest = await newestTimelines(coverage, storedSinceIn(store, segmentBytes, options))
  return { coverage, backups, damaged, newest }
}

/** The recovery windows of all timelines that may be the newest, with their lines. */
export function windowsOfAll({ coverage, backups, newest }: Survey): { line: Line; windows: RecoveryWindow[] }[] {
  const lines = newest.map((timeline) => lineOf(coverage, timeline)).filter((line) => line !== null)
  return lines.map((line) => ({ line, windows: windowsOf(line, backups) }))
}
