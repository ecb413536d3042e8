import type { TimelineHistory } from '../wal/history.ts'
import type { Place } from '../wal/place.ts'
import type { Archive } from './archive.ts'
import { type ArchivedRun, archivedUpTo, type NewestOptions, timelinesAbove } from './catalogue.ts'
import { listGaps } from './gaps.ts'
import { readHistory } from './history-object.ts'

/** The furthest place that the archive reaches without a hole, but for the gaps that were noticed. */
export interface ArchiveEnd {
  readonly place: Place
  /** How its timeline came about; null where the archive does not say. */
  readonly line: TimelineHistory | null
  readonly hole: ArchivedRun['hole']
}

/** On the newest timeline that has WAL. Null if there is none. */
export async function archiveEnd(archive: Archive, options: NewestOptions): Promise<ArchiveEnd | null> {
  const { store } = archive
  const [timelines, gaps] = await Promise.all([timelinesAbove(store, 0, options), listGaps(store, options)])
  for (const { timeline, historyKey } of timelines.filter((one) => one.hasWal).toReversed()) {
    const run = await archivedUpTo(store, timeline, { ...options, gaps })
    if (run === null) continue
    const read = historyKey === null ? null : await readHistory(archive, timeline, historyKey, options.signal)
    const line = read?.history ?? null
    return { place: { timeline, lsn: run.end }, line, hole: run.hole }
  }
  return null
}
