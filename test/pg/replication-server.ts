/** A server for the tests of a replication connection, with roles that may and may not, and what all of them ask. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { sleep } from '../../src/kit/abort.ts'
import { describe, type ErrorCode, isError } from '../../src/kit/errors.ts'
import { ReplicationClient } from '../../src/pg/replication-client.ts'
import { parseTarget, type Target } from '../../src/pg/target.ts'
import { type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import {
  connect,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  type TestVersion,
  value,
} from '../support/postgres.ts'

export interface Server {
  readonly cluster: Cluster
  readonly version: TestVersion
  readonly sql: pg.Client
}

/** Who may connect: `scram` with a password, `guest` for replication only, all others freely. */
const hba = `
host all,replication scram all scram-sha-256
host replication guest all trust
host all guest all reject
host replication stranger all reject
local all,replication all trust
host all,replication all all trust
`
export const password = 'hunter2'

async function startServer(version: TestVersion): Promise<Server> {
  const settings = { wal_level: 'logical', min_wal_size: '2MB', max_wal_size: '4MB', wal_sender_timeout: '90500ms' }
  const cluster = await makeCluster({ version, segmentBytes: megabyte, settings })
  await cluster.start(deadline())
  const sql = await connect(cluster)
  writeFileSync(await value(sql, 'SHOW hba_file'), hba)
  await sql.query(`
    SET password_encryption = 'scram-sha-256';
    CREATE ROLE scram LOGIN REPLICATION PASSWORD '${password}';
    CREATE ROLE guest LOGIN REPLICATION;
    CREATE ROLE stranger LOGIN REPLICATION;
    CREATE ROLE nobody LOGIN`)
  await sql.query('SELECT pg_reload_conf()')
  // A role that cannot come in any more shows that the server reads by the new rules.
  await eventually(async () => {
    const client = await ReplicationClient.connect(
      targetOf(cluster.connection, { user: 'stranger' }),
      deadline(),
    ).catch(() => null)
    await client?.close()
    return client === null
  })
  return { cluster, version, sql }
}

export function targetOf(
  place: { readonly host: string; readonly port: number },
  change: Partial<Target> = {},
): Target {
  const target = parseTarget('user=postgres sslmode=disable', {})
  return { ...target, hosts: [{ name: place.host, address: null, port: place.port }], ...change }
}

export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const signal = deadline()
  while (!(await condition())) await sleep(10, signal)
}

/** Changes settings of a running server; it takes them over a moment later. */
export async function reload(sql: pg.Client, settings: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(settings)) await sql.query(`ALTER SYSTEM SET ${name} = '${text}'`)
  await sql.query('SELECT pg_reload_conf()')
}

/** A client that is closed after the test. */
export async function openClient(
  t: TestContext,
  place: { host: string; port: number },
  change?: Partial<Target>,
): Promise<ReplicationClient> {
  const client = await ReplicationClient.connect(targetOf(place, change), deadline())
  t.after(() => client.close())
  return client
}

export async function currentLsn(sql: pg.Client): Promise<Lsn> {
  return parseLsn(await value(sql, 'SELECT pg_current_wal_flush_lsn()'))
}

/** Rejected with this code, says what to do where `hint` asks for it, and never tells the password. */
export function refusedAs(
  code: ErrorCode,
  about: RegExp,
  more: { retryable?: boolean; hint?: RegExp; sqlstate?: string } = {},
) {
  return (error: unknown): boolean => {
    assert.ok(isError(error), `an error of ours: ${describe(error)}`)
    const told = `${describe(error)} [${error.code}] hint: ${error.hint} ${JSON.stringify(error.fields)}`
    assert.equal(error.code, code, told)
    assert.match(describe(error), about)
    assert.equal(error.retryable, more.retryable ?? false, `retryable: ${told}`)
    if (more.hint !== undefined) assert.match(error.hint ?? '', more.hint, told)
    if (more.sqlstate !== undefined) assert.equal(error.fields['sqlstate'], more.sqlstate)
    assert.ok(!told.includes(password), 'no secret')
    return true
  }
}

/** Starts such a server, and discards it after `use`, whatever came of it. */
export async function withServer(version: TestVersion, use: (server: Server) => Promise<void>): Promise<void> {
  const server = await startServer(version)
  try {
    await use(server)
  } finally {
    await server.sql.end()
    await discardCluster(server.cluster)
  }
}
