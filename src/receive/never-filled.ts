/**
 * WAL that the archive lacks, and that nobody will fill in: one pure decision at a start that goes on from the spool's end.
 * Streaming begins in the segment of that end, so of what is missing before it only what the spool holds will come.
 *
 *     archive  [======]      [===]   [==
 *     spool                        [=======      streaming goes on at its end
 *     lost             [====]     []
 *
 * | of what the archive lacks | |
 * |---|---|
 * | what lies in the spool | is shipped |
 * | from the segment on in which streaming begins | comes again |
 * | up to where a base backup starts | is what a deletion leaves: old WAL that was kept, and all since that backup |
 * | another receiver has noted that it holds WAL | may be that: it is not lost yet |
 * | the rest | is lost |
 */
import type { Run } from '../archive/coverage.ts'
import type { SpoolSegment } from '../spool/inventory.ts'
import { leavesAt, type TimelineHistory } from '../wal/history.ts'
import { earlierOf, type Lsn, laterOf, plus } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { segmentStart, segnoOf } from '../wal/segment.ts'
import type { Gap } from './start.ts'

export interface HoleFacts {
  /** What the archive lacks of a timeline, with WAL behind it; in order. */
  readonly timeline: number
  readonly lacks: readonly Run[]
  /** The spool as it was before the archive was looked at: what was shipped since need not lie there any more. */
  readonly spool: { readonly end: Place | null; readonly segments: readonly SpoolSegment[] }
  /** The history of the server's timeline. */
  readonly line: TimelineHistory
  readonly segmentBytes: number
  /** The segments of that timeline in which base backups start, by their first bytes. */
  readonly backupStarts: readonly Lsn[]
  /** Another receiver has noted that it holds WAL. */
  readonly isElsewhere: boolean
}

/** In order; empty where nothing is lost, or may not be. */
export function neverFilled(facts: HoleFacts): Gap[] {
  const { timeline, lacks, backupStarts, isElsewhere } = facts
  const begin = beginOfStream(facts)
  if (begin === null || isElsewhere) return []
  return lacks
    .filter(({ end }) => !backupStarts.includes(end))
    .flatMap(({ from, end }) => without(heldBy(facts), { from, end: earlierOf(end, begin) }))
    .map(({ from, end }) => ({ timeline, from, to: end }))
}

/** Where what is streamed replaces that timeline's WAL; null where it is not on the way. */
function beginOfStream({ timeline, spool: { end }, line, segmentBytes }: HoleFacts): Lsn | null {
  if (end === null || end.timeline < timeline) return null
  const at = end.timeline === timeline ? end.lsn : leavesAt(line, timeline)
  return at === null ? null : segmentStart(segnoOf(at, segmentBytes), segmentBytes)
}

function heldBy({ timeline, spool: { segments }, segmentBytes }: HoleFacts): Run[] {
  return segments
    .filter(({ segment, syncedBytes }) => segment.timeline === timeline && syncedBytes > 0)
    .map(({ segment, syncedBytes }) => {
      const from = segmentStart(segment.segno, segmentBytes)
      return { from, end: plus(from, syncedBytes) }
    })
}

/** What is left of a run without those that are held, which come in order. */
function without(held: readonly Run[], { from: first, end }: Run): Run[] {
  const left: Run[] = []
  let from = first
  for (const one of held) {
    const upTo = earlierOf(one.from, end)
    if (from < upTo) left.push({ from, end: upTo })
    from = laterOf(from, one.end)
  }
  if (from < end) left.push({ from, end })
  return left
}
