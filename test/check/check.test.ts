/** The checks of a whole set-up, with real servers: good ones, and ones that lack something. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type pg from 'pg'
import { Archive } from '../../src/archive/archive.ts'
import { claimIdentity } from '../../src/archive/identity.ts'
import { checkAll } from '../../src/check/check.ts'
import type { Finding } from '../../src/check/finding.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { freePort } from '../../src/cluster/free-port.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { lockSpool } from '../../src/spool/lock.ts'
import { MadeWal } from '../restore/made-wal.ts'
import { MemoryStore } from '../support/memory-store.ts'
import {
  connect,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  rows,
  type TestVersion,
  testVersions,
  value,
} from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { tempFolder } from '../support/temp.ts'

const password = 'hunter2'
const hba = `
host all,replication keeper all scram-sha-256
host replication guest all trust
host all guest all reject
host all unlisted all trust
host replication unlisted all reject
local all,replication all trust
host all,replication all all trust
`
const settings = {
  wal_level: 'logical',
  max_slot_wal_keep_size: '1GB',
  synchronous_standby_names: 'FIRST 1 (other, walferry)',
  synchronous_commit: 'local',
}

interface Setting {
  readonly cluster: Cluster
  readonly sql: pg.Client
}

interface Call {
  /** Default: keeper, with its password. */
  readonly conninfo?: string
  readonly password?: string
  readonly slot?: string
  readonly spool?: string
  readonly store?: MemoryStore
}

async function startServer(version: TestVersion): Promise<Setting> {
  const cluster = await makeCluster({ version, segmentBytes: megabyte, settings })
  writeFileSync(join(cluster.folder, 'pg_hba.conf'), hba)
  await cluster.start(deadline())
  const sql = await connect(cluster)
  await sql.query(`
    SET password_encryption = 'scram-sha-256';
    CREATE ROLE keeper LOGIN REPLICATION PASSWORD '${password}';
    CREATE ROLE guest LOGIN REPLICATION;
    CREATE ROLE unlisted LOGIN REPLICATION;
    CREATE ROLE plain LOGIN`)
  return { cluster, sql }
}

/** Findings by name. Whatever is found, the password is not told, and every failure has a remedy. */
async function check(t: TestContext, { connection }: Cluster, call: Call = {}): Promise<Map<string, Finding>> {
  const conninfo = call.conninfo ?? `host=${connection.host} port=${connection.port} user=keeper`
  const target = parseTarget(`sslmode=disable ${conninfo}`, { PGPASSWORD: call.password ?? password })
  const spoolFolder = call.spool ?? join(await tempFolder(t), 'not', 'there')
  const config = { target, slot: call.slot ?? 'walferry', requireSlot: false, spoolFolder }
  const findings = await checkAll(config, new Archive(call.store ?? new MemoryStore()), deadline())
  assert.ok(!JSON.stringify(findings).includes(target.password ?? ''))
  for (const { name, state, remedy } of findings) if (state === 'failed') assert.ok(remedy, name)
  return new Map(findings.map((finding) => [finding.name, finding]))
}

/** Those that are not ok, as `name state`. */
function complaints(findings: ReadonlyMap<string, Finding>): string[] {
  return [...findings.values()].filter(({ state }) => state !== 'ok').map(({ name, state }) => `${name} ${state}`)
}

async function checkRoles(t: TestContext, { cluster, sql }: Setting, { major }: TestVersion): Promise<void> {
  const { host, port } = cluster.connection
  const at = `host=${host} port=${port}`

  await t.test('a set-up that is good passes every check, and nothing is created', async (t) => {
    const store = new MemoryStore()
    const parent = await tempFolder(t)
    const findings = await check(t, cluster, { store, spool: join(parent, 'spool') })
    assert.deepEqual(complaints(findings), [])
    assert.equal(findings.get('connection')?.what, `${host}:${port}, without TLS`)
    const version = (await value(sql, 'SHOW server_version')).split(' ')[0]
    assert.equal(findings.get('version')?.what, `PostgreSQL ${version}`)
    const systemIdentifier = await value(sql, 'SELECT system_identifier FROM pg_control_system()')
    assert.match(
      findings.get('identity')?.what ?? '',
      new RegExp(`identifier ${systemIdentifier}, segments of 1 MB; .*nobody`),
    )
    assert.deepEqual([store.keys, await readdir(parent)], [[], []])
    assert.equal(await value(sql, 'SELECT count(*) FROM pg_replication_slots'), '0')
  })

  await t.test('a wrong password fails the connection, and the store is looked at all the same', async (t) => {
    const findings = await check(t, cluster, { password: 'not-the-one' })
    const { state, what, remedy } = findings.get('connection') ?? assert.fail()
    assert.equal(state, 'failed')
    assert.match(what, /password authentication failed/)
    assert.match(remedy ?? '', /PGPASS/)
    assert.equal(findings.get('wal_level')?.state, 'skipped')
    assert.equal(findings.get('store condition')?.state, 'ok')
    assert.equal(findings.get('identity')?.state, 'skipped')
  })

  await t.test('a role without REPLICATION fails the privileges; the settings are told by the other way', async (t) => {
    const findings = await check(t, cluster, { conninfo: `${at} user=plain` })
    assert.deepEqual(complaints(findings), ['privileges failed', 'identity skipped'])
    assert.match(findings.get('privileges')?.remedy ?? '', /ALTER ROLE .* REPLICATION/)
  })

  await t.test('a role without a line for replication in pg_hba.conf is told to add one', async (t) => {
    const findings = await check(t, cluster, { conninfo: `${at} user=unlisted` })
    assert.deepEqual(complaints(findings), ['privileges failed', 'identity skipped'])
    assert.match(findings.get('privileges')?.remedy ?? '', /pg_hba\.conf .*"replication"/)
  })

  await t.test('a role that may replicate and nothing else passes with a warning', async (t) => {
    const findings = await check(t, cluster, { conninfo: `${at} user=guest` })
    // Before 15, a slot is read by SQL alone.
    const unread = major < 15 ? ['slot skipped'] : []
    assert.deepEqual(complaints(findings), ['privileges warning', ...unread, 'clock skipped'])
  })

  await t.test('a superuser passes with a warning', async (t) => {
    assert.deepEqual(complaints(await check(t, cluster, { conninfo: `${at} user=postgres` })), ['privileges warning'])
  })
}

async function checkRest(t: TestContext, { cluster, sql }: Setting): Promise<void> {
  const { host, port } = cluster.connection

  await t.test('a slot of another kind fails, by SQL and without it', async (t) => {
    await sql.query("SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')")
    const findings = await check(t, cluster, { slot: 'decoded' })
    assert.deepEqual(complaints(findings), ['slot failed'])
    assert.match(findings.get('slot')?.what ?? '', /logical/)
    await sql.query("SELECT pg_drop_replication_slot('decoded')")
  })

  await t.test('a slot that is there is told with what it keeps, or that it keeps nothing', async (t) => {
    await sql.query("SELECT pg_create_physical_replication_slot('empty')")
    await sql.query("SELECT pg_create_physical_replication_slot('keeps', true)")
    const lsn = await value(sql, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'keeps'")
    assert.equal((await check(t, cluster, { slot: 'empty' })).get('slot')?.state, 'warning')
    assert.equal((await check(t, cluster, { slot: 'keeps' })).get('slot')?.what, `keeps keeps WAL from ${lsn} on`)
    await rows(sql, 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots')
  })

  await t.test('remote_apply of a single role fails, because walferry may be a synchronous standby', async (t) => {
    await sql.query("ALTER ROLE plain SET synchronous_commit = 'remote_apply'")
    const findings = await check(t, cluster)
    assert.deepEqual(complaints(findings), ['synchronous failed'])
    assert.match(findings.get('synchronous')?.what ?? '', /\(role plain\)/)
    await sql.query('ALTER ROLE plain RESET synchronous_commit')
  })

  await t.test('other hosts are named: one that is away, and one without the slot', async (t) => {
    const other = await TcpProxy.open(t, cluster.connection)
    const gone = await freePort()
    const conninfo = `host=${host},${host},${host} port=${port},${other.port},${gone} user=keeper`
    const findings = await check(t, cluster, { conninfo })
    assert.deepEqual(complaints(findings), [`host ${host}:${other.port} warning`, `host ${host}:${gone} warning`])
    assert.match(findings.get(`host ${host}:${other.port}`)?.what ?? '', /has no slot walferry/)
  })

  await t.test('an archive and a spool of another cluster fail', async (t) => {
    const store = new MemoryStore()
    const foreign = { systemIdentifier: '42', segmentBytes: megabyte }
    await claimIdentity(new Archive(store), foreign, { now: new Date(), signal: deadline() })
    const findings = await check(t, cluster, { store })
    assert.deepEqual(complaints(findings), ['identity failed'])
    assert.match(findings.get('identity')?.what ?? '', /42/)

    const spool = await tempFolder(t)
    await writeFile(
      join(spool, '000000010000000000000001'),
      new MadeWal({ systemIdentifier: 43n }).fillTo(megabyte * 2, 'a').segment(1),
    )
    const inSpool = await check(t, cluster, { spool })
    assert.deepEqual(complaints(inSpool), ['identity failed'])
    assert.match(inSpool.get('identity')?.what ?? '', /43/)
    assert.deepEqual(await readdir(spool), ['000000010000000000000001'])
  })

  await t.test('a store that fails leaves open whose archive it is', async (t) => {
    const store = new MemoryStore()
    store.before = () => {
      throw new WalferryError('STORE_DENIED', 'no', { hint: 'Ask for it.' })
    }
    const skipped = ['store read skipped', 'store list skipped', 'store delete skipped', 'store condition skipped']
    assert.deepEqual(complaints(await check(t, cluster, { store })), [
      'store write failed',
      ...skipped,
      'identity skipped',
    ])
  })

  await t.test('a spool that a receiver is running with is told, and not disturbed', async (t) => {
    const spool = await tempFolder(t)
    const lock = await lockSpool(spool)
    t.after(() => lock.close())
    const findings = await check(t, cluster, { spool })
    assert.deepEqual(complaints(findings), [])
    assert.match(findings.get('spool')?.what ?? '', /a receiver is running with it/)
    assert.deepEqual(await readdir(spool), ['lock'])
  })

  await t.test('a spool that cannot be a folder fails, with the reason', async (t) => {
    const file = join(await tempFolder(t), 'file')
    await writeFile(file, '')
    for (const spool of [file, join(file, 'below')]) {
      const findings = await check(t, cluster, { spool })
      assert.deepEqual(complaints(findings), ['spool failed', 'spool space skipped'])
      assert.match(findings.get('spool')?.what ?? '', /ENOTDIR/)
    }
  })
}

async function checkMinimal(t: TestContext, { cluster, sql }: Setting): Promise<void> {
  await t.test('wal_level = minimal without senders fails just there', async (t) => {
    await sql.end()
    await cluster.stop('fast', deadline())
    const off = { fsync: false, full_page_writes: false, wal_sender_timeout: 0 }
    await cluster.configure({ wal_level: 'minimal', max_wal_senders: 0, ...off })
    await cluster.start(deadline())
    assert.deepEqual(complaints(await check(t, cluster)), [
      'privileges skipped',
      'wal_level failed',
      'max_wal_senders failed',
      'wal_sender_timeout warning',
      'durability warning',
      'identity skipped',
    ])
  })
}

for (const version of await testVersions()) {
  test(`check with PostgreSQL ${version.major}`, async (t) => {
    const setting = await startServer(version)
    t.after(() => discardCluster(setting.cluster))
    await checkRoles(t, setting, version)
    await checkRest(t, setting)
    await checkMinimal(t, setting)
  })
}
