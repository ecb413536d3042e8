/**
 * Asks the server for all that the checks look at, and changes nothing there.
 *
 * A physical replication connection takes no SQL, and an ordinary one may not be allowed: each is tried, settings come
 * from whichever there is, and what only SQL can tell is null where there is none.
 */
import pg from 'pg'
import { isError, type WalferryError } from '../kit/errors.ts'
import { ReplicationClient, type ServerIdentity, type SlotState } from '../pg/replication-client.ts'
import { serverError } from '../pg/server-errors.ts'
import { SqlClient } from '../pg/sql-client.ts'
import { describeHost, type Target } from '../pg/target.ts'

const settingNames = [
  'server_version',
  'wal_level',
  'max_wal_senders',
  'max_replication_slots',
  'max_slot_wal_keep_size',
  'wal_sender_timeout',
  'fsync',
  'full_page_writes',
  'synchronous_standby_names',
  'synchronous_commit',
] as const

/** As SHOW writes them. */
export type Settings = Readonly<Record<(typeof settingNames)[number], string>>

/** A connection that was made, or why not. */
export type Attempt = { readonly host: string; readonly tlsVersion: string | null } | { readonly error: WalferryError }

export interface ServerFacts {
  readonly replication: Attempt
  readonly ordinary: Attempt
  /** Null without any connection. */
  readonly settings: Settings | null
  /** Null without a replication connection. */
  readonly identity: ServerIdentity | null
  /** Null without any connection. */
  readonly slot: SlotFacts | null
  /** Null without an ordinary connection. */
  readonly sql: SqlFacts | null
  /** Those of the target that the connection does not lead to. */
  readonly otherHosts: readonly HostFacts[]
}

/** `seen`: by SQL, with its health. `read`: by the replication protocol, which tells less. */
export type SlotFacts =
  | { readonly by: 'sql'; readonly seen: SeenSlot | null }
  | { readonly by: 'protocol'; readonly read: SlotState | { readonly error: WalferryError } }

/** A row of pg_replication_slots. */
export interface SeenSlot {
  readonly type: string
  /** The process that streams from it. */
  readonly activePid: string | null
  readonly restartLsn: string | null
  readonly walStatus: string | null
  /** From 17 on. */
  readonly invalidation: string | null
}

export interface SqlFacts {
  readonly isSuperuser: boolean
  /** How many there are now. */
  readonly senders: number
  readonly slots: number
  /** Roles and databases with synchronous_commit = remote_apply of their own: `role app`, `database shop`. */
  readonly remoteApply: readonly string[]
  readonly clock: ClockFacts
}

/** The server's clock, and ours before and after it was asked; milliseconds since 1970. */
export interface ClockFacts {
  readonly serverMs: number
  readonly beforeMs: number
  readonly afterMs: number
}

export interface HostFacts {
  readonly host: string
  readonly found: { readonly systemIdentifier: bigint; readonly slot: SlotState } | { readonly error: WalferryError }
}

type Replicated = Pick<ServerFacts, 'replication' | 'settings' | 'identity'> & {
  /** Narrowed to the server that was connected, so that the second connection goes there, too. */
  readonly target: Target
  readonly read: SlotState | { readonly error: WalferryError } | null
}

/** Rejects only with the signal's reason. */
export async function askServer(target: Target, slot: string, signal: AbortSignal): Promise<ServerFacts> {
  const first = await replicated(target, slot, signal)
  // Whom the first one did not reach, the second one would wait for in vain, too.
  const second: Ordinary = isReached(first.replication)
    ? await ordinary(first.target, slot, signal)
    : { ordinary: first.replication, settings: null, sql: null }
  const { replication, identity } = first
  const connected = 'host' in replication ? replication.host : 'host' in second.ordinary ? second.ordinary.host : null
  const others = connected === null ? [] : target.hosts.filter((host) => describeHost(host) !== connected)
  const bySql: SlotFacts | null = second.seen === undefined ? null : { by: 'sql', seen: second.seen }
  const byProtocol: SlotFacts | null = first.read === null ? null : { by: 'protocol', read: first.read }
  return {
    replication,
    ordinary: second.ordinary,
    settings: first.settings ?? second.settings,
    identity,
    slot: bySql ?? byProtocol,
    sql: second.sql,
    otherHosts: await Promise.all(others.map((host) => askOther({ ...target, hosts: [host] }, slot, signal))),
  }
}

async function replicated(target: Target, slot: string, signal: AbortSignal): Promise<Replicated> {
  let client: ReplicationClient | null = null
  try {
    client = await ReplicationClient.connect(target, signal)
    const { host, tlsVersion } = client
    const identity = await client.identify(signal)
    const settings = await readSettings(client, signal)
    const read = await orError(client.readSlot(slot, signal), signal)
    return { replication: { host, tlsVersion }, settings, identity, read, target: client.target }
  } catch (error) {
    signal.throwIfAborted()
    return {
      replication: { error: serverError(error, 'ask the server') },
      settings: null,
      identity: null,
      read: null,
      target,
    }
  } finally {
    await client?.close()
  }
}

/** It was connected, or a server has refused it: that has an SQLSTATE. */
function isReached(attempt: Attempt): boolean {
  return 'host' in attempt || attempt.error.fields['sqlstate'] !== undefined
}

type Ordinary = Pick<ServerFacts, 'ordinary' | 'settings' | 'sql'> & {
  /** Undefined: not asked. */
  readonly seen?: SeenSlot | null
}

async function ordinary(target: Target, slot: string, signal: AbortSignal): Promise<Ordinary> {
  let client: SqlClient | null = null
  try {
    client = await SqlClient.connect(target, signal)
    const { host, tlsVersion } = client
    return {
      ordinary: { host, tlsVersion },
      settings: await readSettings(client, signal),
      sql: await askBySql(client, signal),
      seen: await seeSlot(client, slot, signal),
    }
  } catch (error) {
    signal.throwIfAborted()
    return { ordinary: { error: serverError(error, 'ask the server') }, settings: null, sql: null }
  } finally {
    await client?.close()
  }
}

async function readSettings(client: ReplicationClient | SqlClient, signal: AbortSignal): Promise<Settings> {
  const values: Partial<Record<keyof Settings, string>> = {}
  for (const name of settingNames) values[name] = await client.show(name, signal)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every name has its value now
  return values as Settings
}

async function askBySql(client: SqlClient, signal: AbortSignal): Promise<SqlFacts> {
  const ask = async (sql: string, doing: string): Promise<string[]> =>
    (await client.rows(sql, doing, signal)).map((row) => row['value'] ?? '')
  const count = async (view: string): Promise<number> =>
    Number((await ask(`SELECT count(*) AS value FROM pg_catalog.${view}`, `count ${view}`))[0])
  const superuser = await ask(
    'SELECT rolsuper AS value FROM pg_catalog.pg_roles WHERE rolname = current_user',
    'look at the role',
  )
  const remoteApply = await ask(
    `SELECT concat_ws(' in ', 'role ' || quote_ident(rolname), 'database ' || quote_ident(datname)) AS value
     FROM pg_catalog.pg_db_role_setting
     LEFT JOIN pg_catalog.pg_roles r ON r.oid = setrole LEFT JOIN pg_catalog.pg_database d ON d.oid = setdatabase
     WHERE 'synchronous_commit=remote_apply' = ANY (setconfig) ORDER BY 1`,
    'look at the settings of roles and databases',
  )
  const senders = await count('pg_stat_replication')
  const slots = await count('pg_replication_slots')
  const beforeMs = Date.now()
  const [serverMs] = await ask('SELECT extract(epoch FROM clock_timestamp()) * 1000 AS value', 'read the clock')
  const clock = { serverMs: Number(serverMs), beforeMs, afterMs: Date.now() }
  return { isSuperuser: superuser[0] === 't', senders, slots, remoteApply, clock }
}

async function seeSlot(client: SqlClient, slot: string, signal: AbortSignal): Promise<SeenSlot | null> {
  const [row] = await client.rows(
    // By way of JSON, because the column is missing before 17.
    `SELECT slot_type, active_pid, restart_lsn, wal_status, to_jsonb(s) ->> 'invalidation_reason' AS invalidation
     FROM pg_catalog.pg_replication_slots s WHERE slot_name = ${pg.escapeLiteral(slot)}`,
    `read the slot "${slot}"`,
    signal,
  )
  if (row === undefined) return null
  return {
    type: row['slot_type'] ?? '',
    activePid: row['active_pid'] ?? null,
    restartLsn: row['restart_lsn'] ?? null,
    walStatus: row['wal_status'] ?? null,
    invalidation: row['invalidation'] ?? null,
  }
}

/** Whatever target_session_attrs asks for: after a failover, it is this one's turn. */
async function askOther(target: Target, slot: string, signal: AbortSignal): Promise<HostFacts> {
  const host = target.hosts.map(describeHost).join(', ')
  const ask = async (): Promise<{ systemIdentifier: bigint; slot: SlotState }> => {
    const client = await ReplicationClient.connect({ ...target, sessionAttrs: 'any' }, signal)
    try {
      const { systemIdentifier } = await client.identify(signal)
      return { systemIdentifier, slot: await client.readSlot(slot, signal) }
    } finally {
      await client.close()
    }
  }
  return { host, found: await orError(ask(), signal) }
}

async function orError<T>(asked: Promise<T>, signal: AbortSignal): Promise<T | { readonly error: WalferryError }> {
  try {
    return await asked
  } catch (error) {
    signal.throwIfAborted()
    if (isError(error)) return { error }
    throw error
  }
}
