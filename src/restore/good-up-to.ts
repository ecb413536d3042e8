import { isError, WalferryError } from '../kit/errors.ts'
import { formatLsn } from '../wal/lsn.ts'
import { parseSegmentName, segmentStart } from '../wal/segment.ts'

/**
 * What stops a recovery at a segment, with how far it can come without: what lies before the segment was served. An
 * error that says so already is left as it is.
 */
export function withGoodUpTo(error: unknown, name: string, segmentBytes: number | null): unknown {
  if (!isError(error, 'ARCHIVE_DAMAGED', 'ARCHIVE_CONFLICT') || segmentBytes === null) return error
  if (error.fields['goodUpTo'] !== undefined) return error
  const goodUpTo = formatLsn(segmentStart(parseSegmentName(name, segmentBytes).segno, segmentBytes))
  return new WalferryError(error.code, error.message, {
    retryable: error.retryable,
    fields: { ...error.fields, goodUpTo },
    hint: `WAL is good up to ${goodUpTo}. ${error.hint ?? ''}`.trimEnd(),
    ...(error.cause === undefined ? {} : { cause: error.cause }),
  })
}
