/** Brings a history file back, or proves that no timeline is hidden when it is not there. */
import { rename } from 'node:fs/promises'
import { timelinesAbove } from '../archive/catalogue.ts'
import { historyName } from '../wal/segment.ts'
import { newestHistoryBeside, timelineBeside } from './beside.ts'
import { decideHistory } from './decide-history.ts'
import { readHistory } from '../archive/history-object.ts'
import { backlogFor, refuseBacklog } from './refuse-backlog.ts'
import type { FetchAnswer, FetchRequest } from './request.ts'
import { withTemporary } from './temporary.ts'
import { ownerFor } from './whose.ts'

export async function fetchHistory(request: FetchRequest, timeline: number, signal: AbortSignal): Promise<FetchAnswer> {
  const { archive, dest } = request
  // A history says nothing about whose it is, and the server would keep another cluster's in pg_wal.
  const [backlog] = await Promise.all([backlogFor(request, signal), ownerFor(request, signal)])
  const [object] = await archive.findHistory(timeline, { signal })
  if (object !== undefined) return await serve(request, timeline, object.key, signal)
  const others = await timelinesAbove(archive.store, timeline - 1, { signal })
  const seen = {
    timeline,
    hasWal: others.some((other) => other.timeline === timeline && other.hasWal),
    newest: others.findLast((other) => other.timeline > timeline && other.historyKey !== null)?.timeline ?? null,
    own: await newestHistoryBeside(dest),
    started: await timelineBeside(dest),
  }
  if (seen.hasWal || seen.newest !== null) {
    // It may have come before what needs it did, and after we had looked for it.
    const [late] = await archive.findHistory(timeline, { signal })
    if (late !== undefined) return await serve(request, timeline, late.key, signal)
  }
  decideHistory(seen)
  refuseBacklog(request.name, backlog)
  return { answer: 'absent', why: `the archive has no ${historyName(timeline)}` }
}

async function serve(
  { archive, dest }: FetchRequest,
  timeline: number,
  key: string,
  signal: AbortSignal,
): Promise<FetchAnswer> {
  const { content } = await readHistory(archive, timeline, key, signal)
  return await withTemporary(dest, 'answer', async (file, path) => {
    await file.write(content)
    await rename(path, dest)
    return { answer: 'served', what: 'the history file' }
  })
}
