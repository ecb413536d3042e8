/**
 * On which timelines the pages of a segment were written. A timeline's first segment begins with the bytes of the one
 * that it forked from; no other segment has pages of another timeline than its name's, and none has pages of a timeline
 * that is no ancestor.
 */
import type { ReadableAt } from '../archive/bytes-at.ts'
import { WalferryError } from '../kit/errors.ts'
import { isOnLine } from '../wal/history.ts'
import { pageBytes, shortHeaderBytes } from '../wal/page.ts'
import { historyName } from '../wal/segment.ts'
import type { ExpectedSegment } from '../wal/segment-check.ts'
import { lineOf } from './line.ts'
import type { FetchRequest } from './request.ts'

/**
 * Throws ARCHIVE_DAMAGED if a page is of a timeline that is no ancestor of the name's, where its history is known. The
 * pages have been checked otherwise: their timelines do not go back, and none is later than the name's.
 */
export async function refuseOtherLines(
  request: FetchRequest,
  source: ReadableAt,
  bytes: number,
  { segment }: ExpectedSegment,
  signal: AbortSignal,
): Promise<void> {
  const earlier = await earlierTimelines(source, bytes, segment.timeline)
  if (earlier.size === 0) return
  const history = await lineOf(request, segment.timeline, signal)
  const stranger = history === null ? undefined : [...earlier].find((timeline) => !isOnLine(history, timeline))
  if (stranger === undefined) return
  const { name } = request
  throw new WalferryError(
    'ARCHIVE_DAMAGED',
    `${name} begins with WAL of timeline ${stranger}, from which timeline ${segment.timeline} does not come`,
    {
      fields: { segment: name, timeline: stranger },
      hint: `Compare it with ${historyName(segment.timeline)}: one of the two belongs to another history of the cluster.`,
    },
  )
}

/** The timelines of the pages up to the first one of `timeline`: few bytes to read, but for a first segment. */
async function earlierTimelines(source: ReadableAt, bytes: number, timeline: number): Promise<Set<number>> {
  const found = new Set<number>()
  const header = Buffer.alloc(shortHeaderBytes)
  for (let at = 0; at + shortHeaderBytes <= bytes; at += pageBytes) {
    await source.read(header, at)
    // Zero: an empty page, and nothing but empty pages behind it.
    const page = header.readUInt32LE(4)
    if (page === timeline || page === 0) break
    found.add(page)
  }
  return found
}
