/** From start to end: waiting for a store, halting, draining, and what is left in the process afterwards. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseChunkKey, segmentKey } from '../../src/archive/keys.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { parseLsn, plus } from '../../src/wal/lsn.ts'
import { segmentName, segmentStart, segnoOf } from '../../src/wal/segment.ts'
import { filesIn, Receiving } from '../fault/receiving.ts'
import {
  archivedWal,
  assertArchived,
  clientOf,
  flushedUpTo,
  segmentBytes,
  startServer,
  write,
} from '../fault/server.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { connect, deadline, newestVersion, testVersions } from '../support/postgres.ts'
import { stalled, TcpProxy } from '../support/tcp-proxy.ts'
import { tempFolder } from '../support/temp.ts'

function failing(code: 'STORE_DENIED' | 'STORE_UNREACHABLE'): never {
  throw new WalferryError(code, 'injected', { retryable: code === 'STORE_UNREACHABLE', hint: 'Look at the store.' })
}

/** What Node.js waits for, by kind, but for what the test runner itself has open. */
function resources(): string[] {
  return process
    .getActiveResourcesInfo()
    .filter((name) => name !== 'Immediate')
    .toSorted()
}

/** Nothing is left of what was opened since; looked at until it is so, because the other side closes sockets, too. */
async function assertNothingLeft(before: readonly string[]): Promise<void> {
  const endMs = performance.now() + 30_000
  while (performance.now() < endMs && String(resources()) !== String(before)) await new Promise(setImmediate)
  assert.deepEqual(resources(), before)
}

for (const version of await newestVersion()) {
  describe(`a receiver's life (PostgreSQL ${version.major})`, () => {
    test('waits for a store that refuses, at its first start, too', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const store = new FaultyStore()
      store.before = () => failing('STORE_DENIED')
      const spool = await tempFolder(t)
      const receiving = new Receiving(t, { server: cluster.connection, store, spool })
      await receiving.until(() => receiving.reasons.includes('STORE_DENIED'))
      // With an empty spool nothing is known: where to begin, and whose archive it is.
      assert.deepEqual(await filesIn(spool), [])
      assert.equal(receiving.count(/ERROR the store does not answer/), 1)
      store.before = () => undefined
      await receiving.untilReady()
      const end = await write(client, 100_000)
      await receiving.untilShipped(end)
      await assertArchived(cluster, store, end)
      await receiving.stop()
    })

    test('looks again where the archive has changed while its tail was brought back', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const store = new FaultyStore()
      const first = new Receiving(t, { server: cluster.connection, store, spool: await tempFolder(t) })
      await first.untilReady()
      const tailEnd = await write(client, 200_000)
      await first.untilShipped(tailEnd)
      await first.stop()
      const segno = segnoOf(tailEnd, segmentBytes)
      const name = segmentName({ timeline: 1, segno }, segmentBytes)
      // Another receiver makes the segment whole just then.
      const whole = await write(client, 2_000_000).then(async () => {
        const other = new FaultyStore()
        const receiving = new Receiving(t, { server: cluster.connection, store: other, spool: await tempFolder(t) })
        await receiving.untilShipped(segmentStart(segno + 1, segmentBytes))
        await receiving.until(() => other.keys.includes(segmentKey(name, 'lz4')))
        await receiving.stop()
        return other.peek(segmentKey(name, 'lz4'))
      })
      store.before = (operation, key) => {
        if (operation !== 'get' || parseChunkKey(key) === null) return
        store.before = () => undefined
        store.set(segmentKey(name, 'lz4'), whole)
        for (const chunk of store.keys.filter((one) => parseChunkKey(one) !== null)) store.delete(chunk)
      }
      const second = new Receiving(t, { server: cluster.connection, store, spool: await tempFolder(t) })
      await second.untilReady()
      const end = await write(client, 1000)
      await second.untilShipped(end)
      // Chunks of whole segments may go after everything is shipped.
      await second.stop()
      await assertArchived(cluster, store, end)
      assert.deepEqual((await archivedWal(store)).withChunks, [segnoOf(end, segmentBytes)])
    })

    test('ships what is synced also after something has halted it', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const at = { server: cluster.connection, store: new FaultyStore(), spool: await tempFolder(t) }
      const config = { shipIntervalMs: 3_600_000 }
      const receiving = new Receiving(t, { ...at, config: { ...config, loop: false } })
      await receiving.untilReady()
      const end = await write(client, 1_300_000)
      await receiving.untilSynced(end)
      const sql = await connect(cluster)
      await sql.query('SELECT pg_terminate_backend(pid) FROM pg_stat_replication')
      await sql.end()
      await assert.rejects(receiving.ended, { code: 'PG_CONNECTION_LOST' })
      assert.ok(receiving.positions.shipped >= end)
      await assertArchived(cluster, at.store, end)
    })

    test('has done what it was asked for at its end position, also where the server does not say goodbye', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const proxy = await TcpProxy.open(t, cluster.connection)
      const endpos = plus(await flushedUpTo(client), 100_000)
      const server = { ...cluster.connection, port: proxy.port }
      const at = { server, store: new FaultyStore(), spool: await tempFolder(t) }
      const receiving = new Receiving(t, { ...at, config: { endpos, loop: false } })
      await receiving.untilReady()
      proxy.towardsServer = stalled
      await write(client, 200_000)
      await receiving.ended
      assert.equal(receiving.positions.shipped, endpos)
    })

    test('leaves nothing open in its process, however it ends', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const config = { listen: { host: '127.0.0.1', port: 0, tls: null }, uploadConcurrency: 16 }
      const server = cluster.connection
      const warnings: string[] = []
      const onWarning = (warning: Error): void => void warnings.push(String(warning))
      process.on('warning', onWarning)
      t.after(() => process.off('warning', onWarning))
      await write(client, 1000)
      const before = resources()

      const asked = { server, store: new FaultyStore(), spool: await tempFolder(t), config }
      const receiving = new Receiving(t, asked)
      await receiving.untilReady()
      await receiving.untilShipped(await write(client, 20_000_000))
      const url = /listening url=(\S+)/.exec(receiving.lines.join(''))?.[1] ?? ''
      assert.equal((await fetch(`${url}/readyz`)).status, 200)
      await receiving.stop()
      await assertNothingLeft(before)

      // At its end position.
      const endpos = await flushedUpTo(client)
      const ending = new Receiving(t, { ...asked, config: { ...config, endpos } })
      await write(client, 1000)
      await ending.ended
      await assertNothingLeft(before)

      // Refused: other WAL lies in the archive. What was waited for until then must not go on waiting.
      const name = segmentName({ timeline: 1, segno: segnoOf(endpos, segmentBytes) + 1 }, segmentBytes)
      asked.store.set(segmentKey(name, 'none'), Buffer.alloc(segmentBytes))
      const refused = new Receiving(t, asked)
      await write(client, 2_000_000)
      await refused.until(() => refused.reasons.includes('ARCHIVE_CONFLICT'))
      refused.askToStop()
      await assert.rejects(refused.ended, { code: 'ARCHIVE_CONFLICT' })
      await assertNothingLeft(before)

      // While it waits for a store, with nothing in its spool.
      const store = new FaultyStore()
      store.before = () => failing('STORE_UNREACHABLE')
      const patient = { ...config, drainTimeoutMs: 3_600_000 }
      const waiting = new Receiving(t, { ...asked, store, spool: await tempFolder(t), config: patient })
      await waiting.until(() => waiting.reasons.includes('STORE_UNREACHABLE'))
      await waiting.stop()
      await assertNothingLeft(before)

      // While there is no server.
      await client.end()
      await cluster.stop('fast', deadline())
      const alone = new Receiving(t, { ...asked, store: new FaultyStore(), spool: await tempFolder(t) })
      await alone.until(() => alone.reasons.includes('PG_CONNECTION_LOST'))
      await alone.stop()
      assert.deepEqual(warnings, [])
    })
  })
}

const [version] = (await testVersions()).toReversed()
if (version !== undefined) {
  test('what cannot be shipped does not keep a stop waiting', async (t) => {
    const cluster = await startServer(t, version)
    const client = await clientOf(t, cluster)
    const at = { server: cluster.connection, spool: await tempFolder(t), config: { drainTimeoutMs: 3_600_000 } }
    const first = new Receiving(t, { ...at, store: new FaultyStore() })
    await first.untilReady()
    await first.untilShipped(await write(client, 1000))
    await first.stop()
    await client.end()
    await cluster.stop('fast', deadline())
    // The first segment of all: its first record began before, so without a server nothing proves it.
    const second = new Receiving(t, { ...at, store: new FaultyStore() })
    await second.until(() => second.reasons.includes('PG_CONNECTION_LOST'))
    await second.stop()
    assert.equal(second.count(/everything is shipped/), 1)
  })

  test('with WAL in its spool it receives without a store, and is ready once that is back', async (t) => {
    const cluster = await startServer(t, version)
    const client = await clientOf(t, cluster)
    const store = new FaultyStore()
    const at = { server: cluster.connection, store, spool: await tempFolder(t) }
    const first = new Receiving(t, at)
    await first.untilReady()
    await first.untilShipped(await write(client, 2_500_000))
    await first.stop()
    store.before = () => failing('STORE_UNREACHABLE')
    const second = new Receiving(t, at)
    await second.until(() => second.reasons.includes('STORE_UNREACHABLE'))
    const end = await write(client, 1_000_000)
    await second.untilSynced(end)
    await second.until(() => second.reasons.includes('STORE_UNREACHABLE'))
    store.before = () => undefined
    await second.untilShipped(end)
    await second.untilReady()
    await assertArchived(cluster, store, end)
    // It went on from its spool: nothing was streamed twice but the open segment.
    const start = parseLsn(/streaming .*start=(\S+)/.exec(second.lines.join(''))?.[1] ?? '')
    assert.ok(start > segmentStart(segnoOf(end, segmentBytes) - 3, segmentBytes))
    await second.stop()
  })
}
