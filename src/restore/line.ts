/** The line of a timeline: which others it comes from, and where it left them. */
import { firstTimeline, parseHistory, type TimelineHistory } from '../wal/history.ts'
import { readHistory } from '../archive/history-object.ts'
import { historyBeside } from './beside.ts'
import type { FileAsked } from './request.ts'

/** By the archive's history file, else by that of pg_wal, which the server goes by; null where neither is there. */
export async function lineOf(
  { archive, dest }: Pick<FileAsked, 'archive' | 'dest'>,
  timeline: number,
  signal: AbortSignal,
): Promise<TimelineHistory | null> {
  if (timeline === 1) return firstTimeline
  const [object] = await archive.findHistory(timeline, { signal })
  if (object !== undefined) return (await readHistory(archive, timeline, object.key, signal)).history
  const own = await historyBeside(dest, timeline)
  return own === null ? null : parseHistory(timeline, own)
}
