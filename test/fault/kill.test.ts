/**
 * kill -9 of the receiver and of the server, while rows are written: afterwards the archive has every byte, and every
 * byte is the server's.
 */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { sleep } from '../../src/kit/abort.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { deadline, testVersions } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { filesIn } from './receiving.ts'
import { tempFolder } from '../support/temp.ts'
import { type Receive, startReceive } from '../support/walferry.ts'
import { archivedWal, assertArchived, clientOf, flushedUpTo, startServer, Writer } from './server.ts'

const rounds = 6
const args = ['--ship-interval', '100ms', '--log-level', 'info']

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
