/** What the server is told, as the server sees it, and what it does with it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { type Lsn, parseLsn, plus } from '../../src/wal/lsn.ts'
import { segmentStart } from '../../src/wal/segment.ts'
import { Receiving } from '../fault/receiving.ts'
import { clientOf, flushedUpTo, segmentBytes, startServer, write } from '../fault/server.ts'
import { stepIn } from '../spool/disk.ts'
import { deferred } from '../support/deferred.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { connect, deadline, rows, testVersions } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { tempFolder } from '../support/temp.ts'
import { type Status, statusesOn } from './messages.ts'

interface Seen {
  readonly sent: Lsn | null
  readonly write: Lsn | null
  readonly flush: Lsn | null
  readonly replay: Lsn | null
}

async function seenBy(client: pg.Client): Promise<Seen> {
  const sql =
    "SELECT sent_lsn, write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication WHERE application_name = 'walferry'"
  const [row = []] = await rows(client, sql)
  const [sent, written, flush, replay] = row.map((text) => (text === null ? null : parseLsn(text)))
  return { sent: sent ?? null, write: written ?? null, flush: flush ?? null, replay: replay ?? null }
}

/** How long a commit takes, in ms, with these settings. */
async function commitMs(client: pg.Client): Promise<number> {
  const startedMs = performance.now()
  await client.query('INSERT INTO t VALUES (1)')
  return performance.now() - startedMs
}

async function synchronous(cluster: Cluster, client: pg.Client): Promise<void> {
  await client.query("ALTER SYSTEM SET synchronous_standby_names = 'walferry'")
  await client.query('SELECT pg_reload_conf()')
  const isSync = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
  const other = await connect(cluster)
  const signal = deadline()
  while ((await rows(other, isSync))[0]?.[0] !== '1') signal.throwIfAborted()
  await other.end()
}

const away = (): never => {
  throw new WalferryError('STORE_UNREACHABLE', 'injected', { retryable: true })
}

for (const version of await testVersions()) {
  describe(`what is told to PostgreSQL ${version.major}`, () => {
    test('is written at once, flushed once it is synced, and applied never', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const proxy = await TcpProxy.open(t, cluster.connection)
      const receiving = new Receiving(t, { server: proxy, store: new MemoryStore(), spool: await tempFolder(t) })
      await receiving.untilReady()
      await receiving.untilSynced(await write(client, 300_000))

      const disk = deferred()
      const stepOut = stepIn(t, 'sync', async (_, real) => {
        await disk.promise
        await real()
      })
      const before = receiving.positions.synced
      const end = await write(client, 50_000)
      await receiving.until(async () => ((await seenBy(client)).write ?? 0n) >= end)
      const held = await seenBy(client)
      assert.ok(held.flush !== null && held.flush <= receiving.positions.synced && held.flush < end)
      assert.equal(held.replay, null)
      assert.ok(receiving.positions.synced >= before && receiving.positions.synced < end)
      disk.resolve()
      stepOut()
      await receiving.until(async () => ((await seenBy(client)).flush ?? 0n) >= end)
      await receiving.stop()

      const statuses = proxy.lines.flatMap(statusesOn)
      assert.ok(statuses.length > 4)
      let flushed = 0n
      for (const status of statuses) {
        assert.equal(status.applied, 0n)
        assert.ok(status.flushed <= status.written, `${status.flushed} ${status.written}`)
        assert.ok(status.flushed >= flushed, 'the flushed position went back within one stream')
        flushed = status.flushed
      }
      assert.equal(flushed, receiving.positions.synced)
    })

    test('is not written before it is, also not where the same bytes were written before', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const spool = await tempFolder(t)
      const first = new Receiving(t, { server: cluster.connection, store: new MemoryStore(), spool })
      await first.untilReady()
      await first.untilShipped(await write(client, 300_000))
      await first.stop()

      const disk = deferred()
      const held: Lsn[] = []
      const stepOut = stepIn(t, 'write', async (file, real) => {
        // What came before in a small piece is written.
        held.push(plus(segmentStart(file.segment.segno, segmentBytes), file.written))
        await disk.promise
        await real()
      })
      const proxy = await TcpProxy.open(t, cluster.connection)
      // A new archive, from which nothing has to be brought back.
      const at = { server: proxy, store: new MemoryStore(), spool }
      const second = new Receiving(t, { ...at, config: { statusIntervalMs: 20 } })
      await second.untilReady()
      // The first report of all says where the stream begins.
      const statuses = (): Status[] => proxy.lines.flatMap(statusesOn)
      const isLate = ({ written }: Status): boolean => written >= (held[0] ?? Infinity)
      await second.until(() => statuses().filter(isLate).length >= 10)
      assert.deepEqual(
        new Set(
          statuses()
            .filter(isLate)
            .map(({ written }) => written),
        ),
        new Set(held),
      )
      disk.resolve()
      stepOut()
      await second.untilShipped(await write(client, 1000))
      await second.stop()
    })

    test('makes a synchronous commit wait for its fsync, and for nothing else', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const store = new MemoryStore()
      const receiving = new Receiving(t, { server: cluster.connection, store, spool: await tempFolder(t) })
      await receiving.untilReady()
      await receiving.untilShipped(await write(client, 1000))
      // From here on nothing is shipped.
      store.before = away
      await synchronous(cluster, client)
      const times: number[] = []
      for (let n = 0; n < 30; n++) times.push(await commitMs(client))
      // Nothing here would be over sooner for whoever waits for a timer or for the store.
      const median = times.toSorted((a, b) => a - b)[15] ?? Infinity
      t.diagnostic(`median of a synchronous commit: ${median.toFixed(1)} ms`)
      assert.ok(median < 500, `${median} ms`)

      const disk = deferred()
      const stepOut = stepIn(t, 'sync', async (_, real) => {
        await disk.promise
        await real()
      })
      await client.query('SET synchronous_commit = remote_write')
      await client.query('INSERT INTO t VALUES (1)')
      const waiting = await connect(cluster)
      let committed = false
      const commit = waiting.query('INSERT INTO t VALUES (2)').then(() => {
        committed = true
      })
      const end = await flushedUpTo(client)
      await receiving.until(async () => ((await seenBy(client)).write ?? 0n) >= end)
      assert.equal(committed, false)
      disk.resolve()
      stepOut()
      await commit
      await waiting.end()
      store.before = () => undefined
      await receiving.stop()
    })

    for (const storeIs of ['there', 'away'] as const) {
      test(`does not hold up a fast shutdown while the store is ${storeIs}`, async (t) => {
        const cluster = await startServer(t, version)
        const client = await clientOf(t, cluster)
        const store = new MemoryStore()
        const receiving = new Receiving(t, { server: cluster.connection, store, spool: await tempFolder(t) })
        await receiving.untilReady()
        await receiving.untilShipped(await write(client, 10_000))
        if (storeIs === 'away') store.before = away
        await receiving.untilSynced(await write(client, 2_200_000))
        const startedMs = performance.now()
        await cluster.stop('fast', deadline())
        const tookMs = performance.now() - startedMs
        // Where it is held up, it takes as long as wal_sender_timeout.
        assert.ok(tookMs < 30_000, `${tookMs} ms`)
        // Also the last record, that of the shutdown, has been received.
        await receiving.until(() => receiving.reasons.includes('PG_CONNECTION_LOST'))
        store.before = () => undefined
        await cluster.start(deadline())
        await receiving.untilReady()
        const again = await clientOf(t, cluster)
        await receiving.untilShipped(await flushedUpTo(again))
        await receiving.stop()
      })
    }

    test('is often enough for a server that is impatient', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      await client.query("ALTER SYSTEM SET wal_sender_timeout = '3s'")
      await client.query('SELECT pg_reload_conf()')
      const proxy = await TcpProxy.open(t, cluster.connection)
      const receiving = new Receiving(t, { server: proxy, store: new MemoryStore(), spool: await tempFolder(t) })
      await receiving.untilReady()
      const startedMs = performance.now()
      await receiving.until(() => proxy.lines.flatMap(statusesOn).length >= 5)
      // One for each third of its patience, where our own interval is 10 s.
      assert.ok(performance.now() - startedMs < 30_000)
      assert.equal(receiving.count(/streaming /), 1, receiving.lines.join(''))
      await receiving.stop()
    })
  })
}
