/** The four answers, from what a receiver and an archive say. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ToldBackup, ToldListing, ToldWindow } from '../../../src/audit/told-listing.ts'
import type { ArchiveAnswer } from '../../../src/serve/archive-view.ts'
import {
  type Answer,
  hangAnswer,
  lossAnswer,
  restoreAnswer,
  silence,
  trendAnswer,
  verdict,
} from '../../../src/serve/page/answers.ts'
import { timeLine } from '../../../src/serve/page/time-line.ts'
import { trendOf } from '../../../src/serve/page/trend.ts'
import type { History, Thinned } from '../../../src/serve/samples.ts'
import type { Status } from '../../../src/serve/status.ts'
import { waitingLoss, waitingVerdict } from '../../../src/serve/page/waiting.ts'
import { waitsForSlot } from '../../../src/serve/waiting.ts'
import { emptyStatus } from '../statuses.ts'

const none = { bytes: 0, seconds: 0 }
const restorable = { time: emptyStatus.at, backup: 'b', beforeGap: false, walTime: emptyStatus.at }
const toNone = { ...restorable, time: null, backup: null }
const well: Status = {
  ...emptyStatus,
  state: 'streaming',
  reasons: [],
  lossSeconds: 0,
  restorable,
  backup: { ...emptyStatus.backup, lastSuccessAt: '2026-01-30T12:00:00.000Z' },
}
const storeAway = { code: 'STORE_UNREACHABLE', message: 'it is away', hint: 'Look there.' }
const serverAway = { code: 'PG_CONNECTION_LOST', message: 'it is away' }

function check(answer: Answer, level: Answer['level'], big: RegExp, line: RegExp): void {
  assert.match(answer.big, big)
  assert.match(answer.line, line)
  assert.equal(answer.level, level)
}

test('the verdict says what is wrong first, and does not change while that does not', () => {
  check(verdict(well), 'good', /^Ready$/, /nothing needs a hand/)
  check(verdict({ ...well, reasons: [storeAway] }), 'bad', /^Not ready$/, /^STORE_UNREACHABLE: it is away\.$/)
  check(verdict({ ...well, reasons: [storeAway, serverAway] }), 'bad', /^Not ready$/, /And 1 other problem\.$/)
  assert.deepEqual(verdict({ ...well, lossSeconds: 3, at: 'later' }), verdict(well))
})

test('a receiver that does not answer: since when, if it ever has', () => {
  check(silence(well), 'bad', /^No answer$/, /since 2026-01-31 12:00:00 UTC\. What stands below is from then/)
  check(silence(null), 'bad', /^No answer$/, /^walferry has not answered yet\. Asking again/)
})

const losses: readonly (readonly [name: string, Partial<Status>, Answer['level'], RegExp, RegExp])[] = [
  ['nothing', {}, 'good', /^0 s$/, /All WAL .* is in the store/],
  [
    'what is here',
    { lossSeconds: 0.8, lag: { receive: none, sync: { bytes: 24, seconds: 0 }, ship: { bytes: 1000, seconds: 0.8 } } },
    'good',
    /^0\.8 s$/,
    /^1 KiB of WAL are only on this machine\.$/,
  ],
  [
    'what has not come yet',
    { lossSeconds: 31, lag: { receive: { bytes: 2048, seconds: 31 }, sync: none, ship: none } },
    'warning',
    /^31 s$/,
    /^2 KiB only on the server\.$/,
  ],
  ['what nobody knows', { lossSeconds: 90, state: 'connecting' }, 'bad', /^1 min 30 s$/, /is not known/],
  ['not known', { lossSeconds: null }, 'unknown', /^Not known$/, /Nothing is known yet/],
  [
    'nothing, and no base backup',
    { restorable: toNone },
    'bad',
    /^0 s$/,
    /is in the store\. But no base backup leads to what the store has\.$/,
  ],
]
for (const [name, status, level, big, line] of losses) {
  test(`how much would be lost: ${name}`, () => check(lossAnswer({ ...well, ...status }), level, big, line))
}

function historyOf(loss: readonly (number | null)[]): History {
  const column = { min: loss, max: loss, last: loss }
  const series = { loss: column, receive: column, sync: column, ship: column, received: column, shipped: column }
  const thinned: Thinned = { startMs: 0, stepMs: 10_000, columns: loss.length, series }
  return { recent: thinned, all: thinned }
}

const flat = (count: number, value: number): number[] => Array.from({ length: count }, () => value)
const rising = Array.from({ length: 30 }, (_, nth) => nth * 10)
const trends: readonly (readonly [name: string, readonly (number | null)[], string])[] = [
  ['too few samples', flat(6, 1), 'unknown'],
  ['what is not known', Array.from({ length: 30 }, () => null), 'unknown'],
  ['always the same', flat(30, 0.5), 'steady'],
  ['some noise', [...flat(15, 0.2), ...flat(15, 3)], 'steady'],
  ['one spike at the end', [...flat(29, 0.5), 90], 'steady'],
  ['one spike at the beginning', [90, ...flat(29, 0.5)], 'steady'],
  ['growing', rising, 'growing'],
  ['growing before, and steady in the last five minutes', [...rising, ...flat(30, 300)], 'steady'],
  ['shrinking', rising.toReversed(), 'shrinking'],
  ['a little more of very much', [...flat(15, 1000), ...flat(15, 1100)], 'steady'],
]
for (const [name, loss, way] of trends) {
  test(`a trend: ${name}`, () => assert.equal(trendOf(historyOf(loss).recent.series.loss, 10_000).way, way))
}

test('whether it is getting worse: in words, with the rates, and with when the disk is full', () => {
  const rate = { receivedBytesPerSecond: 2 * 1024 ** 2, shippedBytesPerSecond: 1024 ** 2 }
  const spool = { ...well.spool, diskFreeBytes: 3600 * 1024 ** 2 }
  const status = { ...well, rate, spool }
  check(trendAnswer(status, null), 'unknown', /^Not known yet$/, /In 2 MiB\/s, out 1 MiB\/s/)
  check(trendAnswer(status, historyOf(flat(30, 0.5))), 'good', /^No, steady$/, /5 min: 0\.5 s → 0\.5 s/)
  const away = { ...status, state: 'waiting' }
  check(trendAnswer(away, historyOf(flat(30, 0.5))), 'warning', /^Not known$/, /No server is connected/)
  check(trendAnswer(status, historyOf(flat(30, 500))), 'warning', /^No, steady$/, /8 min 20 s/)
  check(trendAnswer(status, historyOf(rising)), 'bad', /^Yes, growing$/, /disk is full in 1 h\.$/)
  check(trendAnswer(status, historyOf(rising.toReversed())), 'good', /^No, catching up$/, /→/)
})

test('of a receiver that waits for the slot: that it waits, and that the figures of the other one count', () => {
  const waits = { ...well, state: 'waiting', reasons: [{ code: 'SLOT_IN_USE', message: 'taken' }], lossSeconds: 200 }
  assert.ok(waitsForSlot(waits) && !waitsForSlot({ ...waits, state: 'streaming' }) && !waitsForSlot(well))
  check(waitingVerdict(waits), 'warning', /^Waiting$/, /its figures count/)
  const denied = { ...waits, reasons: [...waits.reasons, storeAway, serverAway] }
  check(waitingVerdict(denied), 'bad', /^Waiting, not well$/, /^STORE_UNREACHABLE: it is away\. And 1 more\.$/)
  check(waitingLoss(waits), 'unknown', /^Not known here$/, /ask the one that streams\..* up to 3 min 20 s\.$/)
  check(waitingLoss({ ...waits, lossSeconds: null }), 'unknown', /^Not known here$/, /ask the one that streams\.$/)
})

const hangs: readonly (readonly [code: string, where: RegExp])[] = [
  ['STORE_DENIED', /At the store/],
  ['ARCHIVE_CONFLICT', /In the archive/],
  ['GAP_UNACKNOWLEDGED', /In the archive/],
  ['SPOOL_FAILED', /In the spool/],
  ['SLOT_IN_USE', /At the slot/],
  ['SERVER_LOST_WAL', /At the server/],
  ['WAL_REMOVED', /At the server/],
  ['NOT_STREAMING', /Not streaming yet/],
]
for (const [code, where] of hangs) {
  test(`where it hangs: ${code}`, () => {
    check(hangAnswer({ ...well, reasons: [{ code, message: 'x' }] }), 'bad', where, /1 problem/)
  })
}

test('where it hangs without a problem: at the slowest stage, once it is slow', () => {
  check(hangAnswer(well), 'good', /^Nowhere$/, /seconds/)
  const lag = { receive: { bytes: 1, seconds: 12 }, sync: none, ship: { bytes: 1, seconds: 70 } }
  check(hangAnswer({ ...well, lag }), 'bad', /^Shipping$/, /1 min 10 s on its way to the store/)
  check(hangAnswer({ ...well, lag: { ...lag, ship: none } }), 'warning', /^Receiving$/, /12 s/)
})

const day = 86_400_000
const now = Date.parse(well.at)
const daysAgo = (days: number): string => new Date(now - days * day).toISOString()

function backup(name: string, days: number, usable = true): ToldBackup {
  const lsn = { startLsn: '0/1', finishLsn: '0/2' }
  const time = { startTime: daysAgo(days), finishTime: daysAgo(days) }
  const place = { timeline: 1, stopTimeline: 1, systemIdentifier: '1', host: 'db', serverVersion: 180_001 }
  const rest = { label: null, permanent: false, standing: usable ? 'usable' : 'no wal', tablespaces: [] }
  return { name, usable, bytes: 1, storedBytes: 1, ...lsn, ...time, ...place, ...rest }
}

function window(from: number, to: number | null, gap: string | null, ...backups: string[]): ToldWindow {
  const lastCommit = to === null ? null : daysAgo(to)
  const coveredUntil = gap ?? '0/9'
  return {
    timeline: 1,
    from: { time: daysAgo(from), lsn: '0/2' },
    lastCommit,
    coveredUntil,
    beforeGap: gap !== null,
    backups,
  }
}

const empty: ToldListing = { store: '/a', backups: [], damaged: [], windows: [], gaps: [], timelines: [] }

function known(listing: Partial<ToldListing>): ArchiveAnswer {
  return { at: well.at, listing: { ...empty, ...listing }, isLooking: false, problem: null }
}

const unknown: ArchiveAnswer = { at: null, listing: null, isLooking: true, problem: null }
const noBackup = { ...well.backup, lastSuccessAt: null }
const twoBackups = known({ backups: [backup('a', 2), backup('b', 1)], windows: [window(2, 0.5, null, 'a', 'b')] })
const cut = { time: daysAgo(3), backup: 'a', beforeGap: true, walTime: well.at }
const restores: readonly (readonly [
  name: string,
  Partial<Status>,
  ArchiveAnswer | null,
  Answer['level'],
  RegExp,
  RegExp,
])[] = [
  ['not known', { restorable: null }, null, 'unknown', /^Not known$/, /being looked at/],
  ['it is being looked at', { restorable: null }, unknown, 'unknown', /^Not known$/, /being looked at/],
  ['it could not be', { restorable: null }, { ...unknown, problem: storeAway }, 'unknown', /^Not known$/, /not known/],
  [
    'no backup',
    { restorable: toNone, backup: noBackup },
    null,
    'bad',
    /^To none$/,
    /There is no base backup: .*walferry backup/,
  ],
  ['none with its WAL', { restorable: toNone }, null, 'bad', /^To none$/, /has all the WAL/],
  ['the page has not seen the archive', {}, null, 'good', /^12:00:00 UTC$/, /^Newest base backup 1 d ago\.$/],
  [
    'a window up to now',
    {},
    twoBackups,
    'good',
    /^12:00:00 UTC$/,
    /^Any moment since 2026-01-29 12:00 UTC\. Newest base backup 1 d ago\.$/,
  ],
  ['a backup that was not listed yet', {}, known({}), 'good', /^12:00:00 UTC$/, /^Newest base backup 1 d ago\.$/],
  [
    'the newest backup is old',
    { restorable: { ...restorable, backup: 'a' } },
    known({ backups: [backup('a', 9)], windows: [window(9, 0.5, null, 'a')] }),
    'warning',
    /^12:00:00 UTC$/,
    /9 d ago/,
  ],
  [
    'windows on both sides of a gap',
    {},
    known({ backups: [backup('a', 5), backup('b', 1)], windows: [window(5, 3, '0/4', 'a'), window(1, 0, null, 'b')] }),
    'good',
    /^12:00:00 UTC$/,
    /since 2026-01-30/,
  ],
  [
    'a gap, and no backup behind it',
    { restorable: cut },
    known({ backups: [backup('a', 5)], windows: [window(5, 3, '0/4', 'a')] }),
    'bad',
    /^2026-01-28 12:00:00 UTC$/,
    /^That is 3 d ago\. .* WAL is missing: take a base backup\.$/,
  ],
  [
    'a backup of a line that was left',
    { restorable: { ...cut, beforeGap: false } },
    twoBackups,
    'bad',
    /^2026-01-28 12:00:00 UTC$/,
    / No base backup leads to the WAL behind it: take a base backup\.$/,
  ],
]
for (const [name, status, archive, level, big, line] of restores) {
  test(`to which moment: ${name}`, () => check(restoreAnswer({ ...well, ...status }, archive), level, big, line))
}

test('an outage: the moment that can be restored stands still, and it says how long ago that is', () => {
  const time = new Date(now - 400_000).toISOString()
  const status = { ...well, restorable: { ...restorable, time, walTime: time } }
  check(restoreAnswer(status, twoBackups), 'good', /^11:53:20 UTC$/, /^That is 6 min 40 s ago\./)
})

test('on the line of time a window reaches to what is restorable now, and a gap to the next backup', () => {
  const { listing } = known({
    backups: [backup('a', 5), backup('b', 2, false), backup('c', 1)],
    windows: [window(1, 0.5, null, 'c'), window(5, 3, '0/4', 'a')],
    gaps: [{ timeline: 1, from: '0/4', to: '0/5' }],
  })
  const time = new Date(now - 1000).toISOString()
  const line = timeLine(listing ?? empty, { ...restorable, time, backup: 'c' }, now)
  const ago = (ms: number): number => (now - ms) / day
  assert.equal(line?.rows.length, 1)
  const [row] = line?.rows ?? []
  assert.deepEqual(
    row?.windows.map(({ fromMs, toMs }) => [ago(fromMs), ago(toMs)]),
    [
      [5, 3],
      [1, 1000 / day],
    ],
  )
  assert.deepEqual(
    row?.gaps.map(({ fromMs, toMs, text }) => [ago(fromMs), ago(toMs), text]),
    [[3, 1, 'WAL from 0/4 to 0/5 is missing']],
  )
  assert.deepEqual(
    row?.backups.map(({ name, isUsable }) => [name, isUsable]),
    [
      ['a', true],
      ['b', false],
      ['c', true],
    ],
  )
  assert.equal(line?.fromMs, now - 5 * day)
})

test('what was missing when the archive was listed, and is there by now, is no gap', () => {
  const listing = { ...empty, backups: [backup('b', 5)], windows: [window(5, 3, '0/4', 'b')] }
  const [row] = timeLine(listing, restorable, now)?.rows ?? []
  assert.deepEqual([row?.windows, row?.gaps], [[{ fromMs: now - 5 * day, toMs: now }], []])
  const [lost] = timeLine(listing, { ...cut, backup: 'b' }, now)?.rows ?? []
  assert.deepEqual([lost?.windows[0]?.toMs, lost?.gaps.length], [now - 3 * day, 1])
})

test('a gap with nothing behind it reaches to now, and a window without a commit is where its backup ended', () => {
  const windows = [window(5, null, '0/4', 'a')]
  const line = timeLine({ ...empty, backups: [backup('a', 5)], windows }, null, now)
  const [row] = line?.rows ?? []
  assert.deepEqual(row?.windows, [{ fromMs: now - 5 * day, toMs: now - 5 * day }])
  assert.deepEqual(row?.gaps, [{ fromMs: now - 5 * day, toMs: now, text: 'WAL from 0/4 to an unknown end is missing' }])
})

test('each timeline has a line of its own, and a backup lies on the one to which it leads', () => {
  const windows = [window(5, 3, null, 'a'), { ...window(5, 0, null, 'a', 'b'), timeline: 2 }]
  const line = timeLine(
    { ...empty, backups: [backup('a', 5), backup('b', 4), backup('c', 6, false)], windows },
    null,
    now,
  )
  assert.deepEqual(
    line?.rows.map(({ timeline, backups }) => [timeline, backups.map(({ name }) => name)]),
    [
      [1, ['c']],
      [2, ['a', 'b']],
    ],
  )
})

test('an empty archive has no line', () => {
  assert.equal(timeLine(empty, restorable, now), null)
})
