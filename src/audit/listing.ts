/** What an archive holds and can restore, gathered for people and programs. */
import type { Archive } from '../archive/archive.ts'
import type { Backup, DamagedBackup } from '../archive/backups.ts'
import { inOrder } from '../archive/in-order.ts'
import type { Line } from '../archive/line.ts'
import { lookBack } from '../archive/look-at-wal.ts'
import { drawTree } from '../archive/newest-timeline.ts'
import { isPermanent } from '../archive/permanence.ts'
import { surveyArchive, windowsOfAll } from '../archive/survey.ts'
import { standingOf, type RecoveryWindow, type Standing } from '../archive/windows.ts'
import { isError } from '../kit/errors.ts'
import type { CallOptions } from '../store/object-store.ts'
import type { Lsn } from '../wal/lsn.ts'
import type { Timestamp } from '../wal/timestamp.ts'

export interface Listing {
  readonly store: string
  readonly backups: readonly ListedBackup[]
  readonly damaged: readonly DamagedBackup[]
  readonly windows: readonly ListedWindow[]
  readonly gaps: readonly Gap[]
  /** The timelines with WAL as a tree, if more than one may be the newest; else empty. */
  readonly tree: readonly string[]
}

export interface ListedBackup {
  readonly backup: Backup
  readonly isPermanent: boolean
  /** What it is worth on a timeline that may be the newest; of several, on the one on which it is worth most. */
  readonly standing: Standing | 'no timeline'
}

/** What can be restored without another gap: from the end of its first backup on. */
export interface ListedWindow {
  readonly timeline: number
  /** Those that lead to it, in the order in which they ended. */
  readonly backups: readonly Backup[]
  readonly first: Backup
  /** How far the WAL reaches, and whether newer WAL follows behind a gap. */
  readonly end: Lsn
  readonly beforeGap: boolean
  /** Null: there is none behind the end of the first backup, or not in the last 512 MiB. */
  readonly lastCommit: Timestamp | null
  /** False: only its last segment was looked at, and there is none. */
  readonly isLookedThrough: boolean
}

/** WAL of a timeline's line that the archive lacks, with WAL behind it. */
export interface Gap {
  readonly timeline: number
  readonly from: Lsn
  /** Null: up to an unknown end; of what is behind it there is no whole segment. */
  readonly to: Lsn | null
}

const requestsInFlight = 8

/**
 * Costs a listing of all WAL, two requests for each backup, one for each history file, and for each window its last
 * segments up to one with a commit: mostly one, at most 1 GiB.
 *
 * @param earlier the windows of an earlier listing ([]: of none), for whoever lists again and again: what it found is
 * taken for the windows that have not changed since, and of one that grows only the last segment is read.
 */
export async function listArchive(
  archive: Archive,
  options: CallOptions,
  earlier: readonly ListedWindow[] | null = null,
): Promise<Listing> {
  const { store } = archive
  const survey = await surveyArchive(archive, options)
  const all = windowsOfAll(survey)
  const lines = all.map(({ line }) => line)
  const backups: ListedBackup[] = []
  const damaged = [...survey.damaged]
  const permanence = inOrder(survey.backups, requestsInFlight, async (backup) => ({
    backup,
    isPermanent: await isPermanent(store, backup, options).catch((error: unknown) => {
      if (!isError(error, 'ARCHIVE_DAMAGED')) throw error
      damaged.push({ name: backup.name, error })
      return null
    }),
    standing: bestStanding(lines, backup),
  }))
  for await (const { isPermanent, ...backup } of permanence) {
    if (isPermanent !== null) backups.push({ ...backup, isPermanent })
  }
  const windows: ListedWindow[] = []
  for (const { line, windows: ofLine } of all) {
    for (const window of ofLine) windows.push(await lookAt(archive, line, window, options, earlier))
  }
  const tree = survey.newest.length > 1 ? drawTree(survey.coverage) : []
  return { store: store.url, backups, damaged, windows, gaps: lines.flatMap(gapsOf), tree }
}

async function lookAt(
  archive: Archive,
  line: Line,
  { timeline, backups, run }: RecoveryWindow,
  options: CallOptions,
  earlier: readonly ListedWindow[] | null,
): Promise<ListedWindow> {
  const [first] = backups
  const { end, beforeHole: beforeGap } = run
  const same = earlier?.find(
    (one) => one.timeline === timeline && one.end === end && one.first.finishLsn === first.finishLsn,
  )
  if (same?.isLookedThrough) return { ...same, backups, first, beforeGap }
  const isBrief = earlier !== null && same === undefined && !beforeGap
  const span = { from: first.finishLsn, end, ...(isBrief && { segments: 1 }) }
  const { lastCommit } = await lookBack(archive, line, span, options)
  return { timeline, backups, first, end, beforeGap, lastCommit, isLookedThrough: !isBrief || lastCommit !== null }
}

function gapsOf({ timeline, runs }: Line): Gap[] {
  return runs.flatMap(({ end, beforeHole }, at) =>
    beforeHole ? [{ timeline, from: end, to: runs[at + 1]?.from ?? null }] : [],
  )
}

function bestStanding(lines: readonly Line[], backup: Backup): ListedBackup['standing'] {
  const standings = lines.map((line) => standingOf(line, backup))
  const order: readonly Standing[] = ['usable', 'no wal', 'delta', 'other line']
  return order.find((one) => standings.includes(one)) ?? 'no timeline'
}
