import { type SegmentState, SegmentWalk } from '../../src/wal/complete-segment.ts'
import type { ExpectedSegment } from '../../src/wal/segment-check.ts'

/** What a segment is, fed at once. */
export function stateOf(bytes: Uint8Array, expected: ExpectedSegment): SegmentState {
  const walk = new SegmentWalk(expected)
  walk.push(bytes)
  return walk.end()
}
