/**
 * kill -9 of the receiver and of the server, while rows are written: afterwards the archive has every byte, and every
 * byte is the server's; and a recovery brings every row.
 */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type pg from 'pg'
import { sleep } from '../../src/kit/abort.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { plus } from '../../src/wal/lsn.ts'
import { deadline, newestVersion, testVersions } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { recoverLatest, rowsOf, startWithBase } from './copies.ts'
import { filesIn } from './receiving.ts'
import { startS3Server } from '../support/s3-server.ts'
import { tempFolder } from '../support/temp.ts'
import { type Receive, restoreCommand, startReceive } from '../support/walferry.ts'
import {
  archivedWal,
  assertArchived,
  clientOf,
  flushedUpTo,
  segmentBytes,
  startServer,
  write,
  Writer,
} from './server.ts'

const rounds = 6
const args = ['--ship-interval', '100ms', '--log-level', 'info']

/** Some two segments, in transactions of a random size; a server that goes away ends it. */
async function writeSome(client: pg.Client, bytes: () => number): Promise<void> {
  try {
    const upTo = plus(await flushedUpTo(client), 3 * segmentBytes)
    while ((await write(client, bytes())) < upTo);
  } catch {
    // It was killed.
  }
}

for (const version of await testVersions()) {
  test(`kill -9 of the receiver at any moment loses nothing, with its spool or without (PostgreSQL ${version.major})`, async (t) => {
    const random = seededRandom(t)
    const cluster = await startServer(t, version)
    const client = await clientOf(t, cluster)
    const folder = await tempFolder(t)
    const archive = await tempFolder(t)
    const store = new DirectoryStore(archive)
    const start = (): Receive =>
      startReceive(t, { server: cluster.connection, store: archive, spool: join(folder, 'spool'), args })
    let receive = start()
    await receive.waitForReady(deadline())
    const writer = new Writer(t, cluster, () => 1 + random.below(400_000))
    for (let round = 0; round < rounds; round++) {
      // It must have done something since the last kill; then at any moment.
      await receive.waitForShipped(await flushedUpTo(client), deadline())
      await sleep(random.below(400), deadline())
      await receive.kill9()
      if (round % 2 === 1) await rm(join(folder, 'spool'), { recursive: true })
      receive = start()
    }
    await receive.waitForReady(deadline())
    await writer.stop()
    const end = await flushedUpTo(client)
    await receive.waitForShipped(end, deadline())
    assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
    assert.ok((await assertArchived(cluster, store, end)) > rounds)
    // A chunk outlives its segment only where the spool was lost just between the two: a reader takes the whole one.
    const { wholes, withChunks } = await archivedWal(store)
    const leftovers = withChunks.filter((segno) => wholes.includes(segno))
    assert.ok(leftovers.length <= rounds / 2, `chunks of whole segments: ${leftovers.join(', ')}`)
    // The spool keeps the neighbour of the open segment, no more.
    assert.ok((await filesIn(join(folder, 'spool'))).length <= 2)
  })

  test(`kill -9 of the server is followed without a hand (PostgreSQL ${version.major})`, async (t) => {
    const random = seededRandom(t)
    const cluster = await startServer(t, version)
    const folder = await tempFolder(t)
    const archive = await tempFolder(t)
    const receive = startReceive(t, { server: cluster.connection, store: archive, spool: join(folder, 'spool'), args })
    await receive.waitForReady(deadline())
    const writer = new Writer(t, cluster, () => 1 + random.below(400_000))
    for (let round = 0; round < 3; round++) {
      const before = writer.commits
      await receive.waitUntil(() => Promise.resolve(writer.commits > before + 3), deadline())
      await cluster.kill(deadline())
      await receive.waitUntil(async () => !(await receive.readyz(deadline())).ready, deadline())
      await cluster.start(deadline())
      await receive.waitForReady(deadline())
    }
    await writer.stop()
    const client = await clientOf(t, cluster)
    const end = await flushedUpTo(client)
    await receive.waitForShipped(end, deadline())
    assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
    await assertArchived(cluster, new DirectoryStore(archive), end)
  })
}

for (const version of await newestVersion()) {
  test(`kill -9 with several segments that a slow store has not taken, and of the server, too, loses nothing (PostgreSQL ${version.major})`, async (t) => {
    const random = seededRandom(t)
    const { server, base } = await startWithBase(t, version)
    const s3 = await startS3Server()
    t.after(() => s3.stop())
    const spool = join(await tempFolder(t), 'spool')
    const store = ['--store', `s3://${s3.bucket}/main`, '--s3-endpoint', s3.endpoint]
    const start = (): Receive =>
      startReceive(t, {
        server: server.connection,
        store: `s3://${s3.bucket}/main`,
        spool,
        args: ['--s3-endpoint', s3.endpoint, ...args],
        env: s3.environment,
      })
    let receive = start()
    await receive.waitForReady(deadline())
    let held = 0
    const refusal = { kind: 'error', status: 503, code: 'SlowDown' } as const
    for (let round = 0; round < 3; round++) {
      // Uploads are late, fail, or are done and nobody hears of it; whatever the last round has left is among them.
      const slow = { kind: 'slow', latencyMs: 500, bytesPerSecond: 500_000 } as const
      const fault = round === 0 ? refusal : random.pick([slow, refusal, { kind: 'lostAnswer', how: 'stall' } as const])
      const injection = s3.inject(fault, ({ operation }) => operation === 'PutObject')
      const client = await clientOf(t, server)
      const killAt = plus(await flushedUpTo(client), 2 * segmentBytes + random.below(0.9 * segmentBytes))
      const writing = writeSome(client, () => 1 + random.below(segmentBytes))
      await receive.waitUntil(async () => (await receive.positions(deadline())).synced >= killAt, deadline())
      const kills = [receive.kill9()]
      if (round === 2) kills.push(server.kill(deadline()))
      await Promise.all(kills)
      await writing
      held = Math.max(held, (await filesIn(spool)).length)
      injection.remove()
      if (!server.isRunning) await server.start(deadline())
      receive = start()
    }
    t.diagnostic(`up to ${held} segments in the spool at a kill`)
    const end = await flushedUpTo(await clientOf(t, server))
    await receive.waitForShipped(end, deadline())
    assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
    // While everything is refused: two whole ones, and the open one.
    assert.ok(held >= 3, `${held} segments`)
    const rows = await rowsOf(server)
    await recoverLatest(base, restoreCommand([...store, '--retry-for', '0'], s3.environment))
    assert.equal(await rowsOf(base), rows)
  })
}
