/**
 * W: how far what is here reaches, of two ends: that of the spool, and that of the archive. Another receiver may have
 * shipped what our spool lacks; and the spool may hold what is not shipped yet.
 *
 * | the archive's end | counts |
 * |---|---|
 * | is not further than the spool's: no later timeline, no later position | the spool's |
 * | is further, on the server's line | the archive's; its tail is brought into the spool, to be compared with what comes |
 * | is further, on a later timeline than the server's | the archive's: this server is not to be streamed from |
 * | is on a branch beside the server's newer line, and the spool's is on that line behind where the two parted | the spool's: the branch was turned away from already |
 * | is on such a branch, and the spool's is not | the archive's |
 */
import type { ArchiveEnd } from '../archive/archive-end.ts'
import { isOnLine, leavesAt, partingOf, type TimelineHistory } from '../wal/history.ts'
import type { Place } from '../wal/place.ts'

export interface Ends {
  /** How far the spool is proved; null for an empty one. */
  readonly spool: Place | null
  readonly archive: Pick<ArchiveEnd, 'place' | 'line'> | null
  /** The history of the server's timeline. */
  readonly line: TimelineHistory
}

/** Which end counts; `archive-tail` says that its tail has to be brought into the spool first. */
export function furthestEnd({ spool, archive, line }: Ends): 'spool' | 'archive' | 'archive-tail' {
  if (archive === null || !isFurther(archive.place, spool)) return 'spool'
  const { timeline } = archive.place
  if (isOnLine(line, timeline)) return 'archive-tail'
  if (timeline > line.timeline || archive.line === null || spool === null) return 'archive'
  const { at } = partingOf(line, archive.line)
  return at !== null && spool.lsn > at && isOnServersLine(spool, line) ? 'spool' : 'archive'
}

/** Whether one place is further than another: a later timeline is, wherever it began. */
function isFurther(there: Place, here: Place | null): boolean {
  if (here === null || there.timeline > here.timeline) return true
  return there.timeline === here.timeline && there.lsn > here.lsn
}

function isOnServersLine({ timeline, lsn }: Place, line: TimelineHistory): boolean {
  if (timeline === line.timeline) return true
  const left = leavesAt(line, timeline)
  return left !== null && lsn <= left
}
