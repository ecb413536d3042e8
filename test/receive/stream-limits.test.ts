/** One stream whose server falls silent, whose disk hangs, or that is stopped at an awkward moment. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { systemClock } from '../../src/kit/clock.ts'
import { orAbort, sleep } from '../../src/kit/abort.ts'
import { isError } from '../../src/kit/errors.ts'
import type { Log } from '../../src/kit/log.ts'
import { ReplicationClient, type StreamEnd } from '../../src/pg/replication-client.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { Ack } from '../../src/receive/ack.ts'
import { streamInto, type StreamOptions } from '../../src/receive/stream.ts'
import { Positions } from '../../src/spool/positions.ts'
import { recoverSpool } from '../../src/spool/recover.ts'
import { Spool } from '../../src/spool/spool.ts'
import { formatLsn, type Lsn, plus } from '../../src/wal/lsn.ts'
import { segmentStart, segnoOf } from '../../src/wal/segment.ts'
import { clientOf, flushedUpTo, segmentBytes, startServer, write } from '../fault/server.ts'
import { stepIn } from '../spool/disk.ts'
import { deferred } from '../support/deferred.ts'
import { deadline, testVersions } from '../support/postgres.ts'
import { stalled, TcpProxy } from '../support/tcp-proxy.ts'
import { tempFolder } from '../support/temp.ts'
import { keepalivesOn } from './messages.ts'

interface Streaming {
  readonly positions: Positions
  readonly spool: Spool
  readonly ended: Promise<StreamEnd>
  readonly stop: AbortController
  readonly folder: string
}

/** Streams from the segment that the server is in, without a slot of its own. */
const silent: Log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} }

async function stream(
  t: test.TestContext,
  cluster: Cluster,
  place: { readonly host: string; readonly port: number },
  options: Partial<StreamOptions> = {},
): Promise<Streaming> {
  const sql = await clientOf(t, cluster)
  await sql.query("SELECT pg_create_physical_replication_slot('walferry', true)")
  const target = parseTarget(`postgres://postgres@${place.host}:${place.port}/?sslmode=disable`, {})
  const client = await ReplicationClient.connect(target, deadline())
  const server = await client.identify(deadline())
  const folder = await tempFolder(t)
  const positions = new Positions(systemClock)
  const spool = new Spool({ folder, segmentBytes, positions }, await recoverSpool(folder))
  const lsn = segmentStart(segnoOf(server.flushedUpTo, segmentBytes), segmentBytes)
  positions.startAt(lsn, lsn)
  const stop = new AbortController()
  const streaming = deferred()
  const ended = streamInto(
    {
      client,
      slot: 'walferry',
      start: { timeline: 1, lsn, acknowledgeFrom: lsn, fork: null, gap: null, warning: null },
      spool,
      positions,
      ack: new Ack({ ack: 'spool', timeoutMs: 30_000, positions, clock: systemClock, log: silent }),
      statusIntervalMs: 10_000,
      silenceMs: 60_000,
      endpos: null,
      onReceived: () => undefined,
      onStreaming: streaming.resolve,
      ...options,
    },
    stop.signal,
  )
  ended.catch(() => undefined)
  t.after(async () => {
    stop.abort()
    await ended.catch(() => undefined)
    await client.close()
    await spool.close()
  })
  await streaming.promise
  return { positions, spool, ended, stop, folder }
}

async function untilSynced({ positions }: Streaming, lsn: Lsn): Promise<void> {
  const signal = deadline()
  for (let seen = positions.bell.count; positions.synced < lsn; seen = positions.bell.count) {
    await positions.bell.after(seen, signal)
  }
}

for (const version of await testVersions()) {
  describe(`a stream of PostgreSQL ${version.major}`, () => {
    test('ends when the server says nothing more, not even when it is asked', async (t) => {
      const cluster = await startServer(t, version)
      const proxy = await TcpProxy.open(t, cluster.connection)
      const streaming = await stream(t, cluster, proxy, { silenceMs: 2000, statusIntervalMs: 50 })
      const sql = await clientOf(t, cluster)
      await untilSynced(streaming, await write(sql, 50_000))
      proxy.towardsClient = stalled
      await assert.rejects(streaming.ended, (error) => {
        assert.ok(isError(error, 'PG_CONNECTION_LOST'), String(error))
        assert.match(error.message, /silent/)
        assert.equal(error.retryable, true)
        return true
      })
      // Long before that, it is known that nothing is known.
      assert.ok((streaming.positions.owedMs() ?? 0) >= 1000)
      assert.ok((streaming.positions.lastWordAgeMs() ?? 0) >= (streaming.positions.owedMs() ?? 0))
    })

    test('goes on for as long as an idle server answers', async (t) => {
      const cluster = await startServer(t, version)
      const proxy = await TcpProxy.open(t, cluster.connection)
      const streaming = await stream(t, cluster, proxy, { silenceMs: 1200, statusIntervalMs: 400 })
      // Asked at each interval: the last of these comes after more than that time.
      const signal = deadline()
      while (proxy.lines.every((line) => keepalivesOn(line) < 4)) await sleep(10, signal)
      const sql = await clientOf(t, cluster)
      await untilSynced(streaming, await write(sql, 1000))
    })

    test('is made durable and told to the server before it is stopped', async (t) => {
      const cluster = await startServer(t, version)
      const sql = await clientOf(t, cluster)
      const streaming = await stream(t, cluster, cluster.connection)
      await write(sql, 1_500_000)
      streaming.stop.abort()
      assert.deepEqual(await streaming.ended, { kind: 'stopped' })
      assert.equal(streaming.positions.synced, streaming.positions.received)
      const { synced } = streaming.positions
      const slot = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = 'walferry'"
      const { rows } = await sql.query<{ restart_lsn: string }>(slot)
      assert.equal(rows[0]?.restart_lsn, formatLsn(synced))
    })

    test('ends at once where its end position is reached already, though the server is idle', async (t) => {
      const cluster = await startServer(t, version)
      const sql = await clientOf(t, cluster)
      // A switch leaves nothing to stream from the next segment.
      await sql.query('SELECT pg_switch_wal()')
      const endpos = await flushedUpTo(sql)
      const streaming = await stream(t, cluster, cluster.connection, { endpos })
      assert.deepEqual(await orAbort(streaming.ended, deadline()), { kind: 'stopped' })
    })

    test('ends by itself at its end position', async (t) => {
      const cluster = await startServer(t, version)
      const sql = await clientOf(t, cluster)
      const endpos = plus(await flushedUpTo(sql), 2_000_000)
      const streaming = await stream(t, cluster, cluster.connection, { endpos })
      await write(sql, 1_000_000)
      await write(sql, 3_000_000)
      assert.deepEqual(await streaming.ended, { kind: 'stopped' })
      assert.equal(streaming.positions.synced, endpos)
    })
  })
}

// One version is enough: it is about our own disk, and takes as long as a stream may be paused.
const [version] = (await testVersions()).toReversed()
if (version !== undefined) {
  test('a stream whose disk hangs is left, so that the server can be stopped, and goes on later', async (t) => {
    const cluster = await startServer(t, version)
    const sql = await clientOf(t, cluster)
    const streaming = await stream(t, cluster, cluster.connection)
    // A sync that is under way would end later.
    await untilSynced(streaming, await flushedUpTo(sql))
    const disk = deferred()
    const stepOut = stepIn(t, 'sync', async (_, real) => {
      await disk.promise
      await real()
    })
    const synced = streaming.positions.synced
    await write(sql, 24_000_000)
    await assert.rejects(streaming.ended, (error) => {
      assert.ok(isError(error, 'SPOOL_FAILED'), String(error))
      assert.equal(error.retryable, true)
      return true
    })
    // Memory is bounded: fragments in memory, and files that are not synced.
    assert.ok(streaming.positions.received - synced < 18n * 1024n * 1024n)
    assert.equal(streaming.positions.synced, synced)
    await cluster.stop('fast', deadline())
    disk.resolve()
    stepOut()
    await streaming.spool.settle()
    assert.ok(streaming.positions.synced > synced)
  })
}
