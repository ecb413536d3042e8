/** `walferry restore`: what it makes of a backup is a folder in which a server starts and recovers. */
import assert from 'node:assert/strict'
import { mkdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Cluster } from '../../src/cluster/cluster.ts'
import { giveToServer } from '../../src/cluster/server-user.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { takeBackup } from '../restore/taken-backup.ts'
import {
  connect,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  rows,
  testVersions,
  type TestVersion,
} from '../support/postgres.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'
import { program, runProgram } from '../support/walferry.ts'
import { AssembledArchive } from './assembled-archive.ts'
import { allRows, insert, rowsOf, type Rows } from './scenario.ts'

interface Taken {
  readonly archive: string
  readonly name: string
  readonly oids: readonly string[]
  /** Where the tablespaces `one` and `two` lie on the server. */
  readonly places: readonly [string, string]
  readonly rows: Rows
}

/** A server with two tablespaces, and an archive of it: a backup in the midst of its rows, and all its WAL. */
async function takeAll(t: TestContext, version: TestVersion): Promise<Taken> {
  const settings = { autovacuum: false, synchronous_standby_names: '', archive_mode: 'on', archive_command: 'exit 1' }
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
    await client.query(`CREATE TABLESPACE one LOCATION '${places[0]}'`)
    await client.query(`CREATE TABLESPACE two LOCATION '${places[1]}'`)
    await client.query('CREATE TABLE t (id int PRIMARY KEY, text text) TABLESPACE one')
    await client.query('CREATE INDEX ON t (text) TABLESPACE two')
    await insert(client, 1, 2000, 'before')
    const archive = await AssembledArchive.make(t, server, megabyte)
    const name = await takeBackup(server, new DirectoryStore(archive.folder), megabyte)
    await insert(client, 2001, 3000, 'after')
    const found = await rows(client, "SELECT oid FROM pg_tablespace WHERE spcname IN ('one', 'two') ORDER BY oid")
    const all = await allRows(client)
    await client.end()
    await server.stop('fast', deadline())
    await archive.add(server, 1)
    return { archive: archive.folder, name, oids: found.map(([oid]) => String(oid)), places, rows: all }
  } finally {
    await client.end()
  }
}

async function restore(folder: string, args: readonly string[]) {
  return await runProgram(program('walferry'), ['restore', folder, ...args], { signal: deadline() })
}

/** The server in a restored folder, with nothing done to it. */
async function open(t: TestContext, version: TestVersion, dataFolder: string): Promise<Cluster> {
  const cluster = await Cluster.open({
    binaries: version.binaries,
    folder: await serverFolder(t),
    dataFolder,
    tcp: true,
  })
  t.after(() => discardCluster(cluster))
  return cluster
}

for (const version of await testVersions()) {
  const how = `PostgreSQL ${version.major}`
  test(`a server with two tablespaces, one of them mapped elsewhere, comes back with all rows (${how})`, async (t) => {
    const taken = await takeAll(t, version)
    const folder = await tempFolder(t)
    const [data, one, two] = [join(folder, 'data'), join(folder, "it's = one"), join(folder, 'two')]
    const mapping = taken.places.map((from, n) => `${from}=${[one.replace('=', '\\='), two][n]}`)
    const args = ['--store', taken.archive, ...mapping.flatMap((text) => ['--tablespace-mapping', text]), '--json']
    const { code, stdout, stderr } = await restore(data, args)
    assert.equal(code, 0, stderr)
    const told = JSON.parse(stdout)
    assert.equal(told.checkedBy, 'manifest')
    assert.equal(told.start, `pg_ctl -D ${data} start`)

    const server = await open(t, version, data)
    await server.start(deadline())
    await server.waitForPromotion(deadline())
    assert.deepEqual(await rowsOf(server), taken.rows)
    const links = await Promise.all(taken.oids.map((oid) => readlink(join(data, 'pg_tblspc', oid))))
    assert.deepEqual(links, [one, two])
  })
}
