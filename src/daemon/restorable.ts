/**
 * To which moment the archive can bring the database: WAL alone restores nothing, so it takes a base backup and all WAL
 * behind that. Pure.
 *
 * | what is known | restorable to |
 * |---|---|
 * | not which base backup is the newest, or not which gaps were noted | not known |
 * | there is no base backup | none |
 * | the newest one leads on: to all that is shipped, on the timeline that is, with no WAL missing behind its start | what the stored WAL reaches |
 * | it does not, and nobody has looked at the recovery windows | not known |
 * | no window | none |
 * | the newest window is an older timeline's, because ours was not stored yet | not known |
 * | the newest window reaches what was shipped by then, on that timeline, and nothing is missing since | what the stored WAL reaches |
 * | it does not | its last commit |
 *
 * A gap counts also once it is acknowledged: that changes nothing of what can be restored.
 */
import type { NewestBackup } from '../archive/backups.ts'
import type { GapName } from '../archive/keys.ts'
import type { Restorable as NewestWindow } from '../audit/archive-status.ts'
import type { Lsn } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { dateOf } from '../wal/timestamp.ts'

export interface Restorable {
  /** Since 1970; null: to none. */
  readonly timeMs: number | null
  /** The newest base backup that leads there. */
  readonly backup: string | null
  /** Newer WAL lies behind a gap. */
  readonly beforeGap: boolean
}

export interface RestorableFacts {
  /** null while it is not known. */
  readonly newest: NewestBackup | 'none' | null
  /** All that were ever noted, acknowledged or not; null while they could not be read. */
  readonly gaps: readonly GapName[] | null
  /** WAL that was missing when the archive was last looked at. */
  readonly holes: readonly SeenHole[]
  /** The timeline that is streamed, and how far WAL is shipped; null before a server was met. */
  readonly shipped: Place | null
  /** What the stored WAL reaches, by the server's clock since 1970; null while that is not known. */
  readonly walMs: number | null
  /** null: nobody has looked. */
  readonly windows: SeenWindows | null
}

export interface SeenWindows extends Look {
  /** Null: no base backup has all the WAL that it needs. */
  readonly newest: NewestWindow | null
  /** More than one timeline may be the newest. */
  readonly isAmbiguous: boolean
}

export interface SeenHole extends Look {
  readonly timeline: number
  readonly from: Lsn
  /** Null: up to an unknown end. */
  readonly to: Lsn | null
}

interface Look {
  /** The start of the segment that WAL was shipped into when the look began. */
  readonly reached: Lsn
}

const none: Restorable = { timeMs: null, backup: null, beforeGap: false }

/** Null: not known. */
export function restorableOf(facts: RestorableFacts): Restorable | null {
  const { newest, gaps, windows, walMs } = facts
  if (newest === 'none') return none
  if (newest === null || gaps === null) return null
  if (leadsOn(facts)) return { timeMs: walMs, backup: newest.name, beforeGap: false }
  if (windows === null) return null
  return windows.newest === null ? none : byWindow(facts, windows, windows.newest)
}

/** Whether only a look at the recovery windows can tell. */
export function needsWindows(facts: RestorableFacts): boolean {
  const { newest, gaps } = facts
  return newest !== null && newest !== 'none' && gaps !== null && !leadsOn(facts)
}

/** Whether the newest base backup leads to all that is shipped. */
function leadsOn(facts: RestorableFacts): boolean {
  const { newest, shipped, walMs } = facts
  if (newest === null || newest === 'none' || newest.place === null || shipped === null || walMs === null) return false
  const { timeline, stopTimeline, startLsn, finishLsn, deltaFrom } = newest.place
  const isOurs = timeline === shipped.timeline && (stopTimeline ?? timeline) === timeline
  const isWhole = deltaFrom === null && finishLsn <= shipped.lsn
  return isOurs && isWhole && !missing(facts, timeline).some(({ to }) => to === null || to > startLsn)
}

function byWindow(facts: RestorableFacts, seen: SeenWindows, newest: NewestWindow): Restorable | null {
  const { timeline, end, time, backup, beforeGap } = newest
  if (facts.shipped !== null && timeline < facts.shipped.timeline && !seen.isAmbiguous) return null
  const isCut = missing(facts, timeline).some(({ from }) => from >= end)
  const grows = timeline === facts.shipped?.timeline && end >= seen.reached && !isCut
  const commitMs = dateOf(time).getTime()
  return {
    timeMs: grows ? Math.max(commitMs, facts.walMs ?? 0) : commitMs,
    backup: backup.name,
    beforeGap: !grows && (beforeGap || isCut),
  }
}

/** The WAL of a timeline that was lost, or is not stored and will not be. */
function missing({ gaps, holes }: RestorableFacts, timeline: number): Pick<SeenHole, 'from' | 'to'>[] {
  // Uploads overtake one another: what was missing ahead of all that was shipped then is on its way.
  const open = holes.filter(({ from, reached }) => from < reached)
  return [...(gaps ?? []), ...open].filter((one) => one.timeline === timeline)
}
