import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { sleep } from '../../src/kit/abort.ts'
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
} from '../support/postgres.ts'
import { restoreByHand } from '../support/restored.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'
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

interface Taken {
  readonly name: string
  readonly parts: number
  readonly openSegment: string | null
}

/** The words of the command, for a server and a store. */
function words(server: Cluster, store: string, args: readonly string[]): string[] {
  return ['backup', '--url', urlOf(server.connection), '--store', store, '--fast', '--json', ...args]
}

async function backup(server: Cluster, store: string, args: readonly string[] = []): Promise<Taken> {
  const { code, stdout, stderr } = await run(server, store, args)
  assert.equal(code, 0, stderr)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own command's answer
  return JSON.parse(stdout) as Taken
}

async function run(server: Cluster, store: string, args: readonly string[]): Promise<Finished> {
  return await runProgram(program('walferry'), words(server, store, args), { signal: deadline() })
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

async function newArchive(t: TestContext): Promise<string> {
  const archive = join(await tempFolder(t), 'archive')
  await mkdir(archive)
  return archive
}

/** Unpacks a backup, recovers it, and compares the rows. */
async function assertRestores(
  t: TestContext,
  version: TestVersion,
  archive: string,
  { name }: Taken,
  rows: Rows,
  oids: readonly string[] = [],
): Promise<void> {
  const folder = await serverFolder(t)
  const tablespaces = Object.fromEntries(oids.map((oid) => [oid, join(folder, `space-${oid}`)]))
  const restored = await restoreByHand({ version, store: new DirectoryStore(archive), name, folder, tablespaces })
  t.after(() => discardCluster(restored))
  await recover(restored, restoreCommand(['--store', archive]))
  assert.deepEqual(await rowsOf(restored), rows)
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
    const taken = await backup(server, archive, ['--part-size', '4MiB'])
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
      archive,
      taken,
      rows,
      oids.map(([oid]) => oid ?? ''),
    )
  })
}

for (const version of await newestVersion()) {
  const on = `(PostgreSQL ${version.major})`

  test(`with its own WAL a backup needs no receiver, and is in pieces only when it is killed ${on}`, async (t) => {
    const { server, client } = await serverWithTable(t, version)
    const archive = await newArchive(t)
    const store = new DirectoryStore(archive)
    const keys = async (prefix: string): Promise<string[]> => {
      const found: string[] = []
      for await (const { key } of store.list({ prefix, signal: deadline() })) found.push(key)
      return found
    }
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const slow = startProgram(
        program('walferry'),
        words(server, archive, ['--max-rate', '1M', '--part-size', '1MiB']),
      )
      t.after(() => slow.kill())
      const until = deadline()
      while ((await keys('basebackups_005/')).length === 0) {
        assert.ok(!slow.hasEnded, slow.stderr)
        await sleep(20, until)
      }
      slow.sendToAll(signal)
      const { code } = await slow.exit
      const left = [...(await keys('basebackups_005/')), ...(await keys('walferry_001/backups/'))]
      if (signal === 'SIGTERM') {
        assert.equal(code, 1)
        assert.match(slow.stderr, /stopped by SIGTERM/)
        assert.deepEqual(left, [])
      } else
        assert.ok(left.some((key) => key.endsWith('claim.json')) && !left.some((key) => key.endsWith('sentinel.json')))
    }
    const again = await run(server, archive, ['--with-wal'])
    assert.equal(again.code, 0, again.stderr)
    assert.match(again.stderr, /was begun and has no end/)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own command's answer
    const taken = JSON.parse(again.stdout) as Taken
    assert.equal(taken.openSegment, null, 'a primary ends the segment with the backup')
    const rows = await allRows(client)
    await server.kill(deadline())
    await assertRestores(t, version, archive, taken, rows)
  })

  test(`a backup from a standby ends in a tail, and the next one has to wait for a checkpoint ${on}`, async (t) => {
    const { server } = await serverWithTable(t, version)
    await server.stop('fast', deadline())
    const standby = await copyCluster(server)
    t.after(() => discardCluster(standby))
    await server.start(deadline())
    const sql = await connect(server)
    t.after(() => sql.end())
    await standby.setRecovery('standby', { primary_conninfo: server.conninfo, hot_standby: true })
    await standby.start(deadline())
    const { receive, archive } = await archiveInFolder(t, server)
    await insert(sql, 6000, 6001, 'after')

    const taken = await backup(standby, archive)
    assert.notEqual(taken.openSegment, null)
    const second = await run(standby, archive, [])
    assert.equal(second.code, 1)
    assert.match(second.stderr, /\[BACKUP_TAKEN\]\nhint: .*CHECKPOINT/)

    const rows = await allRows(sql)
    await receive.waitForShipped(await flushedUpTo(sql), deadline())
    await receive.terminate(deadline())
    await assertRestores(t, version, archive, taken, rows)
  })
}
