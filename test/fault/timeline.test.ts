/** Promotions: the receiver follows the line that goes on, and the archive brings all of it back. */
import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { formatLsn } from '../../src/wal/lsn.ts'
import { historyName, offsetIn } from '../../src/wal/segment.ts'
import { deadline, newestVersion, type TestVersion, testVersions } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { restoreCommand } from '../support/walferry.ts'
import { assertBornInOrder, forkOfArchived, OrderedStore } from './birth.ts'
import { copyOf, follow, recoverLatest, rowsOf, startWithBase, untilReplayed } from './copies.ts'
import { Receiving } from './receiving.ts'
import { assertArchived, clientOf, flushedUpTo, segmentBytes, write } from './server.ts'

interface Scene {
  readonly primary: Cluster
  readonly standby: Cluster
  /** A copy from before, to recover with the archive. */
  readonly base: Cluster
  readonly client: pg.Client
  readonly folder: string
  readonly store: OrderedStore
  readonly spool: string
}

async function makeScene(t: TestContext, version: TestVersion): Promise<Scene> {
  const { server: primary, base } = await startWithBase(t, version)
  const standby = await copyOf(t, base)
  await follow(standby, primary)
  const client = await clientOf(t, primary)
  const folder = join(await tempFolder(t), 'archive')
  await mkdir(folder)
  return { primary, standby, base, client, folder, store: new OrderedStore(folder), spool: await tempFolder(t) }
}

/** Recovers the copy from before with the archive, to the end of its newest line. */
async function assertRecovers(scene: Scene, rows: string): Promise<void> {
  await recoverLatest(scene.base, restoreCommand(['--store', scene.folder]))
  assert.equal(await rowsOf(scene.base), rows)
}

for (const version of await testVersions()) {
  test(`a promotion is followed live, and a recovery takes the new timeline (PostgreSQL ${version.major})`, async (t) => {
    const scene = await makeScene(t, version)
    const { primary, standby, client, store, spool } = scene
    const onStandby = await clientOf(t, standby)
    const receiving = new Receiving(t, { server: standby.connection, store, spool })
    const before = await write(client, 2.5 * segmentBytes)
    await receiving.untilShipped(before)

    // The number 2 is taken: the new timeline is 3, and whoever recovers has to know of both. Its fork lies before what
    // the standby has replayed, or the standby would follow it.
    const taken = '1\t0/300000\tof another promotion\n'
    await writeFile(join(standby.dataFolder, 'pg_wal', historyName(2)), taken, { mode: 0o666 })
    await untilReplayed(onStandby, before)
    await standby.promote(deadline())
    const after = await write(onStandby, 1.5 * segmentBytes)
    await receiving.untilShipped(after)
    await assertArchived(primary, store, before)
    assert.equal(receiving.count(/the timeline ended; the server went on as timeline 3/), 1, receiving.lines.join(''))
    await receiving.stop()

    const fork = await forkOfArchived(store, 3)
    await assertArchived(standby, store, after, 3)
    assert.equal((await readFile(join(spool, historyName(2)))).toString(), taken)
    await forkOfArchived(store, 2)
    await assertBornInOrder(store, 3)
    assert.ok(fork >= before)
    await assertRecovers(scene, await rowsOf(standby))
  })
}

for (const version of await newestVersion()) {
  test(`a promotion exactly on a segment boundary is followed (PostgreSQL ${version.major})`, async (t) => {
    const scene = await makeScene(t, version)
    const { primary, standby, client, store, spool } = scene
    const onStandby = await clientOf(t, standby)
    const receiving = new Receiving(t, { server: standby.connection, store, spool })
    await write(client, segmentBytes)
    await client.query('SELECT pg_switch_wal()')
    const boundary = await flushedUpTo(client)
    await untilReplayed(onStandby, boundary)
    await primary.kill(deadline())
    await standby.promote(deadline())
    const after = await write(onStandby, segmentBytes)
    await receiving.untilShipped(after)
    await receiving.stop()
    const fork = await forkOfArchived(store, 2)
    assert.equal(offsetIn(fork, segmentBytes), 0, `the fork is at ${formatLsn(fork)}`)
    await assertArchived(standby, store, after, 2)
    await assertBornInOrder(store, 2)
    await assertRecovers(scene, await rowsOf(standby))
  })

  test(`what the old primary alone had is kept as a branch, and the new line is followed (PostgreSQL ${version.major})`, async (t) => {
    const scene = await makeScene(t, version)
    const { primary, standby, client, store, spool } = scene
    const first = new Receiving(t, { server: primary.connection, store, spool })
    const common = await write(client, 1.3 * segmentBytes)
    await untilReplayed(await clientOf(t, standby), common)
    await standby.stop('immediate', deadline())
    const lost = await write(client, 2.2 * segmentBytes)
    await first.untilShipped(lost)
    await first.stop()
    await assertArchived(primary, store, lost)
    await primary.kill(deadline())

    await standby.start(deadline())
    await standby.promote(deadline())
    const onStandby = await clientOf(t, standby)
    const second = new Receiving(t, { server: standby.connection, store, spool })
    const after = await write(onStandby, 0.7 * segmentBytes)
    await second.untilReady()
    await second.until(() => second.positions.received >= after && second.positions.received < lost)
    await second.untilShipped(after)
    assert.equal(second.count(/left timeline 1 at .* on a branch that was left/), 1)
    await assertArchived(standby, store, after, 2)
    await second.stop()

    // The old primary comes back: it is not streamed, and nothing is mixed up.
    await primary.start(deadline())
    const third = new Receiving(t, { server: primary.connection, store, spool })
    await third.until(() => third.reasons.includes('SERVER_TIMELINE'))
    await third.stop()
    await assertArchived(primary, store, lost)
    await assertBornInOrder(store, 2)
    await assertRecovers(scene, await rowsOf(standby))
  })
}
