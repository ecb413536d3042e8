/** A timeline's history file, as it lies in the archive. */
import { parseHistory, type TimelineHistory } from '../wal/history.ts'
import type { Archive } from './archive.ts'

export interface HistoryObject {
  readonly content: Uint8Array
  readonly history: TimelineHistory
}

/** A line for each ancestor, of some forty bytes: what is larger is none. */
const largestHistoryBytes = 1024 * 1024

/** Rejects as `Archive.readObject` does, and ARCHIVE_DAMAGED for what is no history file. */
export async function readHistory(
  archive: Archive,
  timeline: number,
  key: string,
  signal: AbortSignal,
): Promise<HistoryObject> {
  const content = await archive.readSmall(key, largestHistoryBytes, { signal })
  return { content, history: parseHistory(timeline, content) }
}
