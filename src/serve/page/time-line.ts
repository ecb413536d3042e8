/** Where backups, windows and gaps lie on one line of time, timeline by timeline. Pure; `archive-chart.ts` draws it. */
import type { ToldBackup, ToldListing, ToldWindow } from '../../audit/told-listing.ts'

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
 * @param restorableMs how far the newest window reaches by what the receiver knows, which is newer than the listing.
 * @returns null if there is nothing to show.
 */
export function timeLine(listing: ToldListing, restorableMs: number | null, nowMs: number): TimeLine | null {
  const timelines = new Set(listing.windows.map(({ timeline }) => timeline))
  for (const backup of listing.backups) if (windowOf(listing, backup) === undefined) timelines.add(backup.stopTimeline)
  const rows = [...timelines]
    .toSorted((a, b) => a - b)
    .map((timeline) => rowOf(listing, timeline, timeline === Math.max(...timelines) ? restorableMs : null, nowMs))
  const moments = rows.flatMap((row) => [
    ...row.backups.map(({ atMs }) => atMs),
    ...row.windows.map(({ fromMs }) => fromMs),
  ])
  return moments.length === 0 ? null : { fromMs: Math.min(...moments), nowMs, rows }
}

function rowOf(listing: ToldListing, timeline: number, restorableMs: number | null, nowMs: number): Row {
  const windows = listing.windows
    .filter((one) => one.timeline === timeline)
    .toSorted((a, b) => Date.parse(a.from.time) - Date.parse(b.from.time))
  return {
    timeline,
    windows: windows.map((one) => ({ fromMs: Date.parse(one.from.time), toMs: endOf(one, restorableMs) })),
    gaps: windows.flatMap((one, nth) => {
      if (!one.beforeGap) return []
      const next = windows[nth + 1]
      const gap = listing.gaps.find(({ from, timeline: of }) => of === timeline && from === one.coveredUntil)
      const text = `WAL from ${one.coveredUntil} to ${gap?.to ?? 'an unknown end'} is missing`
      return [{ fromMs: endOf(one, null), toMs: next === undefined ? nowMs : Date.parse(next.from.time), text }]
    }),
    backups: listing.backups.flatMap((backup) => {
      const { name, finishTime, usable, permanent } = backup
      if (finishTime === null || (windowOf(listing, backup)?.timeline ?? backup.stopTimeline) !== timeline) return []
      return [{ atMs: Date.parse(finishTime), name, isUsable: usable, isPermanent: permanent }]
    }),
  }
}

function endOf({ beforeGap, lastCommit, from }: ToldWindow, restorableMs: number | null): number {
  const told = Math.max(Date.parse(from.time), lastCommit === null ? 0 : Date.parse(lastCommit))
  return beforeGap ? told : Math.max(told, restorableMs ?? 0)
}

/** The one that it leads to. */
function windowOf(listing: ToldListing, { name }: ToldBackup): ToldWindow | undefined {
  return listing.windows.findLast(({ backups }) => backups.includes(name))
}
