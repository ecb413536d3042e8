/**
 * What `fetch` answers a recovering server.
 *
 * | exit code | means | PostgreSQL |
 * |---|---|---|
 * | 0 | the file is at DEST | goes on |
 * | 1 | the archive has proved that it is not there and not needed | end of WAL: a recovery ends, a standby asks again |
 * | 126 | could not look: the store is away, the configuration is wrong, or walferry failed | stops |
 * | 200 | a hole: later WAL is in the archive, this is not; or only a branch that the timeline has left | stops |
 * | 201 | an object is damaged | stops |
 * | 202 | two contents where there should be one | stops |
 * | 203 | the archive of another cluster, or no archive | stops |
 * | 204 | a receiver still holds WAL that the archive has not | stops |
 * | 205 | the key is missing, is another one, or is given where nothing is encrypted | stops |
 *
 * PostgreSQL ends recovery and *promotes* on any code from 1 to 125, and stops with FATAL on 126 and above, which its log
 * calls "command not executable" (126) or "exit code 200" (src/backend/access/transam/xlogarchive.c, RestoreArchivedFile).
 */
import { type ErrorCode, isError } from '../kit/errors.ts'

/** What our process exits with for "absent": Node.js itself exits with 1 when it fails, so bin/walferry makes 1 of it. */
export const absentCode = 64

export function exitCodeOf(error: unknown): number {
  if (!isError(error)) return 126
  const codes: Partial<Record<ErrorCode, number>> = {
    ARCHIVE_HOLE: 200,
    ARCHIVE_DAMAGED: 201,
    ARCHIVE_CONFLICT: 202,
    ARCHIVE_FOREIGN: 203,
    ARCHIVE_LOST_BRANCH: 200,
    ARCHIVE_BACKLOG: 204,
    ENCRYPTION_KEY: 205,
  }
  return codes[error.code] ?? 126
}
