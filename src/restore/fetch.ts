/**
 * Brings one WAL file back for a recovering server: a whole segment, the tail of the newest one, or a history file.
 *
 * What is served has been checked: its size, its checksums, its page headers, and whose it is. It is written under a
 * temporary name beside DEST and renamed when all is right; PostgreSQL syncs it itself.
 *
 * Nearly every call of a recovery serves a whole segment, in a new process: all that needs more is loaded only then.
 */
import { isError, WalferryError } from '../kit/errors.ts'
import { retry } from '../kit/retry.ts'
import { isSegmentName, parseHistoryName } from '../wal/segment.ts'
import { fetchSegment } from './fetch-segment.ts'
import type { FetchAnswer, FetchRequest } from './request.ts'

const backoff = { firstMs: 100, maxMs: 5000 }
const tellAgainMs = 60_000 // often enough to be seen, and not one line for each look

/**
 * Throws BAD_INPUT, and STORE_ and ARCHIVE_ errors. Nothing is at DEST then that was not there before, and no temporary
 * file is left.
 */
export async function fetchFile(request: FetchRequest, signal: AbortSignal): Promise<FetchAnswer> {
  const timeline = parseHistoryName(request.name)
  if (timeline === null && !isSegmentName(request.name)) {
    throw new WalferryError('BAD_INPUT', `"${request.name}" is not the name of a WAL segment or a history file`, {
      hint: "Write restore_command = 'walferry-fetch %f %p --store ...'.",
    })
  }
  const attempt = async (): Promise<FetchAnswer> => {
    if (timeline === null) return await fetchSegment(request, signal)
    const { fetchHistory } = await import('./fetch-history.ts')
    return await fetchHistory(request, timeline, signal)
  }
  for (let forMs = request.retryForMs; ; forMs = tellAgainMs) {
    try {
      return await retry(attempt, { signal, backoff, forMs, onRetry: request.onRetry })
    } catch (error) {
      // Whatever a standby were told now, it would go on with the branch that its line has left, or end.
      if (!request.standby || !isError(error, 'ARCHIVE_LOST_BRANCH')) throw error
      request.onStuck(error)
    }
  }
}
