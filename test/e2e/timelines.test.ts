/** Recoveries over a promotion: the old primary has gone on by itself, and the promoted server has written on its own timeline. */
import assert from 'node:assert/strict'
import { copyFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { sleep } from '../../src/kit/abort.ts'
import { switchPointOf } from '../../src/wal/history.ts'
import { type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { offsetIn, segmentName, segnoOf } from '../../src/wal/segment.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  type TestVersion,
  newestVersion,
  value,
} from '../support/postgres.ts'
import { restoreCommand } from '../support/walferry.ts'
import { AssembledArchive } from './assembled-archive.ts'
import { allRows, copyOf, flushedUpTo, historyOf, insert, recover, type Rows, rowsOf, stops } from './scenario.ts'

interface Forked {
  /** As it was before all. Not started; to be copied. */
  readonly base: Cluster
  /** Killed on timeline 1, behind the fork. */
  readonly old: Cluster
  /** Killed on timeline 2. */
  readonly promoted: Cluster
  /** What the promoted server had. */
  readonly rows: Rows
  readonly fork: Lsn
  /** The two copies of the segment that holds the fork. */
  readonly parent: string
  readonly first: string
}

async function forked(version: TestVersion): Promise<Forked> {
  const settings = { autovacuum: false, checkpoint_timeout: '1h', wal_keep_size: '64MB' }
  const old = await makeCluster({ version, segmentBytes: megabyte, settings })
  await old.start(deadline())
  const creator = await connect(old)
  await creator.query('CREATE TABLE t (id int PRIMARY KEY, text text)')
  await creator.end()
  await old.stop('fast', deadline())
  const base = await copyCluster(old)
  const promoted = await copyCluster(old)
  await old.start(deadline())
  await promoted.setRecovery('standby', { primary_conninfo: old.conninfo })
  await promoted.start(deadline())

  const client = await connect(old)
  for (const id of [1, 1001, 2001]) {
    await insert(client, id, id + 500, 'shared')
    if (id !== 2001) await client.query('SELECT pg_switch_wal()')
  }
  const shared = await flushedUpTo(client)
  const standby = await connect(promoted)
  while (parseLsn(await value(standby, 'SELECT pg_last_wal_replay_lsn()')) < shared) {
    await standby.query('SELECT pg_sleep(0.01)')
  }
  await promoted.promote(deadline())
  for (const [writer, mark] of [
    [client, 'lost'],
    [standby, 'kept'],
  ] as const) {
    await insert(writer, 3001, 3300, mark)
    await writer.query('SELECT pg_switch_wal()')
    await insert(writer, 4001, 4300, mark)
  }
  const rows = await allRows(standby)
  await Promise.all([client.end(), standby.end()])
  await Promise.all([old.kill(deadline()), promoted.kill(deadline())])
  const fork = switchPointOf(await historyOf(promoted, 2), 1)
  assert.ok(fork !== null)
  const segno = segnoOf(fork, megabyte)
  assert.ok(offsetIn(fork, megabyte) > 50_000, 'the fork lies within a segment')
  const nameOn = (timeline: number): string => segmentName({ timeline, segno }, megabyte)
  return { base, old, promoted, rows, fork, parent: nameOn(1), first: nameOn(2) }
}

function command(archive: AssembledArchive, ...options: string[]): string {
  return restoreCommand(['--store', archive.folder, '--retry-for', '0', ...options])
}

for (const version of await newestVersion()) {
  describe(`after a promotion (PostgreSQL ${version.major})`, () => {
    let scene: Forked
    before(async () => {
      scene = await forked(version)
    })
    after(async () => {
      for (const cluster of [scene.base, scene.old, scene.promoted]) await discardCluster(cluster)
    })

    test('a recovery stops before the lost branch where the new timeline has no WAL yet, and follows it later', async (t) => {
      const archive = await AssembledArchive.make(t, scene.base, megabyte)
      await archive.add(scene.old, 1)
      await archive.history(scene.promoted, 2)
      const copy = await copyOf(t, scene.base)
      const said = new RegExp(`error: the archive lacks ${scene.first}, .* timeline 1 behind the fork`)
      await stops(copy, command(archive), 200, said)
      await archive.add(scene.promoted, 2)
      await recover(copy, command(archive))
      assert.deepEqual(await rowsOf(copy), scene.rows)
      const { ancestors } = await historyOf(copy, 3)
      assert.deepEqual(
        ancestors.map(({ timeline }) => timeline),
        [1, 2],
      )
    })

    if (version.major !== 18) return

    test('a tail of the new timeline that ends before the fork is filled up', async (t) => {
      const archive = await AssembledArchive.make(t, scene.base, megabyte)
      await archive.add(scene.old, 1)
      await archive.history(scene.promoted, 2)
      await archive.tail(scene.promoted, scene.first, 20_000)
      const copy = await copyOf(t, scene.base)
      await recover(copy, command(archive))
      assert.deepEqual(
        await rowsOf(copy),
        scene.rows.filter(([, text]) => text?.startsWith('shared')),
      )
    })

    test('a standby waits for the first WAL of the new timeline, and stays up', async (t) => {
      const archive = await AssembledArchive.make(t, scene.base, megabyte)
      await archive.add(scene.old, 1)
      await archive.history(scene.promoted, 2)
      const copy = await copyOf(t, scene.base)
      await copy.setRecovery('standby', { restore_command: command(archive) })
      await copy.start(deadline())
      await copy.waitForLog(/error: .*\[ARCHIVE_LOST_BRANCH\]\nhint: .*\nwalferry fetch: .*: waiting/, deadline())
      await archive.add(scene.promoted, 2)
      const client = await connect(copy)
      t.after(() => client.end())
      const count = `SELECT (count(*) = ${scene.rows.length})::text FROM t`
      while ((await value(client, count)) !== 'true') await client.query('SELECT pg_sleep(0.02)')
      assert.deepEqual(await allRows(client), scene.rows)
    })

    test('a standby that an outage hid the new timeline from does not replay the lost branch', async (t) => {
      const archive = await AssembledArchive.make(t, scene.base, megabyte)
      await archive.add(scene.old, 1)
      await archive.history(scene.promoted, 2)
      await archive.add(scene.promoted, 2)
      const copy = await copyOf(t, scene.base)
      // The store is away for one question: the first for the segment that holds the fork.
      const away = join(archive.folder, 'not-mounted')
      const once = join(copy.dataFolder, 'asked-once')
      const first = `if [ %f = ${scene.first} ] && [ ! -e ${once} ]; then touch ${once}; `
      const outage = restoreCommand(['--store', away, '--retry-for', '0'])
      await copy.setRecovery('standby', { restore_command: `${first}${outage}; else ${command(archive)}; fi` })
      await copy.start(deadline())
      const client = await connect(copy)
      t.after(() => client.end())
      const signal = deadline()
      while ((await value(client, 'SELECT (count(*) FILTER (WHERE id > 3000) >= 600)::text FROM t')) !== 'true') {
        await sleep(20, signal)
      }
      assert.deepEqual(await allRows(client), scene.rows)
      assert.match(await copy.log.read(), /until the server has been answered for/)
    })

    test('a hole before the fork stops the server; it may be the end, or lie in pg_wal', async (t) => {
      const archive = await AssembledArchive.make(t, scene.base, megabyte)
      const names = await archive.add(scene.old, 1)
      await archive.history(scene.promoted, 2)
      await archive.add(scene.promoted, 2)
      const hole = names[names.indexOf(scene.parent) - 1] ?? ''
      await archive.remove(hole)
      const copy = await copyOf(t, scene.base)
      await stops(copy, command(archive), 200, new RegExp(`error: the archive lacks ${hole}, but has `))
      await recover(copy, command(archive, '--end-at-hole'))
      assert.deepEqual(
        await rowsOf(copy),
        scene.rows.filter(([id]) => Number(id) <= 501),
      )
      const other = await copyOf(t, scene.base)
      await copyFile(join(scene.old.dataFolder, 'pg_wal', hole), join(other.dataFolder, 'pg_wal', hole))
      await recover(other, command(archive))
      assert.deepEqual(await rowsOf(other), scene.rows)
    })

    test('a number that was skipped stops a recovery to the latest timeline, until it names the number', async (t) => {
      const next = await copyOf(t, scene.promoted)
      // Somebody else had taken number 3 already.
      await writeFile(join(next.dataFolder, 'pg_wal', '00000003.history'), '2\t0/1000000\tof another server\n')
      await next.configure({ recovery_target_timeline: 'current' })
      await recover(next, 'false')
      const client = await connect(next)
      await insert(client, 5001, 5100, 'on timeline 4')
      const rows = await allRows(client)
      await client.end()
      await next.kill(deadline())
      const archive = await AssembledArchive.make(t, scene.base, megabyte)
      await archive.add(scene.old, 1)
      for (const [cluster, timeline] of [
        [scene.promoted, 2],
        [next, 4],
      ] as const) {
        await archive.history(cluster, timeline)
        await archive.add(cluster, timeline)
      }
      const copy = await copyOf(t, scene.base)
      await stops(copy, command(archive), 200, /hint: .*Set recovery_target_timeline = '4'/)
      await copy.configure({ recovery_target_timeline: '4' })
      await recover(copy, command(archive))
      assert.deepEqual(await rowsOf(copy), rows)
    })

    test('a wrong prefix stops the server, and so does that of another cluster', async (t) => {
      const archive = await AssembledArchive.make(t, scene.base, megabyte)
      await archive.add(scene.old, 1)
      const copy = await copyOf(t, scene.base)
      const prefix = join(archive.folder, 'wal_005')
      await stops(copy, restoreCommand(['--store', prefix, '--retry-for', '0']), 203, /is no archive: /)
      const other = await makeCluster({ version, segmentBytes: megabyte, ownIdentity: true })
      t.after(() => discardCluster(other))
      const foreign = await AssembledArchive.make(t, other, megabyte)
      await stops(copy, command(foreign), 203, /belongs to system identifier /)
    })
  })
}
