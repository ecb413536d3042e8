/**
 * What the recoveries have in common: a server, a cold copy of its data folder from before it wrote, `walferry receive`
 * beside it, rows that are known, a kill -9, and the copy that recovers.
 */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { query } from '../../src/cluster/query.ts'
import { parseHistory, switchPointOf, type TimelineHistory } from '../../src/wal/history.ts'
import { type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { historyName } from '../../src/wal/segment.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  rows,
  type TestVersion,
  value,
} from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { type Receive, startReceive } from '../support/walferry.ts'

export type Rows = readonly (readonly (string | null)[])[]

export interface Scene {
  /** Runs. Its slot has kept all WAL since the copy was taken. */
  readonly server: Cluster
  /** Not started. */
  readonly copy: Cluster
  readonly client: pg.Client
}

/** Both are discarded at the end of the test. */
export async function makeScene(t: TestContext, version: TestVersion, segmentBytes: number): Promise<Scene> {
  // A recovery asks for the segment that the last checkpoint began in: the fewer, the better to follow.
  const settings = { autovacuum: false, checkpoint_timeout: '1h' }
  const server = await makeCluster({ version, segmentBytes, settings })
  t.after(() => discardCluster(server))
  await server.start(deadline())
  await query(server.connection, 'CREATE TABLE t (id int PRIMARY KEY, text text)', deadline())
  await query(server.connection, "SELECT pg_create_physical_replication_slot('walferry', true)", deadline())
  await server.stop('fast', deadline())
  const copy = await copyOf(t, server)
  await server.start(deadline())
  const client = await connect(server)
  t.after(() => client.end())
  return { server, copy, client }
}

/** A copy of a stopped server, discarded at the end of the test. */
export async function copyOf(t: TestContext, cluster: Cluster): Promise<Cluster> {
  const copy = await copyCluster(cluster)
  t.after(() => discardCluster(copy))
  return copy
}

export interface Archiving {
  readonly receive: Receive
  /** The archive's folder. */
  readonly archive: string
}

/** Receives into a new folder, and ships as soon as it can. */
export async function archiveInFolder(t: TestContext, server: Cluster): Promise<Archiving> {
  const folder = await tempFolder(t)
  const archive = join(folder, 'archive')
  await mkdir(archive)
  const args = ['--ship-interval', '0']
  const receive = startReceive(t, { server: server.connection, store: archive, spool: join(folder, 'spool'), args })
  await receive.waitForReady(deadline())
  return { receive, archive }
}

/** One transaction; the texts can be told from each other, and from those of another `mark`. */
export async function insert(client: pg.Client, from: number, to: number, mark: string): Promise<void> {
  await client.query(`INSERT INTO t SELECT n, '${mark} ' || md5(n::text) FROM generate_series(${from}, ${to}) n`)
}

/** One row of that many random bytes, as text: WAL that does not become smaller. */
export async function insertLarge(client: pg.Client, id: number, bytes: number): Promise<void> {
  const md5s = `SELECT string_agg(md5(random()::text || n), '') FROM generate_series(1, ${Math.ceil(bytes / 32)}) n`
  await client.query(`INSERT INTO t VALUES (${id}, (${md5s}))`)
}

export async function allRows(client: pg.Client): Promise<Rows> {
  return await rows(client, 'SELECT id, text FROM t ORDER BY id')
}

export async function rowsOf(cluster: Cluster): Promise<Rows> {
  const client = await connect(cluster)
  try {
    return await allRows(client)
  } finally {
    await client.end()
  }
}

/** The end of the last commit. */
export async function flushedUpTo(client: pg.Client): Promise<Lsn> {
  return parseLsn(await value(client, 'SELECT pg_current_wal_flush_lsn()'))
}

/** Starts an archive recovery and waits until it has ended, and the server takes writes. */
export async function recover(cluster: Cluster, restoreCommand: string): Promise<void> {
  await cluster.setRecovery('recovery', { restore_command: restoreCommand })
  await cluster.start(deadline())
  await cluster.waitForPromotion(deadline())
}

/** Starts a recovery that has to fail with this exit code of fetch, and has not been taken for its end. */
export async function stops(cluster: Cluster, command: string, code: number, said: RegExp): Promise<void> {
  await cluster.setRecovery('recovery', { restore_command: command })
  await cluster.launch(deadline())
  assert.deepEqual(await cluster.waitForExit(deadline()), { code: 1, signal: null })
  const log = await cluster.log.read()
  assert.match(log, said)
  assert.match(log, new RegExp(`FATAL: {2}could not restore file ".*" from archive: .*${code}`))
  assert.doesNotMatch(log, /archive recovery complete|selected new timeline/)
  assert.ok((await readdir(cluster.dataFolder)).includes('recovery.signal'))
}

/** The history file that a server wrote for its timeline. */
export async function historyOf(cluster: Cluster, timeline: number): Promise<TimelineHistory> {
  return parseHistory(timeline, await readFile(join(cluster.dataFolder, 'pg_wal', historyName(timeline))))
}

/** Where the recovery ended: the end of the last record that was replayed. */
export async function recoveredUpTo(cluster: Cluster): Promise<Lsn | null> {
  return switchPointOf(await historyOf(cluster, 2), 1)
}
