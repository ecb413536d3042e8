import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { systemClock } from '../../src/kit/clock.ts'
import { sleep } from '../../src/kit/abort.ts'
import { isError } from '../../src/kit/errors.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { type Meeting, Receiver } from '../../src/receive/receiver.ts'
import { Positions } from '../../src/spool/positions.ts'
import { emptySpool } from '../../src/spool/recover.ts'
import { Spool } from '../../src/spool/spool.ts'
import type { Place as WalPlace } from '../../src/wal/place.ts'
import { clientOf, segmentBytes, startServer, write } from '../fault/server.ts'
import { diskError, stepIn } from '../spool/disk.ts'
import { deadline, testVersions } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'

interface Said {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

interface Place {
  readonly spool: Spool
  readonly positions: Positions
  readonly receiver: Receiver
  readonly said: Said[]
  stop(): Promise<void>
}

function meeting(spool: Spool, furthest: () => WalPlace | null): Meeting {
  return { spool, sure: true, furthestFor: () => Promise.resolve({ place: furthest(), line: null, stored: null }) }
}

/** A receiver without an archive. `meet` may say something else than what the spool does. */
async function receive(
  t: test.TestContext,
  server: { readonly host: string; readonly port: number },
  meet: (spool: Spool, others: boolean) => Promise<Meeting> = (spool) =>
    Promise.resolve(meeting(spool, () => spool.end)),
): Promise<Place> {
  const positions = new Positions(systemClock)
  const folder = await tempFolder(t)
  const spool = new Spool({ folder, segmentBytes, positions }, emptySpool)
  const said: Said[] = []
  const saying =
    (level: string) =>
    (message: string, fields: Said['fields'] = {}): void =>
      void said.push({ level, message, fields })
  const receiver = new Receiver({
    target: parseTarget(`postgres://postgres@${server.host}:${server.port}/?sslmode=disable`, {}),
    slot: 'walferry',
    positions,
    statusIntervalMs: 10_000,
    endpos: null,
    loop: true,
    log: { error: saying('error'), warn: saying('warn'), info: saying('info'), debug: saying('debug') },
    accept: () => undefined,
    recordGap: () => Promise.resolve(),
    ack: 'spool',
    ackStoreTimeoutMs: 30_000,
    onGap: 'continue',
    requireSlot: false,
    meet: (_, others) => meet(spool, others),
    onReceived: () => undefined,
    onReconnect: () => undefined,
    onTimelineSwitch: () => undefined,
  })
  const stop = new AbortController()
  const ended = receiver.run(stop.signal)
  ended.catch(() => undefined)
  t.after(async () => {
    stop.abort()
    await ended.catch(() => undefined)
    await spool.close()
  })
  const stopAndWait = async (): Promise<void> => {
    stop.abort()
    await ended
  }
  return { spool, positions, receiver, said, stop: stopAndWait }
}

async function until(isReached: () => boolean): Promise<void> {
  const signal = deadline()
  while (!isReached()) await sleep(5, signal)
}

for (const version of await testVersions()) {
  describe(`a receiver of PostgreSQL ${version.major}`, () => {
    test('whose disk is full tries again with growing pauses, and tells it all the while', async (t) => {
      const cluster = await startServer(t, version)
      const sql = await clientOf(t, cluster)
      const place = await receive(t, cluster.connection)
      await until(() => place.receiver.state === 'streaming')
      const stepOut = stepIn(t, 'sync', () => Promise.reject(diskError('ENOSPC')))
      await write(sql, 10_000)
      await until(() => place.said.filter((one) => one.level === 'warn').length >= 5)
      const warnings = place.said.filter((one) => one.level === 'warn')
      assert.deepEqual(new Set(warnings.map((one) => one.fields['code'])), new Set(['SPOOL_FAILED']))
      const pauses = warnings.map((one) => Number(one.fields['retryInMs']))
      // Full jitter in the upper half: 0, then 50 to 100, 100 to 200, 200 to 400, ...
      for (const [n, pause] of pauses.slice(1).entries()) assert.ok(pause >= 50 * 2 ** n, `pauses ${pauses.join(', ')}`)
      assert.ok(isError(place.receiver.problem, 'SPOOL_FAILED'))
      stepOut()
      const end = await write(sql, 10_000)
      await until(() => place.positions.synced >= end)
      assert.equal(place.receiver.problem, null)
    })

    test('is not told that the server lost WAL by what it knew of it before it waited', async (t) => {
      const cluster = await startServer(t, version)
      const sql = await clientOf(t, cluster)
      // While the archive is waited for, another receiver fills it.
      const place = await receive(t, cluster.connection, async (spool) => {
        const lsn = await write(sql, 2_200_000)
        return meeting(spool, () => ({ timeline: 1, lsn }))
      })
      await until(() => place.receiver.state !== 'connecting')
      assert.equal(place.receiver.state, 'streaming', String(place.receiver.problem))
    })

    test('asks anew where the archive ends after another receiver had the slot, and only then', async (t) => {
      const cluster = await startServer(t, version)
      const sql = await clientOf(t, cluster)
      const first = await receive(t, cluster.connection)
      await until(() => first.receiver.state === 'streaming')
      const asked: boolean[] = []
      const second = await receive(t, cluster.connection, (spool, others) => {
        asked.push(others)
        return Promise.resolve(meeting(spool, () => spool.end))
      })
      await until(() => second.receiver.problem !== null)
      assert.ok(isError(second.receiver.problem, 'SLOT_IN_USE'))
      assert.deepEqual(asked, [])
      await first.stop()
      const end = await write(sql, 1000)
      await until(() => second.positions.synced >= end)
      assert.deepEqual(asked, [true])

      // A lost connection alone is no reason: nobody else had the slot.
      await sql.query('SELECT pg_terminate_backend(pid) FROM pg_stat_replication')
      const next = await write(sql, 1000)
      await until(() => second.positions.synced >= next)
      assert.deepEqual(asked, [true, false])
    })
  })
}
