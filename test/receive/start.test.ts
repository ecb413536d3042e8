import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, isError } from '../../src/kit/errors.ts'
import type { SlotState } from '../../src/pg/replication-client.ts'
import { checkIdentity, resumeFrom, type StartFacts } from '../../src/receive/start.ts'
import { formatLsn, parseLsn } from '../../src/wal/lsn.ts'

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
  }
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
    if (warning === null) assert.equal(told.warning, null)
    else assert.match(told.warning ?? '', warning)
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
      'the server is on a later timeline than W',
      { flush: '0/5000060', timeline: 2, slot: '0/4000000@2', here: '0/4000100' },
      'SERVER_TIMELINE',
      false,
      /timeline 2, .* ends on 1/,
    ],
    [
      'the server is on an earlier timeline than W',
      { flush: '0/9000060', slot: '0/4000000@1', here: '0/4000100@2' },
      'SERVER_TIMELINE',
      false,
      /timeline 1, .* ends on 2/,
    ],
    [
      'nothing is here, and the slot is on another timeline',
      { flush: '0/5000060', timeline: 2, slot: '0/4000000@1' },
      'SERVER_TIMELINE',
      false,
      /timeline 1, .* on 2/,
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
