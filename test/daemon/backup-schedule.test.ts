import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { test } from 'node:test'
import { listBackups } from '../../src/archive/backups.ts'
import { BackupRecord, type Taken } from '../../src/daemon/backup-record.ts'
import { parseSchedule, runSchedule, type ScheduledOptions } from '../../src/daemon/backup-schedule.ts'
import { systemClock } from '../../src/kit/clock.ts'
import { isError, WalferryError } from '../../src/kit/errors.ts'
import { type Metrics, noMetrics } from '../../src/metrics/catalogue.ts'
import { lsnZero } from '../../src/wal/lsn.ts'
import { take } from '../backup/taking.ts'
import { Receiving } from '../fault/receiving.ts'
import { clientOf, startServer, write } from '../fault/server.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline, newestVersion } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'

const place = { timeline: 1, stopTimeline: null, startLsn: lsnZero, finishLsn: lsnZero, deltaFrom: null }
const taken: Taken = { name: 'base_000000010000000000000002', ...place, seconds: 3, plainBytes: 100, storedBytes: 50 }

/** Runs until `after` backups have been begun. Due every 5 ms. */
async function runUntil(
  after: number,
  one: (n: number, signal: AbortSignal) => Promise<Taken>,
): Promise<{ readonly lines: string[]; readonly metrics: Map<string, number> }> {
  const lines: string[] = []
  const values = new Map<string, number>()
  const set = (name: string, value: number, labels?: Readonly<Record<string, string>>): void =>
    void values.set(labels === undefined ? name : `${name} ${labels['kind']}`, value)
  const add = (name: string, value: number): void => void values.set(name, (values.get(name) ?? 0) + value)
  const metrics: Metrics = { ...noMetrics, set, add }
  const said = (level: string) => (message: string) => void lines.push(`${level} ${message}`)
  const log = { error: said('ERROR'), warn: said('WARN'), info: () => undefined, debug: () => undefined }
  const end = new AbortController()
  let begun = 0
  const options: ScheduledOptions = {
    schedule: (from) => new Date(from.getTime() + 5),
    take: async (signal) => {
      begun++
      if (begun === after) end.abort(new Error('enough'))
      return await one(begun, signal)
    },
    clock: systemClock,
    log,
    record: new BackupRecord({ newest: async () => null, shipped: () => 0, clock: systemClock, log, metrics }),
  }
  await runSchedule(options, end.signal)
  return { lines, metrics: values }
}

test('backups are taken one after the other, and what the last one was like is told', async () => {
  let running = 0
  const { lines, metrics } = await runUntil(4, async () => {
    running++
    assert.equal(running, 1, 'two at once')
    for (let turn = 0; turn < 20; turn++) await setImmediate()
    running--
    return taken
  })
  assert.deepEqual(lines, [])
  assert.equal(metrics.get('walferry_backup_duration_seconds'), 3)
  assert.equal(metrics.get('walferry_backup_size_bytes stored'), 50)
  assert.equal(metrics.get('walferry_backup_running'), 0)
  assert.ok((metrics.get('walferry_backup_success_time_seconds') ?? 0) > 1_700_000_000)
})

test('a backup that fails is an ERROR and goes on record, and the next one is taken', async () => {
  const { lines, metrics } = await runUntil(3, async (n) => {
    await setImmediate()
    if (n < 3) throw new WalferryError('BACKUP_WITHOUT_WAL', 'no WAL')
    return taken
  })
  assert.deepEqual(
    lines,
    Array.from({ length: 2 }, () => 'ERROR the base backup failed: no WAL'),
  )
  assert.equal(metrics.get('walferry_backup_failures_total'), 2)
  assert.ok((metrics.get('walferry_backup_failure_time_seconds') ?? 0) > 1_700_000_000)
})

test('one that is given up because the process stops is no failure', async () => {
  const { lines, metrics } = await runUntil(1, async (_, signal) => {
    await setImmediate()
    signal.throwIfAborted()
    return taken
  })
  assert.deepEqual(lines, [])
  assert.equal(metrics.get('walferry_backup_failures_total'), undefined)
})

test('a schedule is a crontab’s five fields', () => {
  const nightly = parseSchedule('0 3 * * *')
  const at = nightly(new Date(2026, 10, 21, 3, 0, 0))
  assert.deepEqual(at, new Date(2026, 10, 22, 3, 0, 0), 'the one after, not the same again')
  for (const text of ['', '0 3 * *', '0 3 * * * *', '61 3 * * *', 'nightly', '@daily x x x x']) {
    assert.throws(
      () => parseSchedule(text),
      (error) => isError(error, 'BAD_INPUT') && /crontab/.test(error.hint ?? ''),
    )
  }
})

for (const version of await newestVersion()) {
  test(`the daemon takes its backup while it ships, and gives one up that a stop meets (PostgreSQL ${version.major})`, async (t) => {
    const server = await startServer(t, version)
    const client = await clientOf(t, server)
    const store = new MemoryStore()
    let begun = 0
    const backups = {
      text: 'each moment',
      schedule: (from: Date) => new Date(from.getTime() + 50),
      take: (signal: AbortSignal) => {
        begun++
        // The second one would take minutes.
        const change = { withWal: false, maxRate: begun === 1 ? null : 32 }
        return take(server, { store, signal, change })
      },
    }
    const receiving = new Receiving(t, { server: server.connection, store, spool: await tempFolder(t), backups })
    await receiving.untilReady()
    await write(client, 100_000)
    await receiving.until(() => begun === 2)
    await receiving.untilShipped(await write(client, 100_000))
    await receiving.until(() => store.keys.filter((key) => key.endsWith('claim.json')).length === 2)
    await receiving.stop()
    assert.equal((await listBackups(store, { signal: deadline() })).backups.length, 1)
    assert.equal(store.keys.filter((key) => key.endsWith('claim.json')).length, 1)
    assert.equal(receiving.count(/base backup was given up/), 1)
  })
}
