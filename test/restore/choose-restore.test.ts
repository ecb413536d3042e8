/** Which backup is chosen for a target, with which settings, and what is refused: on archives that are made up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { planRestore } from '../../src/restore/choose-restore.ts'
import type { RecoveryTarget, RestorePlan, RestoreRequest } from '../../src/restore/restore-plan.ts'
import { asLsn, formatLsn } from '../../src/wal/lsn.ts'
import { dateOf, formatForSetting, formatTimestamp } from '../../src/wal/timestamp.ts'
import { MadeArchive, nameOf } from './made-archive.ts'
import { type MadeBackup, makeBackup, seconds } from './made-sentinel.ts'
import { MadeWal, segmentBytes } from './made-wal.ts'

const { signal } = new AbortController()
const usual: RestoreRequest = {
  backup: null,
  target: null,
  inclusive: true,
  timeline: 'latest',
  action: 'pause',
  standby: false,
}

async function plan(archive: MadeArchive, request: Partial<RestoreRequest> = {}): Promise<RestorePlan> {
  return await planRestore(new Archive(archive.store), { ...usual, ...request }, { signal })
}

function time(count: number): RecoveryTarget {
  return { kind: 'time', time: dateOf(seconds(count)), text: formatTimestamp(seconds(count)) }
}

function lsn(position: number): RecoveryTarget {
  return { kind: 'lsn', lsn: asLsn(position) }
}

function lsnText(position: number): string {
  return formatLsn(asLsn(position))
}

/** The settings as a server has them, without the usual timeline and action. */
function telling({ settings }: RestorePlan): Record<string, string> {
  const { recovery_target_timeline: timeline, recovery_target_action: action, ...others } = Object.fromEntries(settings)
  assert.equal(timeline, '1')
  const hasTarget = Object.keys(others).some((name) => /^recovery_target(_time|_lsn|_xid|_name)?$/.test(name))
  assert.equal(action, hasTarget ? 'pause' : undefined)
  return others
}

async function refusal(planned: Promise<RestorePlan>): Promise<WalferryError> {
  try {
    assert.fail(`planned ${JSON.stringify((await planned).settings)}`)
  } catch (error) {
    if (error instanceof WalferryError) return error
    throw error
  }
}

/** Transactions in the segments 1 to 5 of timeline 1, and where backups begin and end among them, in segments 1 and 4. */
function makeStory() {
  const wal = new MadeWal()
  const startA = wal.fillTo(segmentBytes + 100_000, 'a').end
  const a = wal.commit(9, seconds(5)).fillTo(segmentBytes + 200_000, 'a').end
  wal
    .commit(10, seconds(20))
    .fillTo(2 * segmentBytes + 500_000, 'b')
    .commit(11, seconds(30))
  const point = wal.restorePoint('here', seconds(31)).end
  const startB = wal.fillTo(4 * segmentBytes + 100_000, 'd').commit(12, seconds(40)).end
  const b = wal.fillTo(4 * segmentBytes + 300_000, 'e').end
  wal
    .commit(13, seconds(50))
    .abort(14, seconds(60))
    .fillTo(5 * segmentBytes + 400_000, 'f')
  const last = wal.restorePoint('here', seconds(61)).end
  wal.record(Buffer.alloc(100))
  return { wal, starts: { a: startA, b: startB, last }, ends: { a, point, b, all: wal.end } }
}

const { wal, starts, ends } = makeStory()
const tailBytes = ends.all - 5 * segmentBytes

/** An archive with these segments, and the tail of segment 5. */
async function archiveWith(segments: readonly number[] = [1, 2, 3, 4]): Promise<MadeArchive> {
  const archive = new MadeArchive()
  archive.identity(wal)
  for (const segno of segments) await archive.segment(wal, segno, nameOf(1, segno), 'none')
  await archive.chunk(wal, 5, 0, tailBytes)
  return archive
}

function backupA(archive: MadeArchive, more: Partial<MadeBackup> = {}): string {
  return makeBackup(archive, { from: starts.a, to: ends.a, finished: 10, ...more })
}

function backupB(archive: MadeArchive, more: Partial<MadeBackup> = {}): string {
  return makeBackup(archive, { from: starts.b, to: ends.b, finished: 45, ...more })
}

const whole = await archiveWith()
const nameA = backupA(whole)
const nameB = backupB(whole)
const toTheLast = { recovery_target_lsn: lsnText(starts.last) }

const chosen: readonly {
  readonly name: string
  readonly request: Partial<RestoreRequest>
  readonly backup: string
  readonly settings: Readonly<Record<string, string>>
}[] = [
  { name: 'no target', request: {}, backup: nameB, settings: {} },
  { name: 'no target, with a backup', request: { backup: nameA }, backup: nameA, settings: {} },
  {
    name: 'immediate',
    request: { target: { kind: 'immediate' } },
    backup: nameB,
    settings: { recovery_target: 'immediate' },
  },
  {
    name: 'a time between two commits',
    request: { target: time(25) },
    backup: nameA,
    settings: { recovery_target_time: formatForSetting(seconds(25)) },
  },
  {
    name: 'a time before an abort, behind the last commit',
    request: { target: time(55) },
    backup: nameB,
    settings: { recovery_target_time: formatForSetting(seconds(55)) },
  },
  { name: 'a time behind everything', request: { target: time(61) }, backup: nameB, settings: toTheLast },
  { name: 'the very last time', request: { target: time(60) }, backup: nameB, settings: toTheLast },
  {
    name: 'the very last time, exclusive',
    request: { target: time(60), inclusive: false },
    backup: nameB,
    settings: { recovery_target_time: formatForSetting(seconds(60)), recovery_target_inclusive: 'off' },
  },
  {
    name: 'a time behind everything, exclusive',
    request: { target: time(61), inclusive: false },
    backup: nameB,
    settings: toTheLast,
  },
  {
    name: 'a position',
    request: { target: lsn(ends.b) },
    backup: nameB,
    settings: { recovery_target_lsn: lsnText(ends.b) },
  },
  {
    name: 'a position before the end of the second backup',
    request: { target: lsn(ends.b - 1) },
    backup: nameA,
    settings: { recovery_target_lsn: lsnText(ends.b - 1) },
  },
  { name: 'the start of the last record', request: { target: lsn(starts.last) }, backup: nameB, settings: toTheLast },
  { name: 'within the last record', request: { target: lsn(starts.last + 8) }, backup: nameB, settings: toTheLast },
  { name: 'the end of the last record', request: { target: lsn(ends.all) }, backup: nameB, settings: toTheLast },
  {
    name: 'the end of the last record, exclusive',
    request: { target: lsn(ends.all), inclusive: false },
    backup: nameB,
    settings: toTheLast,
  },
  {
    name: 'a transaction behind the second backup',
    request: { target: { kind: 'xid', xid: '14' } },
    backup: nameB,
    settings: { recovery_target_xid: '14' },
  },
  {
    name: 'a transaction between the backups, exclusive',
    request: { target: { kind: 'xid', xid: '11' }, inclusive: false },
    backup: nameA,
    settings: { recovery_target_xid: '11', recovery_target_inclusive: 'off' },
  },
  {
    name: 'a transaction by its number of 64 bits',
    request: { target: { kind: 'xid', xid: String(0x1_0000_000dn) } },
    backup: nameB,
    settings: { recovery_target_xid: String(0x1_0000_000dn) },
  },
  {
    name: 'a restore point that was made twice: the later one',
    request: { target: { kind: 'name', name: 'here' }, inclusive: false },
    backup: nameB,
    settings: { recovery_target_name: 'here' },
  },
  {
    name: 'the earlier one, with a backup',
    request: { target: { kind: 'name', name: 'here' }, backup: nameA },
    backup: nameA,
    settings: { recovery_target_name: 'here' },
  },
]

for (const { name, request, backup, settings } of chosen) {
  test(`chosen: ${name}`, async () => {
    const planned = await plan(whole, request)
    assert.equal(planned.backup.name, backup)
    assert.deepEqual(telling(planned), settings)
  })
}

const refused: readonly {
  readonly name: string
  readonly request: Partial<RestoreRequest>
  readonly says: RegExp
}[] = [
  {
    name: 'a time before the first backup ended',
    request: { target: time(9) },
    says: /before the end of the first backup/,
  },
  {
    name: 'a time to come',
    request: { target: { kind: 'time', time: new Date(), text: '2999-01-01T00:00:00Z' } },
    says: /no WAL was stored after/,
  },
  { name: 'a position before the first backup ended', request: { target: lsn(ends.a - 1) }, says: /before the end of/ },
  { name: 'a position behind the WAL', request: { target: lsn(ends.all + 1) }, says: /behind what the archive holds/ },
  {
    name: 'a time before the backup that was named',
    request: { target: time(25), backup: nameB },
    says: new RegExp(`before the end of ${nameB}`),
  },
  {
    name: 'a transaction within the first backup',
    request: { target: { kind: 'xid', xid: '9' } },
    says: /transaction 9 is not in the WAL/,
  },
  {
    name: 'a restore point of that name',
    request: { target: { kind: 'name', name: 'there' } },
    says: /"there" is not in the WAL/,
  },
]

for (const { name, request, says } of refused) {
  test(`refused: ${name}`, async () => {
    const { code, message, hint } = await refusal(plan(whole, request))
    assert.equal(code, 'TARGET_UNREACHABLE')
    assert.match(message, says)
    // The nearest moments that can be restored: from, to, and the last commit.
    for (const part of [dateOf(seconds(10)).toISOString(), lsnText(ends.all), formatTimestamp(seconds(50))]) {
      assert.ok(hint?.includes(part), hint)
    }
  })
}

test('a backup whose clock was slow is not taken for a time that it already has behind it', async () => {
  const archive = await archiveWith()
  const a = backupA(archive)
  backupB(archive, { finished: 22 })
  assert.equal((await plan(archive, { target: time(35) })).backup.name, a)
})

test('before a hole: the backup leads up to it, and the server does not read ahead', async () => {
  const archive = await archiveWith([1, 2, 4])
  const a = backupA(archive)
  const off = { recovery_prefetch: 'off' }
  const end = 3 * segmentBytes
  const planned = await plan(archive, { target: time(25) })
  assert.equal(planned.backup.name, a)
  assert.deepEqual(telling(planned), { recovery_target_time: formatForSetting(seconds(25)), ...off })
  assert.ok(
    planned.notes.some((note) => note.includes(`from ${lsnText(end)} on, up to ${lsnText(end + segmentBytes)}`)),
  )
  // The last commit before the hole can be had, although no later one stops the server.
  const last = telling(await plan(archive, { target: time(30) }))
  assert.deepEqual(Object.keys(last), ['recovery_target_lsn', 'recovery_prefetch'])
  assert.deepEqual(telling(await plan(archive, { target: lsn(end) })), last)
  assert.deepEqual(telling(await plan(archive, { target: { kind: 'immediate' } })), {
    recovery_target: 'immediate',
    ...off,
  })
  for (const [request, says] of [
    [{}, /the end of timeline 1 cannot be reached/],
    [{ target: time(33) }, /before WAL is missing, from 0\/300000 on/],
    [{ target: lsn(end + 1) }, /up to 0\/300000, where WAL is missing/],
    [{ target: lsn(ends.all) }, /up to 0\/300000, where WAL is missing/],
  ] as const) {
    const { code, message } = await refusal(plan(archive, request))
    assert.equal(code, 'TARGET_UNREACHABLE')
    assert.match(message, says)
  }
})

test('servers before 15 do not read ahead, and know no setting for it', async () => {
  const archive = await archiveWith([1, 2, 4])
  backupA(archive, { serverVersion: 140_012 })
  assert.deepEqual(telling(await plan(archive, { target: { kind: 'immediate' } })), { recovery_target: 'immediate' })
})

test('behind a hole, a backup leads to the end; between, what is nearest on both sides is told', async () => {
  const archive = await archiveWith([1, 2, 4])
  backupA(archive)
  const b = backupB(archive)
  const planned = await plan(archive)
  assert.equal(planned.backup.name, b)
  assert.deepEqual(telling(planned), {})
  const { hint } = await refusal(plan(archive, { target: time(42) }))
  for (const near of [formatTimestamp(seconds(30)), dateOf(seconds(45)).toISOString()])
    assert.ok(hint?.includes(near), hint)
})

test('a backup of which WAL is missing, and a delta, are passed over, and told', async () => {
  const archive = await archiveWith([1, 2, 3])
  const a = backupA(archive)
  const b = backupB(archive)
  const delta = makeBackup(archive, { from: 2 * segmentBytes + 100, to: ends.point, finished: 33, deltaFrom: a })
  const planned = await plan(archive, { target: { kind: 'immediate' } })
  assert.equal(planned.backup.name, a)
  assert.ok(
    planned.notes.some((note) => note.startsWith(`${b} was passed over: not all WAL`)),
    planned.notes.join(),
  )
  assert.ok(
    planned.notes.some((note) => note.startsWith(`${delta} was passed over: it holds only`)),
    planned.notes.join(),
  )
  const named = await refusal(plan(archive, { backup: delta }))
  assert.equal(named.code, 'BACKUP_MISSING')
  assert.match(named.message, /restore it with wal-g backup-fetch/)
  assert.match((await refusal(plan(archive, { backup: b }))).message, /not all WAL from its start/)
})

test('a damaged backup stops a restore that would choose, and not one of another backup that is named', async () => {
  const archive = await archiveWith()
  const a = backupA(archive)
  const b = backupB(archive)
  archive.store.set(`basebackups_005/${b}_backup_stop_sentinel.json`, Buffer.from('{"LSN":'))
  for (const request of [{}, { backup: b }]) {
    const refused = await refusal(plan(archive, request))
    assert.equal(refused.code, 'ARCHIVE_DAMAGED')
    assert.ok(refused.message.includes(b) && refused.hint?.includes(a), `${refused.message} ${refused.hint}`)
  }
  assert.equal((await plan(archive, { backup: a })).backup.name, a)
})

test('a backup on a branch that was left leads nowhere on the new line', async () => {
  const archive = await archiveWith()
  const a = backupA(archive)
  const b = backupB(archive)
  const child = wal.fork(2)
  // The first segment of timeline 2 begins with the parent's pages.
  await archive.segment(child, 3, nameOf(2, 3))
  await archive.history(2, `1\t0/${(3 * segmentBytes + 8192).toString(16)}\treason\n`)
  const planned = await plan(archive)
  assert.equal(planned.backup.name, a)
  assert.deepEqual(planned.settings, [['recovery_target_timeline', '2']])
  assert.ok(
    planned.notes.some((note) => note.startsWith(`${b} was passed over: it ended at`)),
    planned.notes.join(),
  )
  const stayed = await plan(archive, { timeline: 1 })
  assert.equal(stayed.backup.name, b)
  assert.deepEqual(stayed.settings, [['recovery_target_timeline', '1']])
  assert.deepEqual((await plan(archive, { standby: true })).settings, [['recovery_target_timeline', 'latest']])
  assert.equal((await refusal(plan(archive, { timeline: 7 }))).hint, 'Timelines with WAL: 1, 2.')
})

test('of two timelines that both go on, one has to be named', async () => {
  const archive = await archiveWith()
  const tail = await archive.chunk(wal, 5, 0, tailBytes)
  backupA(archive)
  await archive.history(2, `1\t0/${(3 * segmentBytes + 8192).toString(16)}\treason\n`)
  await archive.segment(wal.fork(2), 3, nameOf(2, 3))
  const late = new Date(Date.now() + 60_000)
  archive.store.setModified(tail, late)
  const { code, message } = await refusal(plan(archive))
  assert.equal(code, 'TIMELINE_AMBIGUOUS')
  assert.match(message, /timeline 1 up to .*\n {4}timeline 2, from 0\/302000/)
  assert.deepEqual((await plan(archive, { timeline: 2 })).settings, [['recovery_target_timeline', '2']])
})

test('no backup, no such backup, no archive', async () => {
  const archive = await archiveWith()
  assert.equal((await refusal(plan(archive))).code, 'BACKUP_MISSING')
  assert.equal((await refusal(plan(whole, { backup: 'base_00000001000000000000000F' }))).code, 'BACKUP_MISSING')
  assert.equal((await refusal(plan(new MadeArchive()))).code, 'ARCHIVE_FOREIGN')
})
