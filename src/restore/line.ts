/** The line of a timeline: which others it comes from, and where it left them. */
import type { Archive } from '../archive/archive.ts'
import { firstTimeline, parseHistory, type TimelineHistory } from '../wal/history.ts'
import { historyBeside } from './beside.ts'
import type { FetchRequest } from './request.ts'

const largestHistoryBytes = 1024 * 1024

export interface HistoryFile {
  readonly content: Uint8Array
  readonly history: TimelineHistory
}

/** Reads the object of a timeline's history file. Throws ARCHIVE_DAMAGED. */
export async function readHistory(
  archive: Archive,
  timeline: number,
  key: string,
  signal: AbortSignal,
): Promise<HistoryFile> {
  const content = await archive.readSmall(key, largestHistoryBytes, { signal })
  return { content, history: parseHistory(timeline, content) }
}

/** By the archive's history file, else by that of pg_wal, which the server goes by; null where neither is there. */
export async function lineOf(
  { archive, dest }: FetchRequest,
  timeline: number,
  signal: AbortSignal,
): Promise<TimelineHistory | null> {
  if (timeline === 1) return firstTimeline
  const [object] = await archive.findHistory(timeline, { signal })
  if (object !== undefined) return (await readHistory(archive, timeline, object.key, signal)).history
  const own = await historyBeside(dest, timeline)
  return own === null ? null : parseHistory(timeline, own)
}
