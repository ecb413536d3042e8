/** Writes a segment from the archive into a file, and refuses it unless it is what its name says. */
import type { Archive } from '../archive/archive.ts'
import type { ReadableAt, WritableAt } from '../archive/bytes-at.ts'
import { WalferryError } from '../kit/errors.ts'
import { formatLsn, type Lsn, plus } from '../wal/lsn.ts'
import { readPageHeader } from '../wal/page.ts'
import { parseSegmentName, segmentStart } from '../wal/segment.ts'
import { type ExpectedSegment, firstPageFault, SegmentChecker } from '../wal/segment-check.ts'
import { walk } from './own-copy.ts'

export interface SegmentWanted {
  readonly name: string
  /** null: the segment says it itself. */
  readonly segmentBytes: number | null
  readonly systemIdentifier: bigint | null
  readonly signal: AbortSignal
}

const largestSegmentBytes = 1024 * 1024 * 1024

/** Throws ARCHIVE_DAMAGED. `into` holds the whole segment, checked, when this resolves; returns what it is. */
export async function receiveSegment(
  archive: Archive,
  key: string,
  into: WritableAt,
  wanted: SegmentWanted,
): Promise<ExpectedSegment> {
  const size = wanted.segmentBytes ?? { atMost: largestSegmentBytes }
  const plain = await archive.readObject(key, size, { signal: wanted.signal })
  let expected: ExpectedSegment | null = null
  let checker: SegmentChecker | null = null
  let at = 0
  for await (const piece of plain) {
    if (expected === null || checker === null) {
      expected = expectedFrom(piece, key, wanted)
      checker = new SegmentChecker(expected)
    }
    checker.push(piece)
    await into.write(piece, at)
    at += piece.length
  }
  if (expected === null || checker === null) throw damaged(key, 'it is empty')
  if (at !== expected.segmentBytes) throw damaged(key, `it has ${at} bytes, and a segment has ${expected.segmentBytes}`)
  const fault = checker.end()
  if (fault === null && plain.checked) return expected
  // No checksum vouches for it, or its last pages look odd: then its records have to be whole up to its end. (Pages of a
  // file's former life lie behind an XLOG_SWITCH where the server crashed just then; PostgreSQL never reads them.)
  const walker = await walk(into, at, expected)
  const end = plus(segmentStart(expected.segment.segno, expected.segmentBytes), expected.segmentBytes)
  if (walker.completeUpTo !== end) throw damaged(key, fault ?? walker.stopped?.reason ?? 'its records end too early')
  return expected
}

/**
 * Throws ARCHIVE_DAMAGED if a tail is not WAL of its segment from beginning to end. Its end may cut a record; but where a
 * server has streamed nothing is empty: the recovery would end there, with the rest of the tail unread.
 */
export async function checkTail(
  tail: ReadableAt,
  bytes: number,
  expected: ExpectedSegment,
  name: string,
): Promise<void> {
  const walker = await walk(tail, bytes, expected)
  if (walker.stopped === null) return
  throw damaged(`the tail of ${name}`, walker.stopped.reason, walker.validEnd)
}

function expectedFrom(first: Uint8Array, key: string, wanted: SegmentWanted): ExpectedSegment {
  const segmentBytes = wanted.segmentBytes ?? readPageHeader(first, 0)?.long?.segmentBytes
  if (segmentBytes === undefined) throw damaged(key, 'it does not begin with the header of a segment')
  const expected = {
    segment: parseSegmentName(wanted.name, segmentBytes),
    segmentBytes,
    ...(wanted.systemIdentifier === null ? {} : { systemIdentifier: wanted.systemIdentifier }),
  }
  const fault = firstPageFault(first, expected)
  if (fault !== null) throw damaged(key, fault)
  return expected
}

function damaged(key: string, what: string, validEnd: Lsn | null = null): WalferryError {
  const good = validEnd === null ? null : formatLsn(validEnd)
  return new WalferryError('ARCHIVE_DAMAGED', `${key} cannot be used: ${what}`, {
    fields: { key, ...(good === null ? {} : { goodUpTo: good }) },
    hint:
      `${good === null ? '' : `WAL is good up to ${good}. `}The server stops rather than end without the rest. Put a good copy ` +
      'into the archive: look in pg_wal of a server, in the spool of the receiver, or in another archive.',
  })
}
