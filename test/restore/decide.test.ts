import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isError, type WalferryError } from '../../src/kit/errors.ts'
import { decide, type OwnCopy, type SegmentSeen } from '../../src/restore/decide.ts'
import { parseLsn } from '../../src/wal/lsn.ts'

const segmentBytes = 1024 * 1024
const none: OwnCopy = { compared: 'none', equalBytes: 0, validBytes: 0, complete: false }
const nothing: SegmentSeen = {
  name: '000000020000000000000005',
  start: parseLsn('0/500000'),
  segmentBytes,
  tailBytes: 0,
  neededBy: null,
  lacking: null,
  lostBranch: null,
  own: none,
  endAtHole: false,
}
const neededBy = 'wal_005/000000020000000000000006.lz4'
const tailBytes = 8192
const lostBranch = { timeline: 1, fork: parseLsn('0/504000'), forkOffset: 0x4000 }
const lacking = { name: '000000010000000000000005', forkOffset: 0x4000, bytes: 0x3000 }

function own(compared: OwnCopy['compared'], validBytes = 0, complete = false): OwnCopy {
  return { compared, equalBytes: Math.min(validBytes, tailBytes), validBytes, complete }
}

interface Row {
  readonly seen: string
  readonly change: Partial<SegmentSeen>
  readonly decision: string
}

const table: readonly Row[] = [
  { seen: 'nothing at all', change: {}, decision: 'end' },
  { seen: 'nothing, but what needs it', change: { neededBy }, decision: 'ARCHIVE_HOLE' },
  { seen: 'a tail, but what needs all of it', change: { tailBytes, neededBy }, decision: 'ARCHIVE_HOLE' },
  { seen: 'a tail', change: { tailBytes }, decision: 'serve-tail' },
  { seen: 'a tail, and all of it in pg_wal', change: { tailBytes, own: own('has-all', 8192) }, decision: 'own' },
  { seen: 'a tail, and less of it in pg_wal', change: { tailBytes, own: own('shorter', 80) }, decision: 'serve-tail' },
  {
    seen: 'a tail, and other WAL in pg_wal',
    change: { tailBytes, own: own('differs', 9000) },
    decision: 'ARCHIVE_CONFLICT',
  },
  { seen: 'all bytes but one', change: { tailBytes: segmentBytes - 1 }, decision: 'serve-tail' },
  { seen: 'a tail of a whole segment', change: { tailBytes: segmentBytes }, decision: 'serve-full-tail' },
  {
    seen: 'a tail of a whole segment, and all else that could be against it',
    change: { tailBytes: segmentBytes, neededBy, lacking, lostBranch, own: own('differs', segmentBytes, true) },
    decision: 'serve-full-tail',
  },

  // A hole, and pg_wal's own copy.
  {
    seen: 'a hole, and all of the segment in pg_wal',
    change: { neededBy, own: own('has-all', segmentBytes, true) },
    decision: 'own',
  },
  {
    seen: 'a hole, and a segment in pg_wal that is not complete',
    change: { neededBy, own: own('has-all', segmentBytes - 8) },
    decision: 'ARCHIVE_HOLE',
  },
  {
    seen: 'a hole behind a tail, and other WAL in pg_wal, all of it',
    change: { tailBytes, neededBy, own: own('differs', segmentBytes, true) },
    decision: 'ARCHIVE_HOLE',
  },
  {
    seen: 'a hole behind a tail, and all of the segment in pg_wal',
    change: { tailBytes, neededBy, own: own('has-all', segmentBytes, true) },
    decision: 'own',
  },

  // A hole that is to be the end.
  { seen: 'a hole that is to be the end', change: { neededBy, endAtHole: true }, decision: 'end-at-hole' },
  {
    seen: 'a tail before a hole that is to be the end',
    change: { tailBytes, neededBy, endAtHole: true },
    decision: 'serve-tail',
  },
  {
    seen: 'the same, and other WAL in pg_wal',
    change: { tailBytes, neededBy, endAtHole: true, own: own('differs', 9000) },
    decision: 'ARCHIVE_CONFLICT',
  },

  // The first segment of a timeline.
  { seen: 'nothing, and a lost branch', change: { lostBranch }, decision: 'ARCHIVE_LOST_BRANCH' },
  { seen: 'a hole, and a lost branch', change: { neededBy, lostBranch }, decision: 'ARCHIVE_LOST_BRANCH' },
  {
    seen: 'a hole that is to be the end, and a lost branch',
    change: { neededBy, lostBranch, endAtHole: true },
    decision: 'ARCHIVE_LOST_BRANCH',
  },
  {
    seen: 'a lost branch, and a file in pg_wal that ends before the fork',
    change: { lostBranch, own: own('has-all', 0x3ff8) },
    decision: 'ARCHIVE_LOST_BRANCH',
  },
  {
    seen: 'a lost branch, and a file in pg_wal that reaches the fork',
    change: { lostBranch, own: own('has-all', 0x4000) },
    decision: 'end',
  },
  {
    seen: 'a lost branch from the first byte on, and an empty file in pg_wal',
    change: { lostBranch: { ...lostBranch, forkOffset: 0 }, own: own('has-all', 0) },
    decision: 'ARCHIVE_LOST_BRANCH',
  },
  {
    seen: 'a hole, a lost branch, and a file in pg_wal that reaches the fork and no further',
    change: { neededBy, lostBranch, own: own('has-all', 0x4000) },
    decision: 'ARCHIVE_HOLE',
  },
  { seen: 'a tail that ends before the fork', change: { tailBytes, lacking }, decision: 'ARCHIVE_HOLE' },
  {
    seen: 'a tail that ends before the fork, and no more of it in pg_wal',
    change: { tailBytes, lacking, own: own('has-all', 8192) },
    decision: 'ARCHIVE_HOLE',
  },
  {
    seen: 'a tail that ends before the fork, and a file in pg_wal that reaches it',
    change: { tailBytes, lacking, own: own('has-all', 0x4000) },
    decision: 'own',
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

test('only a complete copy of our own turns a hole into "absent"', () => {
  for (const compared of ['none', 'has-all', 'shorter', 'differs'] as const) {
    for (const bytes of [0, 1, 8192, segmentBytes - 1]) {
      const change = { tailBytes: bytes, own: own(compared, segmentBytes - 8), neededBy }
      assert.equal(outcome({ ...nothing, ...change }), 'ARCHIVE_HOLE', `${compared}, ${bytes}`)
    }
  }
})

test('what may be on its way is worth another look, and a conflict is not', () => {
  assert.equal(thrown({ tailBytes, neededBy }).retryable, true)
  assert.equal(thrown({ lostBranch }).retryable, true)
  assert.equal(thrown({ tailBytes, lacking }).retryable, true)
  assert.equal(thrown({ tailBytes, own: own('differs', 9000) }).retryable, false)
})

test('each refusal names the file, the reason, how far the WAL is good, and the next step', () => {
  const expected: readonly (readonly [Partial<SegmentSeen>, RegExp, RegExp])[] = [
    [
      { tailBytes, neededBy },
      /lacks 0{7}20{15}5, but has wal_005\/0{7}20{15}6\.lz4/,
      /good up to 0\/502000.*--end-at-hole.*recovery_prefetch = off/,
    ],
    [
      { lostBranch },
      /lacks 0{7}20{15}5,.* timeline 1 behind the fork at 0\/504000/,
      /good up to 0\/504000.*receiver.*recovery_target_timeline = '1'/,
    ],
    [
      { tailBytes, lacking },
      /0{7}20{15}5 up to 0\/503000 only, before its fork at 0\/504000, and 0{7}10{15}5 has no more/,
      /good up to 0\/503000.*Start the receiver/,
    ],
    [
      { tailBytes, own: own('differs', 80) },
      /pg_wal has a 0{7}20{15}5 with other WAL/,
      /equal up to 0\/500050.*restore_command/,
    ],
  ]
  for (const [change, message, hint] of expected) {
    const error = thrown(change)
    assert.match(error.message, message)
    assert.match(error.hint ?? '', hint)
  }
})

function thrown(change: Partial<SegmentSeen>): WalferryError {
  try {
    decide({ ...nothing, ...change })
  } catch (error) {
    if (isError(error)) return error
  }
  throw new Error('nothing was thrown')
}
