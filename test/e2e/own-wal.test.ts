/** A recovering server that has WAL of its own in pg_wal: what the archive lacks is kept, what it has more is used. */
import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { connect, deadline, megabyte, newestVersion, testVersions, value } from '../support/postgres.ts'
import { restoreCommand } from '../support/walferry.ts'
import { allRows, archiveInFolder, flushedUpTo, insert, makeScene, recover, rowsOf } from './scenario.ts'

const megabytesOf: Readonly<Record<number, number>> = { 13: 16, 18: 1 }

async function openSegment(client: pg.Client): Promise<string> {
  return await value(client, 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())')
}

async function filesOfPgWal(cluster: Cluster): Promise<string[]> {
  return await readdir(join(cluster.dataFolder, 'pg_wal'))
}

for (const version of await testVersions()) {
  test(`a crashed primary that is ahead of the archive keeps every row (PostgreSQL ${version.major})`, async (t) => {
    const { server, client } = await makeScene(t, version, (megabytesOf[version.major] ?? 16) * megabyte)
    const { receive, archive } = await archiveInFolder(t, server)
    await insert(client, 1, 500, 'archived')
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    const archivedIn = await openSegment(client)
    await receive.kill9()
    await insert(client, 501, 1000, 'not archived')
    // A crash recovery asks the archive only for what lies behind the end of pg_wal, which begins in this very segment.
    assert.equal(await openSegment(client), archivedIn)
    const rows = await allRows(client)
    await server.kill(deadline())

    await recover(server, restoreCommand(['--store', archive]))
    assert.deepEqual(await rowsOf(server), rows)
  })
}

for (const version of await newestVersion()) {
  test(`a synchronous standby that is ahead of the archive keeps every row at its promotion (PostgreSQL ${version.major})`, async (t) => {
    const { server, copy, client } = await makeScene(t, version, megabyte)
    const { receive, archive } = await archiveInFolder(t, server)
    await copy.setRecovery('standby', {
      primary_conninfo: `${server.conninfo} application_name=copy`,
      restore_command: restoreCommand(['--store', archive]),
    })
    await copy.start(deadline())
    await server.configure({ synchronous_standby_names: 'copy' })
    await client.query('SELECT pg_reload_conf()')
    const isSynchronous = "SELECT count(*)::text FROM pg_stat_replication WHERE sync_state = 'sync'"
    while ((await value(client, isSynchronous)) !== '1') await client.query('SELECT pg_sleep(0.01)')

    await insert(client, 1, 500, 'archived')
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    const archivedIn = await openSegment(client)
    await receive.kill9()
    await insert(client, 501, 1000, 'not archived')
    assert.equal(await openSegment(client), archivedIn)
    const rows = await allRows(client)
    await server.kill(deadline())

    await copy.promote(deadline())
    assert.deepEqual(await rowsOf(copy), rows)
  })

  test(`a server whose segment ends before the archive's tail of it gets the tail's rows (PostgreSQL ${version.major})`, async (t) => {
    const { server, copy, client } = await makeScene(t, version, 16 * megabyte)
    const { receive, archive } = await archiveInFolder(t, server)
    await insert(client, 1, 1000, 'archived')
    assert.ok((await filesOfPgWal(copy)).includes(await openSegment(client)))
    const rows = await allRows(client)
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    await server.kill(deadline())
    await receive.terminate(deadline())

    await recover(copy, restoreCommand(['--store', archive]))
    assert.deepEqual(await rowsOf(copy), rows)
  })

  test(`a server with another history than the archive's stops, and loses neither (PostgreSQL ${version.major})`, async (t) => {
    const { server, copy, client } = await makeScene(t, version, 16 * megabyte)
    const { receive, archive } = await archiveInFolder(t, server)
    await insert(client, 1, 1000, 'archived')
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    await receive.terminate(deadline())
    await copy.start(deadline())
    const other = await connect(copy)
    await insert(other, 1, 700, 'of its own')
    const rows = await allRows(other)
    await other.end()
    await copy.kill(deadline())

    await copy.setRecovery('recovery', { restore_command: restoreCommand(['--store', archive]) })
    await copy.launch(deadline())
    assert.deepEqual(await copy.waitForExit(deadline()), { code: 1, signal: null })
    const log = await copy.log.read()
    assert.match(
      log,
      /pg_wal has a 0{7}1[0-9A-F]{16} with other WAL than the archive's tail of it \[ARCHIVE_CONFLICT\]/,
    )
    assert.match(log, /FATAL: {2}could not restore file "0{7}1[0-9A-F]{16}" from archive: .*202/)
    assert.deepEqual(
      (await filesOfPgWal(copy)).filter((name) => name.endsWith('.history')),
      [],
    )

    await rm(join(copy.dataFolder, 'recovery.signal'))
    await copy.start(deadline())
    assert.deepEqual(await rowsOf(copy), rows)
  })
}
