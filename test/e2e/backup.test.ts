import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { formatLsn, type Lsn } from '../../src/wal/lsn.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { S3Store } from '../../src/store/s3.ts'
import { setEnvironment } from '../support/environment.ts'
import { orAbort, sleep } from '../../src/kit/abort.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  newestVersion,
  rows as rowsIn,
  type TestVersion,
  testVersions,
  value,
} from '../support/postgres.ts'
import { startS3Server } from '../support/s3-server.ts'
import { restoreByHand } from '../support/restored.ts'
import { serverFolder } from '../support/temp.ts'
import { type Finished, program, restoreCommand, runProgram, startProgram, urlOf } from '../support/walferry.ts'
import { allRows, archiveInFolder, flushedUpTo, insert, recover, type Rows, rowsOf } from './scenario.ts'

/** Inserts until it is stopped, which resolves with the number of its transactions. */
function writeOn(client: pg.Client): { readonly stop: () => Promise<number> } {
  const end = new AbortController()
  const write = async (): Promise<number> => {
    let count = 0
    for (; !end.signal.aborted; count++) await insert(client, 10_000 + count * 10, 10_009 + count * 10, 'load')
    return count
  }
  const writing = write()
  return {
    stop: () => {
      end.abort()
      return writing
    },
  }
}

/** Where an archive lies: for the command, and for us. */
interface Place {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly store: ObjectStore
}

function inFolder(folder: string): Place {
  return { args: ['--store', folder], env: {}, store: new DirectoryStore(folder) }
}

async function inS3(t: TestContext): Promise<Place> {
  const s3 = await startS3Server()
  setEnvironment(s3.environment)
  const store = new S3Store({ bucket: s3.bucket, prefix: 'cluster/main', endpoint: s3.endpoint })
  t.after(async () => {
    store.close()
    await s3.stop()
  })
  return { args: ['--store', store.url, '--s3-endpoint', s3.endpoint], env: s3.environment, store }
}

interface Taken {
  readonly name: string
  readonly parts: number
  readonly openSegment: string | null
}

/** The words of the command. */
function words(server: Cluster | string, { args }: Place, more: readonly string[]): string[] {
  const url = typeof server === 'string' ? server : urlOf(server.connection)
  return ['backup', '--url', url, ...args, '--fast', '--json', ...more]
}

async function backup(server: Cluster | string, place: Place, more: readonly string[] = []): Promise<Taken & Finished> {
  const finished = await run(server, place, more)
  assert.equal(finished.code, 0, finished.stderr)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own command's answer
  return { ...finished, ...(JSON.parse(finished.stdout) as Taken) }
}

async function run(server: Cluster | string, place: Place, more: readonly string[]): Promise<Finished> {
  return await runProgram(program('walferry'), words(server, place, more), { signal: deadline(), env: place.env })
}

/** Begins a backup that would take half a minute, ends it by a signal once its first part is there, and returns what is left. */
async function endHalfWay(
  server: Cluster,
  place: Place,
  signal: NodeJS.Signals,
): Promise<Finished & { left: string[] }> {
  const more = ['--max-rate', '1M', '--part-size', '1MiB']
  const slow = startProgram(program('walferry'), words(server, place, more), { env: place.env })
  try {
    const until = deadline()
    while ((await keysBelow(place, 'basebackups_005/')).length === 0) {
      assert.ok(!slow.hasEnded, slow.stderr)
      await sleep(20, until)
    }
    slow.sendToAll(signal)
    const exit = await orAbort(slow.exit, until)
    const left = [...(await keysBelow(place, 'basebackups_005/')), ...(await keysBelow(place, 'walferry_001/backups/'))]
    return { ...exit, stdout: slow.stdout, stderr: slow.stderr, left }
  } finally {
    slow.kill()
  }
}

async function keysBelow({ store }: Place, prefix: string): Promise<string[]> {
  const found: string[] = []
  for await (const { key } of store.list({ prefix, signal: deadline() })) found.push(key)
  return found
}

/** A server with rows, which runs, and the client that wrote them. */
async function serverWithTable(t: TestContext, version: TestVersion) {
  const settings = { autovacuum: false, checkpoint_timeout: '1h' }
  const server = await makeCluster({ version, segmentBytes: megabyte, settings })
  t.after(() => discardCluster(server))
  await server.start(deadline())
  const client = await connect(server)
  t.after(() => client.end())
  await client.query('CREATE TABLE t (id int PRIMARY KEY, text text)')
  await insert(client, 1, 5000, 'before')
  return { server, client }
}

async function waitForReplay(standby: Cluster, lsn: Lsn): Promise<void> {
  const client = await connect(standby)
  try {
    const signal = deadline()
    const sql = `SELECT pg_last_wal_replay_lsn() >= '${formatLsn(lsn)}'`
    while ((await value(client, sql)) !== 't') await sleep(20, signal)
  } finally {
    await client.end()
  }
}

/** Unpacks a backup, recovers it, and compares the rows. */
async function assertRestores(
  t: TestContext,
  version: TestVersion,
  { store, args, env }: Place,
  { name }: Taken,
  expected: Rows,
  oids: readonly string[] = [],
): Promise<void> {
  const folder = await serverFolder(t)
  const tablespaces = Object.fromEntries(oids.map((oid) => [oid, join(folder, `space-${oid}`)]))
  const restored = await restoreByHand({ version, store, name, folder, tablespaces })
  t.after(() => discardCluster(restored))
  await recover(restored, restoreCommand(args, env))
  assert.deepEqual(await rowsOf(restored), expected)
}

for (const version of await testVersions()) {
  test(`a backup under write load, unpacked by tar, recovers every row (PostgreSQL ${version.major})`, async (t) => {
    const { server, client } = await serverWithTable(t, version)
    for (const n of [0, 1]) {
      await client.query(`CREATE TABLESPACE s${n} LOCATION '${await serverFolder(t)}'`)
      await client.query(`CREATE TABLE t${n} TABLESPACE s${n} AS SELECT n FROM generate_series(1, 1000) n`)
    }
    const oids = await rowsIn(client, "SELECT oid FROM pg_tablespace WHERE spcname LIKE 's_'")
    const { receive, archive } = await archiveInFolder(t, server)

    const load = writeOn(client)
    const place = inFolder(archive)
    const taken = await backup(server, place, ['--part-size', '4MiB'])
    assert.ok((await load.stop()) > 0)
    assert.ok(taken.parts > 3, `${taken.parts} parts`)
    await insert(client, 6000, 6001, 'after')
    const rows = await allRows(client)
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    await server.kill(deadline())
    await receive.terminate(deadline())
    await assertRestores(
      t,
      version,
      place,
      taken,
      rows,
      oids.map(([oid]) => oid ?? ''),
    )
  })
}

for (const version of await newestVersion()) {
  const on = `(PostgreSQL ${version.major})`

  test(`with its own WAL a backup into S3 needs no receiver; a stop leaves nothing, a kill no backup ${on}`, async (t) => {
    const { server, client } = await serverWithTable(t, version)
    const place = await inS3(t)
    const stopped = await endHalfWay(server, place, 'SIGTERM')
    assert.equal(stopped.code, 1)
    assert.match(stopped.stderr, /stopped by SIGTERM/)
    assert.deepEqual(stopped.left, [])
    const { left } = await endHalfWay(server, place, 'SIGKILL')
    assert.ok(left.some((key) => key.endsWith('claim.json')) && !left.some((key) => key.endsWith('sentinel.json')))

    const taken = await backup(server, place, ['--with-wal'])
    assert.match(taken.stderr, /was begun and has no end/)
    assert.equal(taken.openSegment, null, 'a primary ends the segment with the backup')
    const rows = await allRows(client)
    await server.kill(deadline())
    await assertRestores(t, version, place, taken, rows)
  })

  test(`a backup from a standby takes over what a killed one left, and ends in a tail, or in a segment that the primary ends ${on}`, async (t) => {
    const { server } = await serverWithTable(t, version)
    await server.stop('fast', deadline())
    const standby = await copyCluster(server)
    t.after(() => discardCluster(standby))
    await server.start(deadline())
    const client = await connect(server)
    t.after(() => client.end())
    await standby.setRecovery('standby', { primary_conninfo: server.conninfo, hot_standby: true })
    await standby.start(deadline())
    const { receive, archive } = await archiveInFolder(t, server)
    const place = inFolder(archive)
    await insert(client, 6000, 6001, 'after')

    await endHalfWay(standby, place, 'SIGKILL')
    const taken = await backup(standby, place)
    assert.match(taken.stderr, /removed what a killed backup of the same name had left/)
    assert.notEqual(taken.openSegment, null)
    const next = await run(standby, place, [])
    assert.equal(next.code, 1)
    assert.match(next.stderr, /\[BACKUP_TAKEN\]\nhint: .*CHECKPOINT/)

    await client.query('SELECT pg_switch_wal()')
    await client.query('CHECKPOINT')
    await waitForReplay(standby, await flushedUpTo(client))
    const both = urlOf(standby.connection).replace('/postgres?', `,127.0.0.1:${server.connection.port}/postgres?`)
    const whole = await backup(`${both}&target_session_attrs=prefer-standby`, place, ['--switch-wal', '--wait-whole'])
    assert.notEqual(whole.name, taken.name)
    assert.equal(whole.openSegment, null)

    await insert(client, 7000, 7001, 'later')
    const rows = await allRows(client)
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    await receive.terminate(deadline())
    await assertRestores(t, version, place, taken, rows)
  })
}
