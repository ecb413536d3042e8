/**
 * The WAL of one line: a timeline with all that it comes from, each ancestor up to where the line left it. This is what
 * a recovery with that timeline as its target can be served.
 */
import { leavesAt, type TimelineHistory } from '../wal/history.ts'
import { earlierOf, laterOf, type Lsn, lsnZero } from '../wal/lsn.ts'
import { segmentStart, segnoOf } from '../wal/segment.ts'
import { type Coverage, type Run, unionOf } from './coverage.ts'

export interface Line {
  readonly timeline: number
  readonly history: TimelineHistory
  /** False if there is no history file: a server then cannot be told to go to this timeline by its number. */
  readonly isHistoryKnown: boolean
  readonly segmentBytes: number
  /** In order. The last one may go on; each of the others ends at a hole, and with a whole segment. */
  readonly runs: readonly LineRun[]
}

export interface LineRun extends Run {
  /**
   * Whether the archive holds newer WAL of the line behind its end. Of a tail before a hole nothing counts: it is not
   * served, because the server would take it for the end.
   */
  readonly beforeHole: boolean
}

/** Null if the archive has no WAL of this timeline. Where its history is not known, it stands alone. */
export function lineOf({ timelines, segmentBytes }: Coverage, timeline: number): Line | null {
  const own = timelines.find((one) => one.timeline === timeline)
  if (own === undefined || own.newest === null) return null
  const history = own.history ?? { timeline, ancestors: [] }
  const clipped: Run[] = []
  let begin = lsnZero
  for (const { timeline: number, switchPoint } of [...history.ancestors, { timeline, switchPoint: null }]) {
    // Its first segment begins before the fork, with a copy of its parent's bytes.
    const from = segmentStart(segnoOf(begin, segmentBytes), segmentBytes)
    const end = leavesAt(history, number)
    const found = timelines.find((one) => one.timeline === number)?.runs ?? []
    clipped.push(...found.flatMap((run) => clip(run, from, end)))
    begin = switchPoint ?? begin
  }
  const runs = unionOf(clipped).map(({ from, end }, at, all) => {
    const begin = startOfSegment(end, segmentBytes)
    const beforeHole = at < all.length - 1 || (own.newest ?? lsnZero) > begin
    return { from, end: beforeHole ? begin : end, beforeHole }
  })
  return {
    timeline,
    history,
    isHistoryKnown: own.history !== null,
    segmentBytes,
    runs: runs.filter((run) => run.from < run.end),
  }
}

function clip(run: Run, from: Lsn, end: Lsn | null): Run[] {
  const clipped = { from: laterOf(run.from, from), end: end === null ? run.end : earlierOf(run.end, end) }
  return clipped.from < clipped.end ? [clipped] : []
}

/** Where the segment begins that holds the byte at `lsn`. */
function startOfSegment(lsn: Lsn, segmentBytes: number): Lsn {
  return segmentStart(segnoOf(lsn, segmentBytes), segmentBytes)
}
