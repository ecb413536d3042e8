import type { Archive } from '../archive/archive.ts'
import { timelinesAbove } from '../archive/catalogue.ts'
import { switchPointOf } from '../wal/history.ts'
import { segnoOf } from '../wal/segment.ts'
import type { ExpectedSegment } from '../wal/segment-check.ts'
import { readHistory } from '../archive/history-object.ts'

/** A timeline with WAL whose line left this segment's timeline behind the segment, or null. */
export async function forkBehind(
  archive: Archive,
  expected: ExpectedSegment,
  signal: AbortSignal,
): Promise<number | null> {
  const { timeline, segno } = expected.segment
  for (const found of await timelinesAbove(archive.store, timeline, { signal })) {
    if (!found.hasWal || found.historyKey === null) continue
    const { history } = await readHistory(archive, found.timeline, found.historyKey, signal)
    const left = switchPointOf(history, timeline)
    if (left !== null && segnoOf(left, expected.segmentBytes) > segno) return found.timeline
  }
  return null
}
