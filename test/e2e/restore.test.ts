/** `walferry restore`: what it makes of a backup is a folder in which a server starts and recovers. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Cluster } from '../../src/cluster/cluster.ts'
import { giveToServer } from '../../src/cluster/server-user.ts'
import { sleep } from '../../src/kit/abort.ts'
import {
  connect,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  newestVersion,
  rows,
  testVersions,
  value,
  type TestVersion,
} from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { startS3Server } from '../support/s3-server.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'
import { type Finished, program, runProgram, startProgram, startReceive, urlOf } from '../support/walferry.ts'
import { allRows, flushedUpTo, insert, rowsOf, type Rows } from './scenario.ts'

/** Where an archive is: what every command needs to find and to read it. */
interface Place {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

async function inFolder(t: TestContext): Promise<Place> {
  const store = join(await tempFolder(t), "it's 100%f of $it")
  await mkdir(store)
  return { args: ['--store', store], env: {} }
}

async function encryptedInS3(t: TestContext): Promise<Place> {
  const s3 = await startS3Server()
  t.after(() => s3.stop())
  const key = join(await serverFolder(t), 'key')
  await writeFile(key, seededRandom(t).bytes(32).toString('hex'), { mode: 0o600 })
  await giveToServer(key)
  const keyArgs = ['--encryption-key-file', key, '--encryption-key-transform', 'hex']
  return {
    args: ['--store', `s3://${s3.bucket}/main`, '--s3-endpoint', s3.endpoint, ...keyArgs],
    env: s3.environment,
  }
}

interface Taken {
  readonly name: string
  readonly oids: readonly string[]
  /** Where the tablespaces `one` and `two` lie on the server. */
  readonly places: readonly [string, string]
  readonly rows: Rows
}

/** A server with two tablespaces, and an archive of it: a backup in the midst of its rows, and all its WAL. */
async function takeAll(t: TestContext, version: TestVersion, place: Place): Promise<Taken> {
  const settings = { autovacuum: false, archive_mode: 'on', archive_command: 'exit 1' }
  const server = await makeCluster({ version, segmentBytes: megabyte, settings })
  t.after(() => discardCluster(server))
  const folder = await serverFolder(t)
  const places = [join(folder, 'one'), join(folder, 'two')] as const
  for (const place of places) {
    await mkdir(place)
    await giveToServer(place)
  }
  await server.start(deadline())
  const client = await connect(server)
  try {
    // For the backup to carry. This server does not read it again, or its commits would wait for ever.
    await client.query("ALTER SYSTEM SET synchronous_standby_names = 'walferry'")
    await client.query(`CREATE TABLESPACE one LOCATION '${places[0]}'`)
    await client.query(`CREATE TABLESPACE two LOCATION '${places[1]}'`)
    await client.query('CREATE TABLE t (id int PRIMARY KEY, text text) TABLESPACE one')
    await client.query('CREATE INDEX ON t (text) TABLESPACE two')
    await insert(client, 1, 2000, 'before')
    const [, store = '', ...args] = place.args
    const spool = join(await tempFolder(t), 'spool')
    const receive = startReceive(t, { server: server.connection, store, spool, args, env: place.env })
    await receive.waitForReady(deadline())
    const name = await takeBackup(server, place)
    await insert(client, 2001, 3000, 'after')
    const found = await rows(client, "SELECT oid FROM pg_tablespace WHERE spcname IN ('one', 'two') ORDER BY oid")
    const all = await allRows(client)
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    await server.kill(deadline())
    await receive.terminate(deadline())
    return { name, oids: found.map(([oid]) => String(oid)), places, rows: all }
  } finally {
    await client.end()
  }
}

async function takeBackup(server: Cluster, { args, env }: Place): Promise<string> {
  const command = ['backup', '--url', urlOf(server.connection), ...args, '--fast', '--part-size', '8MiB', '--json']
  const { code, stdout, stderr } = await runProgram(program('walferry'), command, { signal: deadline(), env })
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout).name
}

/** The server in a restored folder, with nothing done to it. */
async function open(t: TestContext, version: TestVersion, dataFolder: string, { env }: Place): Promise<Cluster> {
  const cluster = await Cluster.open({
    binaries: version.binaries,
    folder: await serverFolder(t),
    dataFolder,
    tcp: true,
    env,
  })
  t.after(() => discardCluster(cluster))
  return cluster
}

/** The program of an installed PostgreSQL that can read this version's manifests, or null. */
async function verifier(major: number): Promise<string | null> {
  // The format changed with 17.
  for (const installed of major < 17 ? [major, 16, 15, 14, 13] : [major, 18, 17]) {
    const path = `/usr/lib/postgresql/${installed}/bin/pg_verifybackup`
    if (await stat(path).catch(() => null)) return path
  }
  return null
}

async function settingsOf(server: Cluster, names: readonly string[]): Promise<(string | null)[]> {
  const client = await connect(server)
  try {
    return await Promise.all(names.map(async (name) => await value(client, `SHOW ${name}`)))
  } finally {
    await client.end()
  }
}

for (const version of await testVersions()) {
  const { name, make } =
    version.major === 18 ? { name: 'S3, encrypted', make: encryptedInS3 } : { name: 'a folder', make: inFolder }
  test(`a server comes back with its tablespaces (PostgreSQL ${version.major}, from ${name})`, async (t) => {
    const place = await make(t)
    const restore = async (folder: string, args: readonly string[]): Promise<Finished> =>
      await runProgram(program('walferry'), ['restore', folder, ...args], { signal: deadline(), env: place.env })
    const taken = await takeAll(t, version, place)
    const [kept, moved] = taken.places
    // The first one's place is free again; the other one goes elsewhere.
    await rm(kept, { recursive: true })
    const folder = await tempFolder(t)
    const [data, elsewhere] = [join(folder, "it's the data"), join(folder, 'two = three')]
    const mapping = `${moved}=${elsewhere.replace('=', '\\=')}`
    const args = [...place.args, '--tablespace-mapping', mapping, '--json']

    await t.test('kill -9 of restore half way leaves a folder that no server starts in', async (t) => {
      const killed = startProgram(program('walferry'), ['restore', data, ...args], { env: place.env })
      t.after(() => killed.kill())
      const some = seededRandom(t).below(200)
      const isHalfWay = async () => (await readdir(join(data, 'base/1')).catch(() => [])).length > some
      for (const signal = deadline(); !(await isHalfWay()); ) await sleep(1, signal)
      killed.kill()
      assert.deepEqual(await killed.exit, { code: null, signal: 'SIGKILL' }, killed.stdout)
      await assert.rejects(stat(join(data, 'global/pg_control')))
      await assert.rejects(
        (await open(t, version, data, place)).start(deadline()),
        // It depends on which files are there already.
        /could not (?:find the database|open file)|is not a valid data directory/,
      )
      await rm(join(data, 'postmaster.pid'), { force: true })

      const { code, stderr } = await restore(data, args)
      assert.equal(code, 1)
      assert.match(stderr, /holds a restore that was interrupted/)
    })

    await t.test('with --force it is restored from the beginning, checked by the manifest', async () => {
      const { code, stdout, stderr } = await restore(data, [...args, '--force'])
      assert.equal(code, 0, stderr)
      const told = JSON.parse(stdout)
      assert.equal(told.backup, taken.name)
      assert.equal(told.checkedBy, 'manifest')
      assert.equal(told.start, `pg_ctl -D '${data.replace("'", "'\\''")}' start`)
      const notes: string = told.notes.join('\n')
      assert.match(notes, /^archive_mode was 'on', and is off now/m)
      assert.match(notes, /^synchronous_standby_names was 'walferry', and is empty now/m)
      if (place.env['AWS_SECRET_ACCESS_KEY'] !== undefined) assert.match(notes, /environment.* AWS_SECRET_ACCESS_KEY/)
    })

    const verify = await verifier(version.major)
    const skip = verify === null && 'no pg_verifybackup that reads manifests of this version is installed'
    await t.test('pg_verifybackup accepts what was restored', { skip }, async () => {
      const { code, stderr } = await runProgram(verify ?? '', ['--no-parse-wal', data], { signal: deadline() })
      assert.equal(code, 0, stderr)
    })

    await t.test(
      'a server that is started in it has all rows, and its tablespaces where they were mapped to',
      async (t) => {
        const server = await open(t, version, data, place)
        await server.start(deadline())
        await server.waitForPromotion(deadline())
        assert.deepEqual(await rowsOf(server), taken.rows)
        const links = await Promise.all(taken.oids.map((oid) => readlink(join(data, 'pg_tblspc', oid))))
        assert.deepEqual(links, [kept, elsewhere])
        assert.deepEqual(await settingsOf(server, ['archive_mode', 'synchronous_standby_names']), ['off', ''])
        const again = await restore(data, [...args, '--force'])
        assert.equal(again.code, 1)
        assert.match(again.stderr, /a server runs in/)
      },
    )
  })
}

for (const version of await newestVersion()) {
  test(`a standby streams from the server that was named (PostgreSQL ${version.major})`, async (t) => {
    const server = await makeCluster({ version, segmentBytes: megabyte, settings: { autovacuum: false } })
    t.after(() => discardCluster(server))
    await server.start(deadline())
    const client = await connect(server)
    t.after(() => client.end())
    await client.query('CREATE TABLE t (id int PRIMARY KEY, text text)')
    const place = await inFolder(t)
    const name = await takeBackup(server, { ...place, args: [...place.args, '--with-wal'] })
    const data = join(await tempFolder(t), 'data')
    const args = [...place.args, '--backup', name, '--standby', '--url', urlOf(server.connection)]
    const { code, stdout, stderr } = await runProgram(program('walferry'), ['restore', data, ...args], {
      signal: deadline(),
    })
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^restored base_[0-9A-F]{24} to .*; every file is as the server's manifest lists it$/m)

    const standby = await open(t, version, data, place)
    await standby.start(deadline())
    // Not in the archive: nobody receives.
    await insert(client, 1, 10, 'streamed')
    const all = await allRows(client)
    for (const signal = deadline(); (await rowsOf(standby)).length < all.length; ) await sleep(20, signal)
    assert.deepEqual(await rowsOf(standby), all)
    assert.deepEqual(await settingsOf(standby, ['transaction_read_only', 'recovery_target_timeline']), ['on', 'latest'])
  })
}
