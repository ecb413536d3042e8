import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { connect, deadline, discardCluster, makeCluster, megabyte, testVersions, value } from '../support/postgres.ts'
import { restoreByHand } from '../support/restored.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'
import { program, restoreCommand, runProgram, urlOf } from '../support/walferry.ts'
import { allRows, archiveInFolder, flushedUpTo, insert, recover, rowsOf } from './scenario.ts'

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

async function backup(server: Cluster, store: string, args: readonly string[] = []) {
  const fixed = ['backup', '--url', urlOf(server.connection), '--store', store, '--fast', '--json']
  const { code, stdout, stderr } = await runProgram(program('walferry'), [...fixed, ...args], { signal: deadline() })
  assert.equal(code, 0, stderr)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own command's answer
  return JSON.parse(stdout) as { name: string; parts: number; openSegment: string | null }
}

async function serverWithTable(t: TestContext, options: Parameters<typeof makeCluster>[0]) {
  const server = await makeCluster(options)
  t.after(() => discardCluster(server))
  await server.start(deadline())
  const client = await connect(server)
  t.after(() => client.end())
  await client.query('CREATE TABLE t (id int PRIMARY KEY, text text)')
  return { server, client }
}

for (const version of await testVersions()) {
  test(`a backup under write load, unpacked by tar, recovers every row (PostgreSQL ${version.major})`, async (t) => {
    const { server, client } = await serverWithTable(t, { version, segmentBytes: megabyte })
    const spaces = [await serverFolder(t), await serverFolder(t)]
    for (const [n, path] of spaces.entries()) await client.query(`CREATE TABLESPACE s${n} LOCATION '${path}'`)
    await client.query('CREATE TABLE t0 TABLESPACE s0 AS SELECT n FROM generate_series(1, 1000) n')
    await client.query('CREATE TABLE t1 TABLESPACE s1 AS SELECT n FROM generate_series(1, 2000) n')
    await insert(client, 1, 5000, 'before')
    const oids = (
      await value(
        client,
        "SELECT string_agg(oid::text, ',' ORDER BY spcname) FROM pg_tablespace WHERE spcname LIKE 's_'",
      )
    ).split(',')
    const { receive, archive } = await archiveInFolder(t, server)

    const load = writeOn(client)
    const { name, parts } = await backup(server, archive, ['--part-size', '4MiB'])
    assert.ok((await load.stop()) > 0)
    assert.ok(parts > 3, `${parts} parts`)
    await insert(client, 6000, 6001, 'after')
    const rows = await allRows(client)
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    await server.kill(deadline())
    await receive.terminate(deadline())

    const folder = await serverFolder(t)
    const tablespaces = Object.fromEntries(oids.map((oid) => [oid, join(folder, `space-${oid}`)]))
    const restored = await restoreByHand({ version, store: new DirectoryStore(archive), name, folder, tablespaces })
    t.after(() => discardCluster(restored))
    await recover(restored, restoreCommand(['--store', archive]))
    assert.deepEqual(await rowsOf(restored), rows)
  })

  test(`with its own WAL a backup needs no receiver (PostgreSQL ${version.major})`, async (t) => {
    const { server, client } = await serverWithTable(t, { version, segmentBytes: megabyte })
    const archive = join(await tempFolder(t), 'archive')
    await mkdir(archive)
    await insert(client, 1, 5000, 'before')
    const { name, openSegment } = await backup(server, archive, ['--with-wal'])
    assert.equal(openSegment, null)
    const rows = await allRows(client)
    await server.kill(deadline())
    const folder = await serverFolder(t)
    const restored = await restoreByHand({ version, store: new DirectoryStore(archive), name, folder })
    t.after(() => discardCluster(restored))
    await recover(restored, restoreCommand(['--store', archive]))
    assert.deepEqual(await rowsOf(restored), rows)
  })
}
