/** `walferry push` as the archive_command of real servers: instead of a receiver, beside one, and on a standby. */
import assert from 'node:assert/strict'
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type pg from 'pg'
import { Archive } from '../../src/archive/archive.ts'
import { parseWalKey, tailFolder } from '../../src/archive/keys.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { sleep } from '../../src/kit/abort.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { isSegmentName } from '../../src/wal/segment.ts'
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
import { startS3Server } from '../support/s3-server.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'
import { archiveCommand, restoreCommand, startReceive } from '../support/walferry.ts'
import { allRows, flushedUpTo, insert, insertLarge, recover, rowsOf } from './scenario.ts'

interface Scene {
  /** Archives, and runs. */
  readonly server: Cluster
  /** What its data folder was before it archived anything; not started. */
  readonly copy: Cluster
  readonly client: pg.Client
}

async function makeScene(t: TestContext, version: TestVersion, command: string): Promise<Scene> {
  const settings = { autovacuum: false, checkpoint_timeout: '1h', archive_mode: 'on', archive_command: command }
  const server = await makeCluster({ version, segmentBytes: megabyte, settings })
  t.after(() => discardCluster(server))
  const copy = await copyCluster(server)
  t.after(() => discardCluster(copy))
  await server.start(deadline())
  const client = await connect(server)
  t.after(() => client.end())
  await client.query('CREATE TABLE t (id int PRIMARY KEY, text text)')
  return { server, copy, client }
}

async function until(isReached: () => Promise<boolean>): Promise<void> {
  const signal = deadline()
  while (!(await isReached())) await sleep(20, signal)
}

/** Ends the open segment, and returns its name. */
async function switchSegment(client: pg.Client): Promise<string> {
  return await value(client, 'SELECT pg_walfile_name(pg_switch_wal())')
}

async function untilArchived(client: pg.Client, name: string): Promise<void> {
  await until(async () => (await value(client, "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")) >= name)
}

async function failures(client: pg.Client): Promise<number> {
  return Number(await value(client, 'SELECT failed_count FROM pg_stat_archiver'))
}

/** Every segment of the archive is the one that lies in pg_wal, byte by byte; returns how many were compared. */
async function compareWithPgWal(server: Cluster, folder: string): Promise<number> {
  const archive = new Archive(new DirectoryStore(folder))
  let compared = 0
  for (const name of (await readdir(join(server.dataFolder, 'pg_wal'))).filter(isSegmentName)) {
    for (const { key } of await archive.findSegment(name, { signal: deadline() })) {
      const own = await readFile(join(server.dataFolder, 'pg_wal', name))
      assert.ok((await archive.readSmall(key, megabyte, { signal: deadline() })).equals(own), key)
      compared++
    }
  }
  return compared
}

for (const version of await newestVersion()) {
  test(`a server that pushes its WAL (PostgreSQL ${version.major})`, async (t) => {
    const folder = await serverFolder(t)
    const { server, copy, client } = await makeScene(t, version, archiveCommand(['--store', folder]))
    const wal = join(folder, 'wal_005')

    await t.test('has every segment in the archive, as it lies in pg_wal', async () => {
      await insertLarge(client, 1, megabyte)
      await untilArchived(client, await switchSegment(client))
      assert.ok((await compareWithPgWal(server, folder)) >= 2)
      assert.equal(await failures(client), 0)
      assert.doesNotMatch(await server.log.read(), /warning: |error: /)
    })

    await t.test('keeps it while the store is away, and pushes it afterwards, with the same archiver', async () => {
      await rename(folder, `${folder}-away`)
      t.after(() => rename(`${folder}-away`, folder).catch(() => undefined))
      await insert(client, 11, 17, 'while the store is away')
      const name = await switchSegment(client)
      await until(async () => (await failures(client)) > 0)
      await rename(`${folder}-away`, folder)
      // After three failures the archiver waits for a minute, unless there is more to do.
      await insert(client, 18, 20, 'once it is back')
      await untilArchived(client, await switchSegment(client))
      assert.ok((await readdir(wal)).includes(`${name}.lz4`))
      assert.doesNotMatch(await server.log.read(), /archiver process .* (?:exited|was terminated)/)
      assert.match(await server.log.read(), /error: .*\[STORE_UNREACHABLE\]\nhint: /)
      assert.match(await server.log.read(), /archive command failed with exit code 1\n/)
    })

    await t.test('keeps a segment whose name is taken, and changes nothing', async () => {
      await insert(client, 21, 30, 'in conflict')
      const name = await value(client, 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())')
      const before = await failures(client)
      await writeFile(join(wal, name), 'other content')
      await switchSegment(client)
      await until(async () => (await failures(client)) > before)
      assert.equal(await readFile(join(wal, name), 'utf8'), 'other content')
      assert.ok(!(await readdir(wal)).includes(`${name}.lz4`))
      assert.match(
        await server.log.read(),
        new RegExp(`error: .*${name} holds other WAL than ours \\[ARCHIVE_CONFLICT\\]`),
      )
      await rename(join(wal, name), join(folder, 'looked at'))
      await insert(client, 31, 40, 'after the conflict')
      await untilArchived(client, await switchSegment(client))
      assert.ok((await readdir(wal)).includes(`${name}.lz4`))
    })

    await t.test('is recovered from what it has pushed', async () => {
      const rows = await allRows(client)
      await server.kill(deadline())
      await recover(copy, restoreCommand(['--store', folder]))
      assert.deepEqual(await rowsOf(copy), rows)
    })
  })
}

for (const version of await newestVersion()) {
  test(`a standby that archives always, beside a primary and a receiver (PostgreSQL ${version.major})`, async (t) => {
    const s3 = await startS3Server()
    t.after(() => s3.stop())
    const store = `s3://${s3.bucket}/p`
    const endpoint = ['--s3-endpoint', s3.endpoint]
    const push = archiveCommand(['--store', store, ...endpoint], s3.environment)
    const { server, copy, client } = await makeScene(t, version, push)
    const keys = (): string[] => s3.objects.keys().map((key) => key.slice('p/'.length))
    const chunks = (): string[] => keys().filter((key) => key.startsWith('walferry_001/tail/'))
    const kindsOf = (name: string): (string | undefined)[] =>
      keys().flatMap((key) => {
        const object = parseWalKey(key)
        return object !== null && object.kind !== 'history' && object.segment === name ? [object.kind] : []
      })
    const args = [...endpoint, '--ship-interval', '0', '--compression', 'none']
    const spool = join(await tempFolder(t), 'spool')
    const receive = startReceive(t, { server: server.connection, store, spool, args, env: s3.environment })
    await receive.waitForReady(deadline())

    await t.test('push and receive share an archive, and leave no chunk of a whole segment', async () => {
      await insertLarge(client, 1, megabyte)
      await untilArchived(client, await switchSegment(client))
      await insert(client, 11, 20, 'in the tail')
      await receive.waitForShipped(await flushedUpTo(client), deadline())
      const open = await value(client, 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())')
      await until(() => Promise.resolve(chunks().every((key) => key.startsWith(tailFolder(open)))))
      assert.equal(await failures(client), 0)
      assert.doesNotMatch(await server.log.read(), /warning: |error: /)
      assert.doesNotMatch(receive.stderr, / (?:WARN|ERROR) /)
    })

    const open = await value(client, 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())')
    const rows = await allRows(client)
    await server.kill(deadline())
    await receive.terminate(deadline())
    const restore = restoreCommand(['--store', store, ...endpoint, '--retry-for', '0'], s3.environment)

    await t.test('the padded tail that a standby has restored does not get the name of its segment', async () => {
      await copy.setRecovery('standby', { restore_command: restore, archive_mode: 'always' })
      await copy.start(deadline())
      await copy.waitForLog(new RegExp(`warning: pg_wal/${open} is not complete`), deadline())
      assert.deepEqual(await rowsOf(copy), rows)
      assert.deepEqual(kindsOf(open), ['partial'])
      const log = await copy.log.read()
      assert.doesNotMatch(log, /error: .*\[(?!ARCHIVE_HOLE|STORE)/)
    })

    await t.test('once promoted, it pushes its history and the .partial, and its own segments', async () => {
      await copy.promote(deadline())
      await until(() => Promise.resolve(keys().includes('wal_005/00000002.history.lz4')))
      assert.equal(chunks().filter((key) => key.startsWith('walferry_001/tail/00000002-')).length, 1)
      const promoted = await connect(copy)
      t.after(() => promoted.end())
      await insert(promoted, 101, 110, 'on timeline 2')
      const name = await switchSegment(promoted)
      assert.match(name, /^00000002/)
      await until(() => Promise.resolve(kindsOf(name).includes('segment')))
      await until(() => Promise.resolve(!chunks().some((key) => key.startsWith('walferry_001/tail/00000002-'))))
      assert.ok(kindsOf(open).every((kind) => kind === 'partial'))
    })
  })
}
