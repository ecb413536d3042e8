/** Forks that a receiver meets when it comes back: beside what it has, and several of them in one segment. */
import assert from 'node:assert/strict'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { listGaps } from '../../src/archive/gaps.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { formatLsn } from '../../src/wal/lsn.ts'
import { historyName, segmentStart, segnoOf } from '../../src/wal/segment.ts'
import { deadline, newestVersion } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { restoreCommand } from '../support/walferry.ts'
import { assertBornInOrder, forkOfArchived, OrderedStore } from './birth.ts'
import { copyOf, follow, recoverLatest, rowsOf, startWithBase, untilReplayed } from './copies.ts'
import { Receiving } from './receiving.ts'
import { assertArchived, clientOf, ownSegment, segmentBytes, write } from './server.ts'

async function makeStore(t: TestContext): Promise<OrderedStore & { readonly folder: string }> {
  const folder = join(await tempFolder(t), 'archive')
  await mkdir(folder)
  return Object.assign(new OrderedStore(folder), { folder })
}

/** `timeline start` of every stream. */
function startsOf(receiving: Receiving): string[] {
  const lines = receiving.lines.map((line) => / streaming .*timeline=(\d+) start=(\S+)/.exec(line))
  return lines.flatMap((match) => (match === null ? [] : [`${match[1]} ${match[2]}`]))
}

/** The other standby has heard that the number 2 is taken, and so is promoted to timeline 3. */
async function promoteBeside(standby: Cluster, other: Cluster): Promise<void> {
  const history = join('pg_wal', historyName(2))
  await copyFile(join(other.dataFolder, history), join(standby.dataFolder, history))
  await standby.stop('immediate', deadline())
  await standby.start(deadline())
  await standby.promote(deadline())
}

for (const version of await newestVersion()) {
  for (const leavesFirst of ['the server', 'what is here'] as const) {
    test(`the server is on a line beside what is here, and ${leavesFirst} left the common one first (PostgreSQL ${version.major})`, async (t) => {
      const { server: primary, base } = await startWithBase(t, version)
      const [ours, newer] = [await copyOf(t, base), await copyOf(t, base)]
      await follow(ours, primary)
      // Or it would follow the other one's promotion.
      await follow(newer, primary, { recovery_target_timeline: 'current' })
      const [onPrimary, onOurs] = [await clientOf(t, primary), await clientOf(t, ours)]
      const [store, spool] = [await makeStore(t), await tempFolder(t)]
      const first = new Receiving(t, { server: primary.connection, store, spool })
      const common = await write(onPrimary, 1.3 * segmentBytes)
      await first.untilShipped(common)
      await first.stop()
      const [stays, goesOn] = leavesFirst === 'the server' ? [newer, ours] : [ours, newer]
      for (const standby of [stays, goesOn]) await untilReplayed(await clientOf(t, standby), common)
      await stays.stop('immediate', deadline())
      await untilReplayed(await clientOf(t, goesOn), await write(onPrimary, 1.4 * segmentBytes))
      await primary.kill(deadline())
      if (!ours.isRunning) await ours.start(deadline())
      await ours.promote(deadline())

      // Some of timeline 2 is shipped, and some is in the spool only.
      const second = new Receiving(t, { server: ours.connection, store, spool, config: { drainTimeoutMs: 100 } })
      const client = leavesFirst === 'the server' ? onOurs : await clientOf(t, ours)
      await second.untilShipped(await write(client, 1.2 * segmentBytes))
      store.isAway = true
      const branchEnd = await write(client, 2.3 * segmentBytes)
      await second.untilSynced(branchEnd)
      await second.stop()
      await ours.kill(deadline())
      store.isAway = false

      await promoteBeside(newer, ours)
      const after = await write(await clientOf(t, newer), 1.2 * segmentBytes)
      assert.ok(after < branchEnd)
      const third = new Receiving(t, { server: newer.connection, store, spool })
      await third.until(() => startsOf(third).some((one) => one.startsWith('3 ')))
      await third.untilShipped(after)
      await third.untilReady()
      await third.stop()
      assert.equal(third.count(/left timeline 2 at .* on a branch that was left/), 1)
      const forks = { 'what is here': await forkOfArchived(store, 2), 'the server': await forkOfArchived(store, 3) }
      assert.ok(forks[leavesFirst] >= common && forks['what is here'] !== forks['the server'])
      const start = segmentStart(segnoOf(forks[leavesFirst], segmentBytes), segmentBytes)
      assert.equal(startsOf(third)[0], `${leavesFirst === 'the server' ? 3 : 1} ${formatLsn(start)}`)
      assert.deepEqual(await listGaps(store, { signal: deadline() }), [])
      await assertArchived(ours, store, branchEnd, 2)
      await assertArchived(newer, store, after, 3)
      for (const timeline of [2, 3]) await assertBornInOrder(store, timeline)
      await recoverLatest(base, restoreCommand(['--store', store.folder]))
      assert.equal(await rowsOf(base), await rowsOf(newer))
    })
  }

  test(`after three promotions in the segment that is here its newest copy is enough (PostgreSQL ${version.major})`, async (t) => {
    const { server, base } = await startWithBase(t, version)
    const client = await clientOf(t, server)
    const [store, spool] = [await makeStore(t), await tempFolder(t)]
    await client.query('SELECT pg_switch_wal()')
    const first = new Receiving(t, { server: server.connection, store, spool })
    const common = await write(client, 100_000)
    await first.untilShipped(common)
    await first.stop()
    const newest = 4
    const segno = segnoOf(common, segmentBytes)
    await write(client, 50_000)
    for (let timeline = 2; timeline <= newest; timeline++) {
      // Where WAL is archived, any other stop switches to the next segment.
      await server.stop('immediate', deadline())
      // The segment of the fork is then renamed to .partial.
      const settings = { restore_command: 'false', archive_mode: true, archive_command: 'true' }
      await server.setRecovery('recovery', settings)
      await server.start(deadline())
      await server.waitForPromotion(deadline())
      const fork = await write(await clientOf(t, server), 50_000)
      assert.equal(segnoOf(fork, segmentBytes), segno)
      assert.equal(await ownSegment(server, segno, timeline - 1), null)
    }

    const second = new Receiving(t, { server: server.connection, store, spool })
    const end = await write(await clientOf(t, server), 1.2 * segmentBytes)
    await second.until(() => startsOf(second).some((one) => one.startsWith(`${newest} `)))
    await second.untilShipped(end)
    await second.stop()
    // A server gives a timeline's last segment from the copy of the timeline that follows, and from no later one.
    const start = formatLsn(segmentStart(segno, segmentBytes))
    const tried = Array.from({ length: newest }, (_, n) => `${n + 1} ${start}`)
    assert.deepEqual(startsOf(second), tried)
    assert.equal(second.count(/WAL is lost/), 0)
    assert.deepEqual(await listGaps(store, { signal: deadline() }), [])
    await assertArchived(server, store, end, newest)
    await recoverLatest(base, restoreCommand(['--store', store.folder]))
    assert.equal(await rowsOf(base), await rowsOf(server))
  })
}
