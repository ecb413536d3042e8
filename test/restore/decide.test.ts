import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isError, type WalferryError } from '../../src/kit/errors.ts'
import { decide, type OwnCopy, type SegmentSeen } from '../../src/restore/decide.ts'

const segmentBytes = 1024 * 1024
const nothing: SegmentSeen = {
  name: '000000010000000000000005',
  tailBytes: 0,
  segmentBytes,
  later: null,
  forkedLater: null,
  own: 'none',
}
const later = 'wal_005/000000010000000000000006.lz4'

interface Row {
  readonly seen: string
  readonly change: Partial<SegmentSeen>
  readonly decision: string
}

const table: readonly Row[] = [
  { seen: 'nothing at all', change: {}, decision: 'absent' },
  { seen: 'nothing, of an unknown segment size', change: { segmentBytes: null }, decision: 'absent' },
  { seen: 'nothing, but later WAL', change: { later }, decision: 'ARCHIVE_HOLE' },
  { seen: 'nothing, but a timeline that forked later', change: { forkedLater: 2 }, decision: 'ARCHIVE_HOLE' },
  { seen: 'a tail, but later WAL', change: { tailBytes: 8192, later }, decision: 'ARCHIVE_HOLE' },
  { seen: 'a tail, but a later fork', change: { tailBytes: 8192, forkedLater: 2 }, decision: 'ARCHIVE_HOLE' },
  { seen: 'a tail', change: { tailBytes: 8192 }, decision: 'serve-tail' },
  { seen: 'a tail, and all of it in pg_wal', change: { tailBytes: 8192, own: 'has-all' }, decision: 'absent' },
  { seen: 'a tail, and less of it in pg_wal', change: { tailBytes: 8192, own: 'shorter' }, decision: 'serve-tail' },
  {
    seen: 'a tail, and other WAL in pg_wal',
    change: { tailBytes: 8192, own: 'differs' },
    decision: 'ARCHIVE_CONFLICT',
  },
  {
    seen: 'a tail, other WAL in pg_wal, and later WAL',
    change: { tailBytes: 8192, own: 'differs', later },
    decision: 'ARCHIVE_HOLE',
  },
  { seen: 'all bytes but one', change: { tailBytes: segmentBytes - 1 }, decision: 'serve-tail' },
  { seen: 'a tail of a whole segment', change: { tailBytes: segmentBytes }, decision: 'serve-full-tail' },
  {
    seen: 'a tail of a whole segment, and later WAL',
    change: { tailBytes: segmentBytes, later, forkedLater: 2 },
    decision: 'serve-full-tail',
  },
]

function outcome(seen: SegmentSeen): string {
  try {
    return decide(seen)
  } catch (error) {
    return isError(error) ? error.code : String(error)
  }
}

describe('what is answered for a segment', () => {
  for (const { seen, change, decision } of table) {
    test(`${seen}: ${decision}`, () => assert.equal(outcome({ ...nothing, ...change }), decision))
  }
})

test('nothing that is later, and no copy of our own, can turn a hole into "absent"', () => {
  const copies: readonly OwnCopy[] = ['none', 'has-all', 'shorter', 'differs']
  for (const own of copies) {
    for (const tailBytes of [0, 1, 8192, segmentBytes - 1]) {
      assert.equal(outcome({ ...nothing, tailBytes, own, later }), 'ARCHIVE_HOLE')
    }
  }
})

test('a hole is worth another look, and a conflict is not; both name the segment', () => {
  const hole = thrown({ tailBytes: 8192, later })
  assert.equal(hole.retryable, true)
  assert.match(hole.message, /lacks 000000010000000000000005, but has wal_005\/000000010000000000000006\.lz4/)
  assert.match(thrown({ tailBytes: 8192, forkedLater: 7 }).message, /timeline 7/)
  const conflict = thrown({ tailBytes: 8192, own: 'differs' })
  assert.equal(conflict.retryable, false)
  assert.match(conflict.message, /000000010000000000000005/)
})

function thrown(change: Partial<SegmentSeen>): WalferryError {
  try {
    decide({ ...nothing, ...change })
  } catch (error) {
    if (isError(error)) return error
  }
  throw new Error('nothing was thrown')
}
