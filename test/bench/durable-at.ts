/** From what an archive got, and when: from which moment on it could bring back everything up to a position. */
import { parseChunkKey, parseWalKey } from '../../src/archive/keys.ts'
import { type Lsn, plus } from '../../src/wal/lsn.ts'
import { parseSegmentName, segmentStart } from '../../src/wal/segment.ts'

export interface Stored {
  readonly key: string
  readonly atMs: number
}

export interface Reached {
  /** Everything before it is in the archive, from `from` on and without a hole. */
  readonly end: Lsn
  readonly atMs: number
}

/** How the archive has grown, in order of time and place. `keyPrefix` is what stands before the archive's own keys. */
export function growthOf(
  stored: readonly Stored[],
  { from, segmentBytes, keyPrefix }: { from: Lsn; segmentBytes: number; keyPrefix: string },
): Reached[] {
  const ranges = new Map<Lsn, Lsn>()
  const reached: Reached[] = []
  let end = from
  for (const { key, atMs } of stored.toSorted((a, b) => a.atMs - b.atMs)) {
    const range = rangeOf(key.slice(keyPrefix.length), segmentBytes)
    if (range === null) continue
    ranges.set(range.start, range.end)
    for (let next = follows(ranges, end); next > end; next = follows(ranges, end)) {
      end = next
      reached.push({ end, atMs })
    }
  }
  return reached
}

/** When everything before `lsn` was there; null if it never was. */
export function durableAt(growth: readonly Reached[], lsn: Lsn): number | null {
  let low = 0
  let high = growth.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((growth[middle]?.end ?? 0n) < lsn) low = middle + 1
    else high = middle
  }
  return growth[low]?.atMs ?? null
}

/** How far the ranges that hold `end` reach. */
function follows(ranges: Map<Lsn, Lsn>, end: Lsn): Lsn {
  let furthest = end
  for (const [start, stop] of ranges) {
    if (stop <= end) ranges.delete(start)
    else if (start <= end && stop > furthest) furthest = stop
  }
  return furthest
}

function rangeOf(key: string, segmentBytes: number): { start: Lsn; end: Lsn } | null {
  const chunk = parseChunkKey(key)
  if (chunk !== null) {
    const base = segmentStart(parseSegmentName(chunk.segment, segmentBytes).segno, segmentBytes)
    return { start: plus(base, chunk.start), end: plus(base, chunk.end) }
  }
  const wal = parseWalKey(key)
  if (wal?.kind !== 'segment') return null
  const start = segmentStart(parseSegmentName(wal.segment, segmentBytes).segno, segmentBytes)
  return { start, end: plus(start, segmentBytes) }
}
