/**
 * A server and copies of it from before it wrote anything, which follow it as standbys, or recover from an archive.
 *
 *     const { server, base } = await startWithBase(t, version)
 *     const standby = await copyOf(t, base)
 *     await follow(standby, server)
 *     ...
 *     await recoverLatest(base, restoreCommand(['--store', archive]))
 *     assert.equal(await rowsOf(base), await rowsOf(standby))
 */
import type { TestContext } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import type { Settings } from '../../src/cluster/settings.ts'
import { sleep } from '../../src/kit/abort.ts'
import { type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  type TestVersion,
  value,
} from '../support/postgres.ts'
import { segmentBytes, settings } from './server.ts'

export interface WithBase {
  /** Runs, and has a table `t (n int, text text)`. */
  readonly server: Cluster
  /** As it was before the table. Not started. */
  readonly base: Cluster
}

/** Both are discarded at the end of the test. */
export async function startWithBase(t: TestContext, version: TestVersion): Promise<WithBase> {
  const server = await makeCluster({ version, segmentBytes, settings })
  t.after(() => discardCluster(server))
  const base = await copyOf(t, server)
  await server.start(deadline())
  const client = await connect(server)
  await client.query('CREATE TABLE t (n int, text text)')
  await client.end()
  return { server, base }
}

/** A copy of a stopped server, discarded at the end of the test. */
export async function copyOf(t: TestContext, cluster: Cluster): Promise<Cluster> {
  const copy = await copyCluster(cluster)
  t.after(() => discardCluster(copy))
  return copy
}

/** Starts a copy as a standby of the server. */
export async function follow(standby: Cluster, server: Cluster, more: Settings = {}): Promise<void> {
  await standby.setRecovery('standby', { primary_conninfo: server.conninfo, ...more })
  await standby.start(deadline())
}

export async function untilReplayed(standby: pg.Client, lsn: Lsn): Promise<void> {
  const signal = deadline()
  const sql = "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')"
  while (parseLsn(await value(standby, sql)) < lsn) await sleep(5, signal)
}

/** Recovers a copy with an archive, to the end of its newest line. */
export async function recoverLatest(copy: Cluster, restoreCommand: string): Promise<void> {
  await copy.setRecovery('recovery', { restore_command: restoreCommand, recovery_target_timeline: 'latest' })
  await copy.start(deadline())
  await copy.waitForPromotion(deadline())
}

/** What tells one state of the table from another: how many rows, and a digest of all. */
export async function rowsOf(cluster: Cluster): Promise<string> {
  const client = await connect(cluster)
  try {
    return await value(
      client,
      "SELECT count(*) || ' ' || coalesce(md5(string_agg(n || text, ',' ORDER BY n, text)), '') FROM t",
    )
  } finally {
    await client.end()
  }
}
