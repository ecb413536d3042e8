/** Promotions: the receiver follows the line that goes on, and the archive brings all of it back. */
import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type pg from 'pg'
import { Archive } from '../../src/archive/archive.ts'
import { parseChunkKey, parseWalKey } from '../../src/archive/keys.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import type { PutOptions } from '../../src/store/object-store.ts'
import { forkOf, parseHistory } from '../../src/wal/history.ts'
import { formatLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { historyName, offsetIn, segnoOf } from '../../src/wal/segment.ts'
import { sleep } from '../../src/kit/abort.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  type TestVersion,
  newestVersion,
  testVersions,
  value,
} from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { restoreCommand } from '../support/walferry.ts'
import { Receiving } from './receiving.ts'
import { assertArchived, clientOf, flushedUpTo, segmentBytes, settings, write } from './server.ts'

/** Remembers the order in which objects became durable. */
class OrderedStore extends DirectoryStore {
  readonly order: string[] = []

  override async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    await super.put(key, body, options)
    this.order.push(key)
  }
}

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

/** A standby must allow what its primary did, from the first record on: that was written with the defaults. */
const { max_wal_senders: _, ...pairSettings } = settings

async function makeScene(t: TestContext, version: TestVersion): Promise<Scene> {
  const primary = await makeCluster({ version, segmentBytes, settings: pairSettings })
  const standby = await copyCluster(primary)
  const base = await copyCluster(primary)
  for (const cluster of [primary, standby, base]) t.after(() => discardCluster(cluster))
  await primary.start(deadline())
  const client = await clientOf(t, primary)
  await client.query('CREATE TABLE t (n int, text text)')
  await standby.setRecovery('standby', { ...pairSettings, primary_conninfo: primary.conninfo })
  await standby.start(deadline())
  const folder = join(await tempFolder(t), 'archive')
  await mkdir(folder)
  return { primary, standby, base, client, folder, store: new OrderedStore(folder), spool: await tempFolder(t) }
}

async function untilReplayed(standby: pg.Client, lsn: Lsn): Promise<void> {
  const signal = deadline()
  const sql = "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')"
  while (parseLsn(await value(standby, sql)) < lsn) await sleep(5, signal)
}

/** Where timeline `n` begins, by the archive's own history file. */
async function forkOfArchived({ store }: Scene, timeline: number): Promise<Lsn> {
  const archive = new Archive(store)
  const [object] = await archive.findHistory(timeline, { signal: deadline() })
  assert.ok(object !== undefined, `${historyName(timeline)} is not in the archive`)
  const content = await archive.readSmall(object.key, 10_000, { signal: deadline() })
  const fork = forkOf(parseHistory(timeline, content))
  assert.ok(fork !== null)
  return fork.switchPoint
}

/** The history was put after the bytes of the first segment up to the fork, and before all other WAL of its timeline. */
async function assertBornInOrder(scene: Scene, timeline: number): Promise<void> {
  const fork = await forkOfArchived(scene, timeline)
  const history = scene.store.order.findIndex((key) => {
    const object = parseWalKey(key)
    return object?.kind === 'history' && object.timeline === timeline
  })
  const reaches = (key: string): { segno: number; end: number } | null => {
    const wal = parseWalKey(key)
    const chunk = parseChunkKey(key)
    const name = wal?.kind === 'segment' ? wal.segment : chunk?.segment
    if (name === undefined || Number.parseInt(name.slice(0, 8), 16) !== timeline) return null
    const segno = Number.parseInt(name.slice(8, 16), 16) * 4096 + Number.parseInt(name.slice(16), 16)
    return { segno, end: chunk?.end ?? segmentBytes }
  }
  const first = segnoOf(fork, segmentBytes)
  const before = scene.store.order
    .slice(0, history)
    .map(reaches)
    .filter((one) => one !== null)
  assert.ok(before.some((one) => one.segno === first && one.end >= offsetIn(fork, segmentBytes)))
  assert.deepEqual(
    before.filter((one) => one.segno !== first),
    [],
  )
}

/** Recovers the copy from before with the archive, to the end of its newest line. */
async function assertRecovers(scene: Scene, text: string): Promise<void> {
  const command = restoreCommand(['--store', scene.folder])
  await scene.base.setRecovery('recovery', { restore_command: command, recovery_target_timeline: 'latest' })
  await scene.base.start(deadline())
  await scene.base.waitForPromotion(deadline())
  assert.equal(await rowsOf(scene.base), text)
}

async function rowsOf(cluster: Cluster): Promise<string> {
  const client = await connect(cluster)
  try {
    return await value(
      client,
      "SELECT count(*) || ' ' || coalesce(md5(string_agg(n || text, ',' ORDER BY n, text)), '') FROM t",
    )
  } finally {
    await client.end()
  }
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

    const fork = await forkOfArchived(scene, 3)
    await assertArchived(standby, store, after, 3)
    assert.equal((await readFile(join(spool, historyName(2)))).toString(), taken)
    await forkOfArchived(scene, 2)
    await assertBornInOrder(scene, 3)
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
    const fork = await forkOfArchived(scene, 2)
    assert.equal(offsetIn(fork, segmentBytes), 0, `the fork is at ${formatLsn(fork)}`)
    await assertArchived(standby, store, after, 2)
    await assertBornInOrder(scene, 2)
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
    await assertBornInOrder(scene, 2)
    await assertRecovers(scene, await rowsOf(standby))
  })
}
