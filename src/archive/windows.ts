/**
 * Recovery windows: which moments can be restored. A window is WAL without a hole, from the end of the first backup in
 * it on; each backup in it leads to every later moment of it. Pure.
 *
 *     WAL      [=========]    [==============================>
 *     backups    B1             B2        B3
 *     windows    [=======]         [=========================>      B1's, and that of B2 and B3
 */
import { isOnLine, leavesAt } from '../wal/history.ts'
import type { Lsn } from '../wal/lsn.ts'
import { segmentStart, segnoOf } from '../wal/segment.ts'
import type { Backup } from './backups.ts'
import type { Line, LineRun } from './line.ts'

export interface RecoveryWindow {
  /** The timeline to name as target. */
  readonly timeline: number
  /** The backups that lead to it, in the order in which they ended: at least one. */
  readonly backups: readonly [Backup, ...Backup[]]
  /** The WAL that they are in. */
  readonly run: LineRun
}

/** In order. */
export function windowsOf(line: Line, backups: readonly Backup[]): RecoveryWindow[] {
  return line.runs.flatMap((run) => {
    const [first, ...others] = backups
      .filter((backup) => standingOf(line, backup) === 'usable' && runOf(line, backup) === run)
      .toSorted((a, b) => (a.finishLsn < b.finishLsn ? -1 : 1))
    return first === undefined ? [] : [{ timeline: line.timeline, backups: [first, ...others], run }]
  })
}

/**
 * What a backup is worth on a line:
 * - `delta`: it needs another backup, which only WAL-G can put together with it
 * - `other line`: it ended on a timeline that the line does not come from, or had left by then
 * - `no wal`: WAL from its start to its end is missing, or of its last segment there is a tail, and a hole behind it
 */
export type Standing = 'usable' | 'delta' | 'other line' | 'no wal'

export function standingOf(line: Line, backup: Backup): Standing {
  if (backup.deltaFrom !== null) return 'delta'
  const timeline = backup.stopTimeline ?? backup.timeline
  if (!isOnLine(line.history, timeline)) return 'other line'
  const left = leavesAt(line.history, timeline)
  if (left !== null && left < backup.finishLsn) return 'other line'
  return runOf(line, backup) === null ? 'no wal' : 'usable'
}

/** The server reads the whole segment that a backup starts in: its first page says whose it is. */
function runOf({ runs, segmentBytes }: Line, { startLsn, finishLsn }: Backup): LineRun | null {
  const from: Lsn = segmentStart(segnoOf(startLsn, segmentBytes), segmentBytes)
  return runs.find((run) => run.from <= from && finishLsn <= run.end) ?? null
}
