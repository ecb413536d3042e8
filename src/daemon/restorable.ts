/**
 * To which moment the archive can bring the database: WAL alone restores nothing, so it takes a base backup and all WAL
 * behind that. Pure.
 *
 * | what is known | restorable to |
 * |---|---|
 * | not which base backup is the newest, or not which gaps were noted | not known |
 * | there is no base backup | none |
 * | the newest one leads on: to all that is shipped, on the timeline that is, with no WAL missing behind its start | what the stored WAL reaches |
 * | it does not, or it is not known yet what the stored WAL reaches, and nobody has looked at the recovery windows | not known |
 * | no window | none |
 * | the newest window is an older timeline's, because ours was not stored yet | not known |
 * | the newest window reaches what was shipped by then, on that timeline, and nothing is missing since | what the stored WAL reaches |
 * | it does not | its last commit |
 *
 * A gap counts also once it is acknowledged: that changes nothing of what can be restored.
 *
 * That no WAL is missing behind the newest backup's start was looked at once, when that one was found. What was stored since
 * then is our own, and gaps in that are noted; once another receiver ships, it is looked again. What somebody deletes from the
 * store later, a look at the windows or the next start finds.
 */
import type { NewestBackup } from '../archive/backups.ts'
import type { GapName } from '../archive/keys.ts'
import type { Restorable as NewestWindow } from '../audit/archive-status.ts'
import { highestLsn, type Lsn, lsnZero } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { segmentStart, segnoOf } from '../wal/segment.ts'
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
  /** As `reachedBy` had it when the look began. */
  readonly reached: Lsn
}

/**
 * The start of the segment that WAL is shipped into: what is missing ahead of it may be on its way. While nothing is shipped,
 * nothing of ours is, so that everything that is missing counts.
 */
export function reachedBy(shipped: Lsn, segmentBytes: number | null): Lsn {
  if (shipped === lsnZero) return highestLsn
  return segmentBytes === null ? shipped : segmentStart(segnoOf(shipped, segmentBytes), segmentBytes)
}

const none: Restorable = { timeMs: null, backup: null, beforeGap: false }

/** Null: not known. */
export function restorableOf(facts: RestorableFacts): Restorable | null {
  const { newest, gaps, windows, walMs } = facts
  if (newest === 'none') return none
  if (newest === null || gaps === null) return null
  if (walMs !== null && leadsOn(facts)) return { timeMs: walMs, backup: newest.name, beforeGap: false }
  if (windows === null) return null
  return windows.newest === null ? none : byWindow(facts, windows, windows.newest)
}

/** Whether only a look at the recovery windows can tell. */
export function needsWindows(facts: RestorableFacts): boolean {
  const { newest, gaps, walMs } = facts
  return newest !== null && newest !== 'none' && gaps !== null && (walMs === null || !leadsOn(facts))
}

/** Whether what can be restored grows with what is shipped, so that another look would tell nothing else. */
export function growsOn(facts: RestorableFacts): boolean {
  const { windows } = facts
  return leadsOn(facts) || (windows !== null && windows.newest !== null && grows(facts, windows, windows.newest))
}

/** Whether the newest base backup leads to all that is shipped. */
function leadsOn(facts: RestorableFacts): boolean {
  const { newest, shipped } = facts
  if (newest === null || newest === 'none' || newest.place === null || shipped === null) return false
  const { timeline, stopTimeline, startLsn, finishLsn, deltaFrom } = newest.place
  const isOurs = timeline === shipped.timeline && (stopTimeline ?? timeline) === timeline
  const isWhole = deltaFrom === null && finishLsn <= shipped.lsn
  const lost = [...(facts.gaps ?? []), ...openHoles(facts)].filter((one) => one.timeline === timeline)
  return isOurs && isWhole && !lost.some(({ to }) => to === null || to > startLsn)
}

function byWindow(facts: RestorableFacts, seen: SeenWindows, newest: NewestWindow): Restorable | null {
  const { timeline, time, backup, beforeGap } = newest
  if (facts.shipped !== null && timeline < facts.shipped.timeline && !seen.isAmbiguous) return null
  const isGrowing = grows(facts, seen, newest)
  const commitMs = dateOf(time).getTime()
  return {
    timeMs: isGrowing ? Math.max(commitMs, facts.walMs ?? 0) : commitMs,
    backup: backup.name,
    beforeGap: !isGrowing && (beforeGap || isCut(facts, newest)),
  }
}

/** Whether the window ends where WAL is shipped. */
function grows(facts: RestorableFacts, seen: SeenWindows, newest: NewestWindow): boolean {
  return newest.timeline === facts.shipped?.timeline && newest.end >= seen.reached && !isCut(facts, newest)
}

/** Whether WAL is missing behind the window. */
function isCut(facts: RestorableFacts, { timeline, end }: NewestWindow): boolean {
  // A note names the timeline whose WAL was lost, which may be one that the window's timeline comes from.
  const isNoted = (facts.gaps ?? []).some((gap) => gap.timeline <= timeline && gap.from >= end)
  return isNoted || openHoles(facts).some((hole) => hole.timeline === timeline && hole.from >= end)
}

/** Uploads overtake one another: what was missing ahead of all that was shipped then is on its way. */
function openHoles({ holes }: RestorableFacts): SeenHole[] {
  return holes.filter(({ from, reached }) => from < reached)
}
