/**
 * `push`: one file of a server's pg_wal into the archive, beside a receiver or instead of it, in the same layout.
 *
 * | file | key | other content is there |
 * |---|---|---|
 * | segment | `wal_005/<24 HEX>.<ext>`, if it is complete | refused |
 * | segment that is not complete | as a `.partial`, and told | as a `.partial` |
 * | `.partial` | `wal_005/<24 HEX>.partial.<ext>`, always compressed | `walferry_001/partial/...`, and told |
 * | `.history`, `.backup` | `wal_005/<name>.<ext>` | refused |
 *
 * A `.partial` holds anything behind its last record, so two of one name are not comparable, and both are kept. A segment
 * under its own name, though, is the end of a question: a recovering server takes all of it.
 *
 * Pushing again what is there changes nothing. What was pushed by half, by a crash or an outage, is pushed again.
 */
import { basename } from 'node:path'
import { type Backoff, retry } from '../kit/retry.ts'
import { parseHistory, type TimelineHistory } from '../wal/history.ts'
import { parseWalFileName } from './push-name.ts'
import { pushNote } from './push-note.ts'
import type { Pushed, PushRequest } from './push-request.ts'
import { pushIncomplete, pushPartial, pushSegment } from './push-segment.ts'
import { damaged, readNote, readSegmentFile } from './push-source.ts'

/** An outage of this length is bridged. PostgreSQL bridges longer ones: it keeps the file and calls again. */
const retryForMs = 3000
const backoff: Backoff = { firstMs: 200, maxMs: 1000 }

/**
 * Resolves only once the file is durable in the archive. Throws BAD_INPUT and WAL_DAMAGED before the store was touched;
 * ARCHIVE_CONFLICT, ARCHIVE_FOREIGN, ENCRYPTION_KEY, and what the store refuses.
 */
export async function pushFile(request: PushRequest, signal: AbortSignal): Promise<Pushed> {
  const push = await prepare(request, signal)
  return await retry(push, { signal, backoff, forMs: retryForMs })
}

/** Reads and judges the file. What comes of it is a push that can be tried any number of times. */
async function prepare(request: PushRequest, signal: AbortSignal): Promise<() => Promise<Pushed>> {
  const { path } = request
  const name = parseWalFileName(basename(path))
  if (name.kind === 'history' || name.kind === 'backup') {
    const note = await readNote(path)
    const history = name.kind === 'history' ? readHistory(path, name.timeline, note) : null
    return () => pushNote(request, note, history, signal)
  }
  const file = await readSegmentFile(path, name.segment)
  const { state } = file
  if (name.kind === 'partial') return () => pushPartial(request, file, name.segment, signal)
  if (state.kind === 'damaged') throw damaged(path, state.reason)
  if (state.kind === 'complete') return () => pushSegment(request, file, name.segment, signal)
  return () => pushIncomplete(request, file, name.segment, state.reason, signal)
}

function readHistory(path: string, timeline: number, content: Uint8Array): TimelineHistory {
  try {
    return parseHistory(timeline, content)
  } catch (cause) {
    throw damaged(path, 'it is no history file', cause)
  }
}
