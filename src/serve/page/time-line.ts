/** Where backups, windows and gaps lie on one line of time, timeline by timeline. Pure; `archive-chart.ts` draws it. */
import type { ToldListing, ToldWindow } from '../../audit/told-listing.ts'
import type { Status } from '../status.ts'

export interface Bar {
  readonly fromMs: number
  readonly toMs: number
}

export interface GapBar extends Bar {
  readonly text: string
}

export interface BackupMark {
  readonly atMs: number
  readonly name: string
  readonly isUsable: boolean
  readonly isPermanent: boolean
}

export interface Row {
  readonly timeline: number
  readonly windows: readonly Bar[]
  /** Moments to which nothing leads, because WAL is missing. */
  readonly gaps: readonly GapBar[]
  readonly backups: readonly BackupMark[]
}

export interface TimeLine {
  readonly fromMs: number
  readonly nowMs: number
  readonly rows: readonly Row[]
}

/**
 * @param restorable what the receiver says, which is newer than the listing: the window of that backup reaches so far.
 * @returns null if there is nothing to show.
 */
export function timeLine(listing: ToldListing, restorable: Status['restorable'], nowMs: number): TimeLine | null {
  const timelines = new Set(listing.windows.map(({ timeline }) => timeline))
  for (const { name, stopTimeline } of listing.backups) {
    if (windowOf(listing, name) === undefined) timelines.add(stopTimeline)
  }
  const rows = [...timelines].toSorted((a, b) => a - b).map((timeline) => rowOf(listing, timeline, restorable, nowMs))
  const moments = rows.flatMap((row) => [
    ...row.backups.map(({ atMs }) => atMs),
    ...row.windows.map(({ fromMs }) => fromMs),
  ])
  return moments.length === 0 ? null : { fromMs: Math.min(...moments), nowMs, rows }
}

function rowOf(listing: ToldListing, timeline: number, restorable: Status['restorable'], nowMs: number): Row {
  const windows = listing.windows
    .filter((one) => one.timeline === timeline)
    .toSorted((a, b) => Date.parse(a.from.time) - Date.parse(b.from.time))
  const growsToMs = (one: ToldWindow): number | null => {
    if (restorable === null || restorable.time === null || restorable.beforeGap || restorable.backup === null)
      return null
    return windowOf(listing, restorable.backup) === one ? Date.parse(restorable.time) : null
  }
  return {
    timeline,
    windows: windows.map((one) => ({
      fromMs: Date.parse(one.from.time),
      toMs: Math.max(endOf(one), growsToMs(one) ?? 0),
    })),
    gaps: windows.flatMap((one, nth) => {
      // What was missing when it was listed may only have been under way.
      if (!one.beforeGap || growsToMs(one) !== null) return []
      const next = windows[nth + 1]
      const gap = listing.gaps.find(({ from, timeline: of }) => of === timeline && from === one.coveredUntil)
      const text = `WAL from ${one.coveredUntil} to ${gap?.to ?? 'an unknown end'} is missing`
      return [{ fromMs: endOf(one), toMs: next === undefined ? nowMs : Date.parse(next.from.time), text }]
    }),
    backups: listing.backups.flatMap(({ name, finishTime, stopTimeline, usable, permanent }) => {
      if (finishTime === null || (windowOf(listing, name)?.timeline ?? stopTimeline) !== timeline) return []
      return [{ atMs: Date.parse(finishTime), name, isUsable: usable, isPermanent: permanent }]
    }),
  }
}

function endOf({ lastCommit, from }: ToldWindow): number {
  return Math.max(Date.parse(from.time), lastCommit === null ? 0 : Date.parse(lastCommit))
}

/** The one that the backup of that name leads to. */
export function windowOf(listing: ToldListing, name: string): ToldWindow | undefined {
  return listing.windows.findLast(({ backups }) => backups.includes(name))
}
