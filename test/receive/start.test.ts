import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, isError } from '../../src/kit/errors.ts'
import type { SlotState } from '../../src/pg/replication-client.ts'
import { checkIdentity, resumeFrom, type StartFacts } from '../../src/receive/start.ts'
import type { TimelineHistory } from '../../src/wal/history.ts'
import { formatLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import type { Place } from '../../src/wal/place.ts'

const megabyte = 1024 * 1024

interface Case {
  /** The server: its flush position on timeline 1 of 16 MB segments, unless said otherwise. */
  readonly flush: string
  readonly timeline?: number
  readonly segmentBytes?: number
  /** Null where nothing was asked, or could be. */
  readonly inRecovery?: boolean
  /** `missing`, `unreserved`, `unreadable`, or its restart position, with `@timeline` where the server tells it. */
  readonly slot: string
  /** W, with `@timeline` where that is not 1. */
  readonly here?: string
  readonly keepBytes?: number
  /** The line of the server's timeline: `timeline:position where it was left`, oldest first. */
  readonly line?: string
  /** That of W's timeline, where it is known. */
  readonly hereLine?: string
  /** What the archive has behind a hole: `from-end`. */
  readonly stored?: string
  /** Starts that were removed: `position@timeline`. */
  readonly removed?: readonly string[]
}

function factsOf(given: Case): StartFacts {
  const server = {
    systemIdentifier: 7_000_000_000_000_000_001n,
    timeline: given.timeline ?? 1,
    flushedUpTo: parseLsn(given.flush),
    segmentBytes: given.segmentBytes ?? 16 * megabyte,
  }
  const [here, hereTimeline = '1'] = given.here?.split('@') ?? []
  return {
    server,
    inRecovery: given.inRecovery ?? null,
    slot: slotOf(given.slot),
    furthest: here === undefined ? null : { timeline: Number(hereTimeline), lsn: parseLsn(here) },
    slotKeepBytes: given.keepBytes ?? null,
    line: lineOf(server.timeline, given.line ?? ''),
    stored: given.stored === undefined ? null : runOf(given.stored),
    furthestLine: given.hereLine === undefined ? null : lineOf(Number(hereTimeline), given.hereLine),
    removed: (given.removed ?? []).map(placeOf),
  }
}

function lineOf(timeline: number, text: string): TimelineHistory {
  const ancestors = text.split(' ').filter((one) => one !== '')
  return {
    timeline,
    ancestors: ancestors.map((one) => {
      const [number = '', at = ''] = one.split(':')
      return { timeline: Number(number), switchPoint: parseLsn(at), reason: '' }
    }),
  }
}

function runOf(text: string): { from: Lsn; end: Lsn } {
  const [from = '', end = ''] = text.split('-')
  return { from: parseLsn(from), end: parseLsn(end) }
}

function placeOf(text: string): Place {
  const [lsn = '', timeline = '1'] = text.split('@')
  return { timeline: Number(timeline), lsn: parseLsn(lsn) }
}

function slotOf(text: string): SlotState {
  if (text === 'missing' || text === 'unreserved' || text === 'unreadable') return { state: text }
  const [lsn = '', timeline] = text.split('@')
  return {
    state: 'reserved',
    restartLsn: parseLsn(lsn),
    restartTimeline: timeline === undefined ? null : Number(timeline),
  }
}

/** Where streaming starts, from where on it is acknowledged, and what the warning must say (null: there is none). */
type Starts = readonly [start: string, acknowledgeFrom: string, warning: RegExp | null]

const starts: readonly (readonly [name: string, given: Case, expected: Starts])[] = [
  // Nothing is here yet.
  ['first start: the slot reserves WAL', { flush: '0/5000060', slot: '0/3000028@1' }, ['0/3000000', '0/3000000', null]],
  [
    'first start before 15, where the slot tells no timeline',
    { flush: '0/5000060', slot: '0/3000028' },
    ['0/3000000', '0/3000000', null],
  ],
  [
    'first start: the slot is exactly on a boundary',
    { flush: '0/5000060', slot: '0/4000000@1' },
    ['0/4000000', '0/4000000', null],
  ],
  [
    'first start: the slot is on the last byte before one',
    { flush: '0/5000060', slot: '0/3FFFFFF@1' },
    ['0/3000000', '0/3000000', null],
  ],
  [
    'first start on a later timeline',
    { flush: '0/5000060', timeline: 3, slot: '0/3000028@3' },
    ['0/3000000', '0/3000000', null],
  ],
  [
    'first start: the slot reserves nothing',
    { flush: '0/5000060', slot: 'unreserved' },
    ['0/5000000', '0/5000000', /reserves no WAL.*before 0\/5000000 is not received/],
  ],
  [
    'first start: the slot is not there',
    { flush: '0/5000060', slot: 'missing' },
    ['0/5000000', '0/5000000', /reserves no WAL.*before 0\/5000000/],
  ],
  [
    'first start: the slot cannot be read',
    { flush: '0/5000060', slot: 'unreadable' },
    ['0/5000000', '0/5000000', /could not be read.*before 0\/5000000/],
  ],
  [
    'first start without a slot, the server exactly on a boundary',
    { flush: '0/5000000', slot: 'missing' },
    ['0/5000000', '0/5000000', /before 0\/5000000/],
  ],

  // W and the slot.
  [
    'the slot is behind W: W once compared',
    { flush: '0/5000060', slot: '0/3000028@1', here: '0/4000100' },
    ['0/4000000', '0/4000100', null],
  ],
  [
    'the slot is exactly at W',
    { flush: '0/5000060', slot: '0/4000100@1', here: '0/4000100' },
    ['0/4000000', '0/4000100', null],
  ],
  [
    'the slot is ahead of W: it is moved back at once',
    { flush: '0/5000060', slot: '0/4000200@1', here: '0/4000100' },
    ['0/4000000', '0/4000000', null],
  ],
  [
    'the slot is one byte ahead of W',
    { flush: '0/5000060', slot: '0/4000101@1', here: '0/4000100' },
    ['0/4000000', '0/4000000', null],
  ],
  [
    'the same before 15',
    { flush: '0/5000060', slot: '0/4000101', here: '0/4000100' },
    ['0/4000000', '0/4000000', null],
  ],
  [
    'W is exactly on a boundary: nothing comes again',
    { flush: '0/5000060', slot: '0/3000028@1', here: '0/4000000' },
    ['0/4000000', '0/4000000', null],
  ],
  [
    'W is the last byte before one: its whole segment comes again',
    { flush: '0/5000060', slot: '0/3000028@1', here: '0/3FFFFFF' },
    ['0/3000000', '0/3FFFFFF', null],
  ],
  [
    'W is exactly where the server is',
    { flush: '0/5000060', slot: '0/5000060@1', here: '0/5000060' },
    ['0/5000000', '0/5000060', null],
  ],
  [
    'W and the server are on one boundary',
    { flush: '0/5000000', slot: '0/5000000@1', here: '0/5000000' },
    ['0/5000000', '0/5000000', null],
  ],
  [
    'no slot, but W: from W',
    { flush: '0/5000060', slot: 'missing', here: '0/4000100' },
    ['0/4000000', '0/4000100', null],
  ],
  [
    'a slot that reserves nothing, but W: from W',
    { flush: '0/5000060', slot: 'unreserved', here: '0/4000100' },
    ['0/4000000', '0/4000100', null],
  ],
  [
    'a slot that cannot be read, but W: from W',
    { flush: '0/5000060', slot: 'unreadable', here: '0/4000100' },
    ['0/4000000', '0/4000100', null],
  ],

  // How far a slot may be moved back. The server counts from where it is now (src/backend/access/transam/xlog.c,
  // KeepLogSeg), not from where the slot was. W's segment begins at 0/4000000; 32 MB behind it is 0/6000000.
  [
    'ahead, and the server keeps just as much',
    { flush: '0/6000000', slot: '0/5000000@1', here: '0/4000100', keepBytes: 32 * megabyte },
    ['0/4000000', '0/4000000', null],
  ],
  [
    'ahead, and the server keeps a segment less',
    { flush: '0/7000000', slot: '0/5000000@1', here: '0/4000100', keepBytes: 32 * megabyte },
    ['0/4000000', '0/5000000', null],
  ],
  [
    'ahead of W by more than the server keeps',
    { flush: '0/9000000', slot: '0/8000000@1', here: '0/4000100', keepBytes: 32 * megabyte },
    ['0/4000000', '0/8000000', null],
  ],
  [
    'far ahead, and the server keeps without a limit',
    { flush: '9/0', slot: '8/0@1', here: '0/4000100' },
    ['0/4000000', '0/4000000', null],
  ],
  [
    'ahead, and the server keeps nothing for slots',
    { flush: '0/9000000', slot: '0/4000200@1', here: '0/4000100', keepBytes: 0 },
    ['0/4000000', '0/4000200', null],
  ],
  [
    'behind, and the server keeps nothing for slots',
    { flush: '0/9000000', slot: '0/4000050@1', here: '0/4000100', keepBytes: 0 },
    ['0/4000000', '0/4000100', null],
  ],

  // Other sizes.
  [
    'segments of 1 MB',
    { flush: '0/5000060', segmentBytes: megabyte, slot: '0/3000028@1', here: '0/4234567' },
    ['0/4200000', '0/4234567', null],
  ],
  [
    'segments of 1 GB, far out',
    { flush: 'FFFFFFFF/FFFFFFFF', segmentBytes: 1024 * megabyte, slot: '0/1@1', here: 'FFFFFFFF/CABCDEF0' },
    ['FFFFFFFF/C0000000', 'FFFFFFFF/CABCDEF0', null],
  ],
]

for (const [name, given, [start, acknowledgeFrom, warning]] of starts) {
  test(`starts: ${name}`, () => {
    const told = resumeFrom(factsOf(given))
    assert.equal(formatLsn(told.lsn), start)
    assert.equal(formatLsn(told.acknowledgeFrom), acknowledgeFrom)
    assert.equal(told.timeline, given.timeline ?? 1)
    assert.equal(told.fork, null)
    assert.equal(told.gap, null)
    if (warning === null) assert.equal(told.warning, null)
    else assert.match(told.warning ?? '', warning)
  })
}

/** On several timelines: where it starts, from where on it is acknowledged, the fork behind which W lies, the gap. */
const turns: readonly (readonly [
  name: string,
  given: Case,
  start: string,
  ack: string,
  fork: string | null,
  gap: string | null,
])[] = [
  // The server is on timeline 2, which left timeline 1 at 0/5000100.
  ...(
    [
      ["W is before the fork: on W's own timeline", '0/4000100', '0/4000000@1', '0/4000100', null],
      ['W is in the segment of the fork, before it', '0/5000080', '0/5000000@1', '0/5000080', null],
      ['W is exactly the fork: on the next timeline', '0/5000100', '0/5000000@2', '0/5000100', null],
      ['W is behind the fork: a branch was left', '0/5000101', '0/5000000@2', '0/5000100', '0/5000100'],
      ['W is segments behind the fork', '0/8000000', '0/5000000@2', '0/5000100', '0/5000100'],
    ] as const
  ).map(
    ([name, here, start, ack, fork]) =>
      [
        name,
        { flush: '0/6000060', timeline: 2, line: '1:0/5000100', slot: '0/3000000', here },
        start,
        ack,
        fork,
        null,
      ] as const,
  ),
  [
    'the fork is exactly on a boundary, and W is there',
    { flush: '0/6000060', timeline: 2, line: '1:0/5000000', slot: '0/3000000', here: '0/5000000' },
    '0/5000000@2',
    '0/5000000',
    null,
    null,
  ],
  [
    'the fork is exactly on a boundary, and W is in the segment before',
    { flush: '0/6000060', timeline: 2, line: '1:0/5000000', slot: '0/3000000', here: '0/4FFFFFF' },
    '0/4000000@1',
    '0/4FFFFFF',
    null,
    null,
  ],
  [
    'W is two timelines back: the next one of the line comes first',
    { flush: '0/9000000', timeline: 3, line: '1:0/5000100 2:0/7000100', slot: '0/3000000', here: '0/5000100' },
    '0/5000000@2',
    '0/5000100',
    null,
    null,
  ],
  [
    'numbers are skipped',
    { flush: '0/9000000', timeline: 7, line: '1:0/5000100', slot: '0/3000000', here: '0/5000100' },
    '0/5000000@7',
    '0/5000100',
    null,
    null,
  ],
  [
    'a timeline of the line was left before it began: nothing of it counts',
    { flush: '0/9000000', timeline: 3, line: '1:0/6000100 2:0/5000100', slot: '0/3000000', here: '0/6000100' },
    '0/5000000@3',
    '0/5000100',
    '0/5000100',
    null,
  ],
  [
    "W is on a branch beside the server's newer line",
    {
      flush: '0/9000000',
      timeline: 3,
      line: '1:0/5000100',
      slot: '0/3000000',
      here: '0/7000000@2',
      hereLine: '1:0/5500000',
    },
    '0/5000000@3',
    '0/5000100',
    '0/5000100',
    null,
  ],
  [
    'the same, and that branch began earlier: the old timeline goes on a little',
    {
      flush: '0/9000000',
      timeline: 3,
      line: '1:0/5500000',
      slot: '0/3000000',
      here: '0/7000000@2',
      hereLine: '1:0/5000100',
    },
    '0/5000000@1',
    '0/5000100',
    '0/5000100',
    null,
  ],
  [
    'first start on a slot that reserves WAL of an earlier timeline',
    { flush: '0/6000060', timeline: 2, line: '1:0/5000100', slot: '0/4000010@1' },
    '0/4000000@1',
    '0/4000000',
    null,
    null,
  ],
  [
    'the same before 15, where the slot tells no timeline',
    { flush: '0/6000060', timeline: 2, line: '1:0/5000100', slot: '0/4000010' },
    '0/4000000@1',
    '0/4000000',
    null,
    null,
  ],
  // The server has said that the WAL is gone.
  [
    "W's segment is gone, and the next timeline has a copy of it",
    {
      flush: '0/6000060',
      timeline: 2,
      line: '1:0/5000100',
      slot: '0/5000100',
      here: '0/5000080',
      removed: ['0/5000000@1'],
    },
    '0/5000000@2',
    '0/5000000',
    null,
    null,
  ],
  [
    'that copy is gone, too, and the timeline after it has one',
    {
      flush: '0/6000060',
      timeline: 3,
      line: '1:0/5000100 2:0/5000200',
      slot: '0/5000100',
      here: '0/5000080',
      removed: ['0/5000000@1', '0/5000000@2'],
    },
    '0/5000000@3',
    '0/5000000',
    null,
    null,
  ],
  [
    'that copy is gone, too: a gap',
    {
      flush: '0/9000060',
      timeline: 2,
      line: '1:0/5000100',
      slot: '0/8000100',
      here: '0/5000080',
      removed: ['0/5000000@1', '0/5000000@2'],
    },
    '0/8000000@2',
    '0/8000000',
    null,
    '1 0/5000080 0/8000000',
  ],
  [
    "W's segment is gone, and no other has it: a gap up to what the slot keeps",
    { flush: '0/9000060', slot: '0/8000100@1', here: '0/5000080', removed: ['0/5000000'] },
    '0/8000000@1',
    '0/8000000',
    null,
    '1 0/5000080 0/8000000',
  ],
  ...(
    [
      ['W is still there', '0/8000100', [], '0/2000000', '0/2000000', null],
      ['from its end', '0/8000100', ['0/2000000'], '0/6000000', '0/6000000', '1 0/2000080 0/5000000'],
      ['that is gone, too', '0/8000100', ['0/2000000', '0/6000000'], '0/8000000', '0/8000000', '1 0/6000100 0/8000000'],
      ['the slot is where it ends', '0/6000100', ['0/2000000'], '0/6000000', '0/6000100', '1 0/2000080 0/5000000'],
      [
        'the slot keeps what lies before',
        '0/4000100',
        ['0/2000000'],
        '0/4000000',
        '0/4000000',
        '1 0/2000080 0/4000000',
      ],
      ['the slot keeps a part of it', '0/5800000', ['0/2000000'], '0/5000000', '0/5000000', '1 0/2000080 0/5000000'],
    ] as const
  ).map(
    ([name, slot, removed, start, ack, gap]) =>
      [
        `the archive goes on behind a hole: ${name}`,
        { flush: '0/9000060', slot: `${slot}@1`, here: '0/2000080', stored: '0/5000000-0/6000100', removed },
        `${start}@1`,
        ack,
        null,
        gap,
      ] as const,
  ),
  [
    'the archive goes on behind a hole, beyond what the server has: that is not its WAL',
    {
      flush: '0/9000060',
      slot: '0/8000100@1',
      here: '0/2000080',
      stored: '0/9000000-0/9000061',
      removed: ['0/2000000'],
    },
    '0/8000000@1',
    '0/8000000',
    null,
    '1 0/2000080 0/8000000',
  ],
  [
    'the gap reaches over a fork',
    {
      flush: '0/9000060',
      timeline: 2,
      line: '1:0/7000100',
      slot: '0/8000100@2',
      here: '0/5000080',
      removed: ['0/5000000@1'],
    },
    '0/8000000@2',
    '0/8000000',
    null,
    '1 0/5000080 0/8000000',
  ],
  [
    'behind a branch that was left, the gap begins at the fork',
    {
      flush: '0/9000060',
      timeline: 2,
      line: '1:0/5000100',
      slot: '0/8000100@2',
      here: '0/6000080',
      removed: ['0/5000000@2'],
    },
    '0/8000000@2',
    '0/8000000',
    '0/5000100',
    '2 0/5000100 0/8000000',
  ],
  [
    'nothing was received yet: no gap, only a later start',
    { flush: '0/9000060', slot: '0/8000100@1', removed: ['0/5000000'] },
    '0/8000000@1',
    '0/8000000',
    null,
    null,
  ],
]

for (const [name, given, start, ack, fork, gap] of turns) {
  test(`starts on several timelines: ${name}`, () => {
    const told = resumeFrom(factsOf(given))
    assert.equal(`${formatLsn(told.lsn)}@${told.timeline}`, start)
    assert.equal(formatLsn(told.acknowledgeFrom), ack)
    assert.equal(told.fork === null ? null : formatLsn(told.fork), fork)
    assert.equal(told.warning !== null, fork !== null, 'a branch that was left is told')
    const words =
      told.gap === null ? null : `${told.gap.timeline} ${formatLsn(told.gap.from)} ${formatLsn(told.gap.to)}`
    assert.equal(words, gap)
  })
}

const refusals: readonly (readonly [name: string, given: Case, code: ErrorCode, retryable: boolean, about: RegExp])[] =
  [
    [
      'W is past a standby',
      { flush: '0/5000060', inRecovery: true, slot: '0/4000000@1', here: '0/5000061' },
      'SERVER_BEHIND',
      true,
      /reaches 0\/5000061, .*only 0\/5000060/,
    ],
    [
      'W is past a primary',
      { flush: '0/5000060', inRecovery: false, slot: '0/4000000@1', here: '0/5000061' },
      'SERVER_LOST_WAL',
      false,
      /reaches 0\/5000061, .*only 0\/5000060/,
    ],
    // A server that is not known to be a primary is waited for: halting would need a person, and most often for nothing.
    [
      'W is past a server that does not say whether it is a standby',
      { flush: '0/5000060', slot: '0/4000000@1', here: '0/5000061' },
      'SERVER_BEHIND',
      true,
      /0\/5000061/,
    ],
    [
      'the old primary came back',
      { flush: '0/9000060', slot: '0/4000000@1', here: '0/4000100@2', hereLine: '1:0/4000080' },
      'SERVER_TIMELINE',
      false,
      /timeline 1, .* ends on 2/,
    ],
    [
      'the server is an old one, beside the line that is here',
      {
        flush: '0/9000060',
        timeline: 2,
        line: '1:0/3000000',
        slot: 'missing',
        here: '0/6000000@3',
        hereLine: '1:0/5000000',
      },
      'SERVER_TIMELINE',
      false,
      /timeline 2, .* ends on 3/,
    ],
    [
      'nobody knows how the timeline that is here came about',
      { flush: '0/9000060', timeline: 3, line: '1:0/5000000', slot: 'missing', here: '0/6000000@2' },
      'SERVER_TIMELINE',
      false,
      /timeline 3, .* ends on 2/,
    ],
    [
      'the WAL is gone, and the slot reserves no later one',
      { flush: '0/9000060', slot: '0/4000010@1', here: '0/4000100', removed: ['0/4000000'] },
      'WAL_REMOVED',
      true,
      /from 0\/4000000 on/,
    ],
    [
      'what the slot reserves is gone, too',
      { flush: '0/9000060', slot: '0/6000010@1', here: '0/4000100', removed: ['0/4000000', '0/6000000'] },
      'WAL_REMOVED',
      false,
      /slot reserves, from 0\/6000000/,
    ],
  ]

for (const [name, given, code, retryable, about] of refusals) {
  test(`streams nothing: ${name}`, () => {
    assert.throws(
      () => resumeFrom(factsOf(given)),
      (error) => {
        assert.ok(isError(error, code), String(error))
        assert.match(error.message, about)
        assert.equal(error.retryable, retryable)
        assert.equal(error.hint === undefined, retryable, 'says what to do, unless it mends itself')
        return true
      },
    )
  })
}

test('whatever is known, streaming starts at a segment start, and never acknowledges what is not here', () => {
  const lsns = ['0/3FFFFFF', '0/4000000', '0/4000001', '0/5000000']
  for (const here of lsns) {
    for (const slot of ['missing', 'unreserved', 'unreadable', ...lsns, ...lsns.map((lsn) => `${lsn}@1`)]) {
      for (const keepBytes of [undefined, 0, megabyte, 64 * megabyte]) {
        const told = resumeFrom(
          factsOf({ flush: '0/6000000', slot, here, ...(keepBytes === undefined ? {} : { keepBytes }) }),
        )
        assert.equal(told.lsn % (16n * BigInt(megabyte)), 0n)
        assert.ok(told.lsn <= parseLsn(here), 'starts at or before W')
        // An acknowledgement before W would move the slot back to what W covers; only a slot ahead of W is worth that.
        const slotIsAhead = slotOf(slot).state === 'reserved' && parseLsn(slot.split('@')[0] ?? '') > parseLsn(here)
        assert.ok(told.acknowledgeFrom >= parseLsn(here) || (slotIsAhead && told.acknowledgeFrom === told.lsn))
      }
    }
  }
})

function foreign(about: RegExp): (error: unknown) => boolean {
  return (error) =>
    isError(error, 'SERVER_FOREIGN') && about.test(error.message) && !error.retryable && error.hint !== undefined
}

test('a server is checked against what the spool and the archive belong to', () => {
  const { server } = factsOf({ flush: '0/1', slot: 'missing' })
  const known = {
    systemIdentifier: server.systemIdentifier,
    segmentBytes: server.segmentBytes,
    from: 'the spool /var/lib/w',
  }
  checkIdentity(server, known)
  assert.throws(
    () => checkIdentity(server, { ...known, systemIdentifier: 7_000_000_000_000_000_002n }),
    foreign(/7000000000000000001, and the spool \/var\/lib\/w belongs to 7000000000000000002/),
  )
  assert.throws(
    () => checkIdentity(server, { ...known, segmentBytes: megabyte }),
    foreign(/16777216 bytes, .* 1048576/),
  )
})
