import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'
import type { NewestBackup } from '../../src/archive/backups.ts'
import { BackupRecord, type ListedBackups } from '../../src/daemon/backup-record.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { noMetrics } from '../../src/metrics/catalogue.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { deferred } from '../support/deferred.ts'
import { FakeClock } from '../support/fake-clock.ts'

const hourMs = 3_600_000
const place = {
  timeline: 1,
  stopTimeline: null,
  startLsn: parseLsn('0/2000028'),
  finishLsn: parseLsn('0/2000100'),
  deltaFrom: null,
}
const taken = { name: 'base_000000010000000000000002', ...place, seconds: 3, plainBytes: 100, storedBytes: 50 }
const yesterday = new Date('2026-01-30T03:00:00Z')
const found: NewestBackup = { name: 'base_000000010000000000000001', completed: yesterday, place }

const older: NewestBackup = { ...found, name: 'older', completed: new Date(yesterday.getTime() - 1) }

function listing(newest: NewestBackup | null, ...damaged: string[]): ListedBackups {
  return { newest, names: new Set([...(newest === null ? [] : [newest.name]), ...damaged]) }
}

/** A record beside an archive that says what the test wants. Its time passes when the test says so. */
class Watching {
  looks = 0
  /** With what it was looked last. */
  known: NewestBackup | null = null
  shipped = 1n
  readonly said: string[] = []
  readonly told = new Map<string, number>()
  readonly record: BackupRecord
  readonly #t: TestContext

  constructor(t: TestContext, newest: (look: number) => Promise<NewestBackup | null>) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const say = (message: string): void => void this.said.push(message)
    this.record = new BackupRecord({
      newest: (known) => {
        this.known = known
        return newest(++this.looks)
      },
      shipped: () => this.shipped,
      clock: new FakeClock(),
      log: { error: say, warn: say, info: say, debug: () => undefined },
      metrics: { ...noMetrics, set: (name, value) => void this.told.set(name, value) },
    })
    const end = new AbortController()
    const running = this.record.run(end.signal)
    t.after(async () => {
      end.abort(new Error('the test is over'))
      await running
    })
  }

  async pass(ms: number): Promise<void> {
    await setImmediate()
    this.#t.mock.timers.tick(ms)
    await setImmediate()
  }
}

test('the newest backup of before is known at the start, whoever took it', async (t) => {
  const watching = new Watching(t, async () => found)
  assert.equal(watching.record.lastSuccess, null, 'the archive has not answered yet')
  await watching.pass(0)
  assert.equal(watching.record.lastSuccess, yesterday)
  assert.equal(watching.told.get('walferry_backup_success_time_seconds'), yesterday.getTime() / 1000)
})

test('an archive without a backup is not one that is not known', async (t) => {
  const watching = new Watching(t, async () => null)
  await watching.pass(0)
  assert.equal(watching.record.lastSuccess, 'none')
})

test('it is looked again after an hour if WAL was shipped meanwhile, and costs an idle archive nothing', async (t) => {
  const watching = new Watching(t, async (look) => (look === 1 ? null : found))
  for (let hour = 0; hour < 24; hour++) await watching.pass(hourMs)
  assert.equal(watching.looks, 1)
  watching.shipped++
  await watching.pass(hourMs)
  assert.equal(watching.looks, 2)
  assert.equal(watching.record.lastSuccess, yesterday, 'another process has taken one')
  await watching.pass(hourMs)
  assert.equal(watching.looks, 2)
})

test('the first one is waited for: while there is none it is looked each minute, if WAL was shipped', async (t) => {
  const watching = new Watching(t, async (look) => (look < 3 ? null : found))
  await watching.pass(60_000)
  assert.equal(watching.looks, 1, 'nothing was shipped')
  for (let minute = 0; minute < 2; minute++) {
    watching.shipped++
    await watching.pass(60_000)
  }
  assert.deepEqual([watching.looks, watching.record.newest], [3, found])
})

test('one that is newer than what is known counts, whoever has listed it', async (t) => {
  const watching = new Watching(t, async () => null)
  await watching.pass(0)
  watching.record.listed(listing(found), 'none')
  watching.record.listed(listing(older, found.name), found)
  assert.deepEqual(watching.record.newest, found)
})

test('one that was deleted does not count any more once somebody has listed all', async (t) => {
  const watching = new Watching(t, async () => found)
  await watching.pass(0)
  watching.record.listed(listing(null), null)
  assert.equal(watching.record.newest, found, 'it was not known yet when the listing began')
  watching.record.listed(listing(null, found.name), found)
  assert.equal(watching.record.newest, found, 'it is there, and cannot be read')
  watching.record.listed(listing(older), found)
  assert.equal(watching.record.newest, older)
  watching.record.listed(listing(null), older)
  assert.equal(watching.record.newest, 'none')
})

test('what is known is not asked again; where it lies in the WAL is, once another receiver ships', async (t) => {
  const watching = new Watching(t, async () => found)
  await watching.pass(0)
  assert.equal(watching.known, null)
  watching.shipped++
  await watching.pass(hourMs)
  assert.equal(watching.known, found)
  watching.record.othersShip()
  assert.deepEqual(watching.record.newest, { ...found, place: null })
  watching.shipped++
  await watching.pass(hourMs)
  assert.deepEqual([watching.looks, watching.known, watching.record.newest], [3, { ...found, place: null }, found])
})

test('a store that is away is asked again after a minute, and told of once', async (t) => {
  const watching = new Watching(t, async (look) => {
    if (look < 4) throw new WalferryError('STORE_UNREACHABLE', 'away', { retryable: true })
    return found
  })
  for (let minute = 0; minute < 3; minute++) {
    assert.equal(watching.record.lastSuccess, null)
    await watching.pass(60_000)
  }
  assert.equal(watching.record.lastSuccess, yesterday)
  assert.deepEqual(watching.said, ['the newest base backup is not known: away'])
})

test('a backup of our own counts at once, also against a look that began before it', async (t) => {
  const looking = deferred<NewestBackup | null>()
  const watching = new Watching(t, () => looking.promise)
  await watching.pass(0)
  watching.record.begun()
  assert.equal(watching.record.isRunning, true)
  watching.record.succeeded(taken)
  watching.record.ended()
  looking.resolve(found)
  await watching.pass(0)
  assert.deepEqual(watching.record.lastSuccess, new Date(new FakeClock().nowMs()))
  assert.deepEqual(watching.record.newest, { name: taken.name, completed: watching.record.lastSuccess, place: taken })
  assert.equal(watching.record.isRunning, false)
})
