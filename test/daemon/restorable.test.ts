/** To which moment can be restored: what base backup, gaps, shipped WAL and recovery windows come to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NewestBackup } from '../../src/archive/backups.ts'
import type { Restorable as NewestWindow } from '../../src/audit/archive-status.ts'
import {
  growsOn,
  needsWindows,
  reachedBy,
  type Restorable,
  type RestorableFacts,
  restorableOf,
  type SeenHole,
  type SeenWindows,
} from '../../src/daemon/restorable.ts'
import { formatSentinel, parseSentinel } from '../../src/archive/sentinel.ts'
import { asLsn, highestLsn, type Lsn, lsnZero } from '../../src/wal/lsn.ts'
import { timestampOf } from '../../src/wal/timestamp.ts'

const name = 'base_000000010000000000000003'
const wal = Date.UTC(2026, 0, 31, 12)
const commit = Date.UTC(2026, 0, 31, 11)

const mib = 0x10_0000

/** Segments of 1 MiB, by their numbers. */
function at(segment: number): Lsn {
  return asLsn(BigInt(segment * mib))
}

const place = { timeline: 1, stopTimeline: null, startLsn: at(3.5), finishLsn: at(4.5), deltaFrom: null }

function backup(change: Partial<NonNullable<NewestBackup['place']>> = {}): NewestBackup {
  return { name, completed: new Date(commit), place: { ...place, ...change } }
}

function hole(from: number, to: number | null, reached: number): SeenHole {
  return { timeline: 1, from: at(from), to: to === null ? null : at(to), reached: at(reached) }
}

function gap(from: number, to: number, timeline = 1): { timeline: number; from: Lsn; to: Lsn } {
  return { timeline, from: at(from), to: at(to) }
}

const sentinel = parseSentinel(
  'a key',
  Buffer.from(
    formatSentinel({
      startLsn: at(1.5),
      finishLsn: at(2.5),
      stopTimeline: null,
      serverVersion: 180_001,
      systemIdentifier: 1n,
      plainBytes: 1,
      storedBytes: 1,
      startTime: null,
      finishTime: null,
      host: 'db',
      dataFolder: '/data',
      isPermanent: false,
      label: null,
      tablespaces: [],
      deltaFrom: null,
    }),
  ),
)

/** The newest window, that of an older backup. */
function windowTo(end: number, reached: number, change: Partial<NewestWindow> = {}): SeenWindows {
  const older = { ...sentinel, name: 'base_000000010000000000000001', segment: '', timeline: 1, modified: new Date(0) }
  const time = timestampOf(new Date(commit))
  const newest = { timeline: 1, time, isCommit: true, end: at(end), beforeGap: false, backup: older, ...change }
  return { newest, reached: at(reached), isAmbiguous: false }
}

const well: RestorableFacts = {
  newest: backup(),
  gaps: [],
  holes: [],
  shipped: { timeline: 1, lsn: at(9.5) },
  walMs: wal,
  windows: null,
}

const all: Restorable = { timeMs: wal, backup: name, beforeGap: false }
const none: Restorable = { timeMs: null, backup: null, beforeGap: false }
const older = 'base_000000010000000000000001'
const grown: Restorable = { timeMs: wal, backup: older, beforeGap: false }
const cut: Restorable = { timeMs: commit, backup: older, beforeGap: true }
const left: Restorable = { timeMs: commit, backup: older, beforeGap: false }

/** Without a look at the windows. */
const direct: readonly (readonly [string, Partial<RestorableFacts>, Restorable | null | 'windows'])[] = [
  ['the newest backup leads to all that is shipped', {}, all],
  ['which one is the newest is not known', { newest: null }, null],
  ['which gaps were noted is not known', { gaps: null }, null],
  ['there is no backup', { newest: 'none' }, none],
  ['there is no backup, and gaps are not known', { newest: 'none', gaps: null }, none],
  ['the backup cannot be read, or has not its first segment', { newest: { ...backup(), place: null } }, 'windows'],
  ['the backup needs another one', { newest: backup({ deltaFrom: 'base' }) }, 'windows'],
  ['the end of the backup is not shipped', { newest: backup({ finishLsn: at(9.75) }) }, 'windows'],
  ['the backup began on another timeline', { shipped: { timeline: 2, lsn: at(9.5) } }, 'windows'],
  ['the backup ended on another timeline', { newest: backup({ stopTimeline: 2 }) }, 'windows'],
  ['the backup says that it ended on this one', { newest: backup({ stopTimeline: 1 }) }, all],
  ['no server was met', { shipped: null }, 'windows'],
  ['no server has said what time it is', { walMs: null }, 'windows'],
  ['a gap behind the start of the backup', { gaps: [gap(6, 8)] }, 'windows'],
  ['a gap in which the backup began', { gaps: [gap(2, 4)] }, 'windows'],
  ['a gap before the backup', { gaps: [gap(1, 3)] }, all],
  ['a gap of another timeline', { gaps: [gap(6, 8, 2)] }, all],
  ['a hole behind the start of the backup', { holes: [hole(6, 8, 9)] }, 'windows'],
  ['a hole up to an unknown end', { holes: [hole(6, null, 9)] }, 'windows'],
  ['a hole before the backup', { holes: [hole(1, 3, 9)] }, all],
  ['a hole ahead of all that was shipped then: it was on its way', { holes: [hole(6, 8, 6)] }, all],
  [
    'a hole, seen before anything was shipped',
    { holes: [{ ...hole(6, 8, 0), reached: reachedBy(lsnZero, mib) }] },
    'windows',
  ],
]
for (const [what, facts, expected] of direct) {
  test(`restorable to: ${what}`, () => {
    const known = { ...well, ...facts }
    assert.equal(needsWindows(known), expected === 'windows')
    assert.deepEqual(restorableOf(known), expected === 'windows' ? null : expected)
  })
}

/** With one, where the newest backup does not lead on. */
const lost = { ...well, newest: { ...backup(), place: null } }
const looked: readonly (readonly [string, Partial<RestorableFacts>, Restorable | null])[] = [
  ['no backup has its WAL', { windows: { ...windowTo(9.5, 9), newest: null } }, none],
  ['an older backup leads to all that is shipped', { windows: windowTo(9.5, 9) }, grown],
  ['more is shipped since the look', { windows: windowTo(6.5, 6) }, grown],
  ['the window ends before what is shipped', { windows: windowTo(8, 9) }, left],
  ['the window ends at a gap', { windows: windowTo(6, 9, { beforeGap: true }), holes: [hole(6, 8, 9)] }, cut],
  ['what was missing was on its way', { windows: windowTo(6, 6, { beforeGap: true }), holes: [hole(6, 8, 6)] }, grown],
  ['a gap was noted since', { windows: windowTo(6.5, 6), gaps: [gap(6.5, 8)] }, cut],
  [
    'a gap was noted of the timeline that it comes from',
    { windows: windowTo(6.5, 6, { timeline: 2 }), shipped: { timeline: 2, lsn: at(9.5) }, gaps: [gap(7, 8)] },
    cut,
  ],
  ['a gap was noted of a timeline that does not count yet', { windows: windowTo(6.5, 6), gaps: [gap(7, 8, 2)] }, grown],
  [
    'nothing was shipped when it was looked',
    { windows: { ...windowTo(9, 0), reached: reachedBy(lsnZero, mib) } },
    left,
  ],
  ['a gap was noted, and somebody has stored its WAL', { windows: windowTo(9.5, 9), gaps: [gap(6, 8)] }, grown],
  ['the window is that of a later timeline', { windows: windowTo(9.5, 9, { timeline: 2 }) }, left],
  [
    'no WAL of the timeline was stored yet',
    { windows: windowTo(9.5, 9), shipped: { timeline: 2, lsn: at(9.5) } },
    null,
  ],
  [
    'several timelines may be the newest',
    { windows: { ...windowTo(9.5, 9), isAmbiguous: true }, shipped: { timeline: 2, lsn: at(9.5) } },
    left,
  ],
  ['no server was met', { windows: windowTo(9.5, 9), shipped: null, walMs: null }, left],
  ['no server has said what time it is', { windows: windowTo(9.5, 9), walMs: null }, left],
]
for (const [what, facts, expected] of looked) {
  test(`restorable to, by the windows: ${what}`, () => {
    assert.deepEqual(restorableOf({ ...lost, ...facts }), expected)
  })
}

/** Where it does, more WAL is no reason to look again. */
const growing: readonly (readonly [string, Partial<RestorableFacts>, boolean])[] = [
  ['the newest backup leads to all that is shipped', {}, true],
  ['the same, while the time is not known that the stored WAL reaches', { walMs: null }, true],
  ['an older backup does', { newest: lost.newest, windows: windowTo(9, 9) }, true],
  ['the same, while the time is not known', { newest: lost.newest, windows: windowTo(9, 9), walMs: null }, true],
  ['the window ends before what is shipped', { newest: lost.newest, windows: windowTo(8, 9) }, false],
  ['a gap was noted behind the window', { newest: lost.newest, windows: windowTo(9, 9), gaps: [gap(9, 10)] }, false],
  [
    'nothing was shipped when it was looked',
    { newest: lost.newest, windows: { ...windowTo(9, 0), reached: highestLsn } },
    false,
  ],
  ['no backup has its WAL', { newest: lost.newest, windows: { ...windowTo(9, 9), newest: null } }, false],
  ['nobody has looked', { newest: lost.newest }, false],
]
for (const [what, facts, expected] of growing) {
  test(`what can be restored grows with what is shipped, or not: ${what}`, () => {
    assert.equal(growsOn({ ...well, ...facts }), expected)
  })
}

test('what counts as reached is the segment that WAL is shipped into; everything, while nothing is shipped', () => {
  assert.equal(reachedBy(at(9.5), mib), at(9))
  assert.equal(reachedBy(at(9.5), null), at(9.5))
  assert.equal(reachedBy(lsnZero, mib), highestLsn)
})
