import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { orAbort, sleep } from '../../src/kit/abort.ts'
import { describe, type ErrorCode, isError, WalferryError } from '../../src/kit/errors.ts'
import { ReplicationClient, type StreamEnd } from '../../src/pg/replication-client.ts'
import { type Target, parseTarget } from '../../src/pg/target.ts'
import { asLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { offsetIn, segmentName, segmentStart, segnoOf } from '../../src/wal/segment.ts'
import { connect, deadline, discardCluster, makeCluster, megabyte, rows, type TestVersion, testVersions, value } from '../support/postgres.ts'
import { stalled, TcpProxy } from '../support/tcp-proxy.ts'
import { tempFolder } from '../support/temp.ts'
import { WalCollector } from '../support/wal-collector.ts'

interface Server {
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
const password = 'hunter2'

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
    const client = await ReplicationClient.connect(targetOf(cluster.connection, { user: 'stranger' }), deadline()).catch(() => null)
    await client?.close()
    return client === null
  })
  return { cluster, version, sql }
}

function targetOf(place: { readonly host: string; readonly port: number }, change: Partial<Target> = {}): Target {
  const target = parseTarget('postgres://postgres@localhost/?sslmode=disable', {})
  return { ...target, host: place.host, port: place.port, ...change }
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const signal = deadline()
  while (!(await condition())) await sleep(10, signal)
}

/** Changes settings of a running server; it takes them over a moment later. */
async function reload(sql: pg.Client, settings: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(settings)) await sql.query(`ALTER SYSTEM SET ${name} = '${text}'`)
  await sql.query('SELECT pg_reload_conf()')
}

/** A client that is closed after the test. */
async function openClient(t: TestContext, place: { host: string; port: number }, change?: Partial<Target>): Promise<ReplicationClient> {
  const client = await ReplicationClient.connect(targetOf(place, change), deadline())
  t.after(() => client.close())
  return client
}

async function currentLsn(sql: pg.Client): Promise<Lsn> {
  return parseLsn(await value(sql, 'SELECT pg_current_wal_flush_lsn()'))
}

/** Writes so much WAL, durably, and returns its end. */
async function writeWal(sql: pg.Client, megabytes: number): Promise<Lsn> {
  for (let n = 0; n < megabytes; n++) {
    await sql.query(`SELECT pg_logical_emit_message(false, 'walferry', repeat(md5('${n}'), 32768))`)
  }
  await sql.query('CREATE TABLE IF NOT EXISTS moved (); DROP TABLE moved') // a commit flushes
  return await currentLsn(sql)
}

function startOfSegment(lsn: Lsn): Lsn {
  return segmentStart(segnoOf(lsn, megabyte), megabyte)
}

/** Rejected with this code, says what to do where `hint` asks for it, and never tells the password. */
function refusedAs(code: ErrorCode, about: RegExp, more: { retryable?: boolean; hint?: RegExp; sqlstate?: string } = {}) {
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

for (const version of await testVersions()) {
  test(`a replication connection to PostgreSQL ${version.major}`, async (t) => {
    const server = await startServer(version)
    try {
      await lookingAround(t, server)
      await slots(t, server)
      await connecting(t, server)
      await questionsBeside(t, server)
      await streaming(t, server)
      await removedWal(t, server)
      await endOfTimeline(t, server)
      await endOfServer(t, server)
    } finally {
      await server.sql.end()
      await discardCluster(server.cluster)
    }
  })
}

async function lookingAround(t: TestContext, { cluster, version, sql }: Server): Promise<void> {
  await t.test('identify tells what the server says of itself', async (t) => {
    const client = await openClient(t, cluster.connection)
    const before = await currentLsn(sql)
    const identity = await client.identify(deadline())
    assert.equal(client.majorVersion, version.major)
    assert.equal(String(identity.systemIdentifier), await value(sql, 'SELECT system_identifier FROM pg_control_system()'))
    assert.equal(identity.timeline, 1)
    assert.equal(identity.segmentBytes, megabyte)
    assert.ok(identity.flushedUpTo >= before && identity.flushedUpTo <= (await currentLsn(sql)))
  })

  await t.test('settings are read with their units', async (t) => {
    const client = await openClient(t, cluster.connection)
    assert.match(await client.show('server_version', deadline()), new RegExp(`^${version.major}\\.`))
    assert.equal(await client.walSenderTimeoutMs(deadline()), 90_500)
    assert.equal(await client.slotKeepBytes(deadline()), null)
  })

  await t.test('a setting that is not there is refused, and the connection goes on', async (t) => {
    const client = await openClient(t, cluster.connection)
    await assert.rejects(client.show('nonsense', deadline()), refusedAs('PG_REFUSED', /read the setting nonsense.*nonsense/, { sqlstate: '42704' }))
    assert.equal((await client.identify(deadline())).timeline, 1)
  })

  for (const [set, timeoutMs, keepBytes] of [
    ['0', 0, 0],
    ['1min', 60_000, megabyte],
    ['2h', 7_200_000, 64 * megabyte],
    ['1d', 86_400_000, 1024 ** 4],
  ] as const) {
    await t.test(`wal_sender_timeout=${set} and max_slot_wal_keep_size=${keepBytes / megabyte}MB are understood`, async (t) => {
      await reload(sql, { wal_sender_timeout: set, max_slot_wal_keep_size: `${keepBytes / megabyte}MB` })
      t.after(() => reload(sql, { wal_sender_timeout: '90500ms', max_slot_wal_keep_size: '-1' }))
      await eventually(async () => {
        const client = await ReplicationClient.connect(targetOf(cluster.connection), deadline())
        const found = [await client.walSenderTimeoutMs(deadline()), await client.slotKeepBytes(deadline())]
        await client.close()
        return found[0] === timeoutMs && found[1] === keepBytes
      })
    })
  }
}

async function slots(t: TestContext, { cluster, version, sql }: Server): Promise<void> {
  await t.test('a slot is missing, unreserved, reserved and missing again, as it stands', async (t) => {
    const client = await openClient(t, cluster.connection)
    assert.deepEqual(await client.readSlot('s', deadline()), { state: 'missing' })
    await sql.query("SELECT pg_create_physical_replication_slot('s')")
    assert.deepEqual(await client.readSlot('s', deadline()), { state: 'unreserved' })
    await client.dropSlot('s', deadline())
    assert.deepEqual(await client.readSlot('s', deadline()), { state: 'missing' })
    await client.createSlot('s', deadline())
    const restartLsn = parseLsn(await value(sql, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 's'"))
    const restartTimeline = version.major < 15 ? null : 1
    assert.deepEqual(await client.readSlot('s', deadline()), { state: 'reserved', restartLsn, restartTimeline })
    await client.dropSlot('s', deadline())
  })

  await t.test('a slot that is there already is not created again', async (t) => {
    const client = await openClient(t, cluster.connection)
    await client.createSlot('s', deadline())
    await assert.rejects(client.createSlot('s', deadline()), refusedAs('PG_REFUSED', /create the slot "s"/, { sqlstate: '42710' }))
    await client.dropSlot('s', deadline())
  })

  await t.test('dropping a slot that is not there is refused', async (t) => {
    const client = await openClient(t, cluster.connection)
    await assert.rejects(client.dropSlot('s', deadline()), refusedAs('PG_REFUSED', /drop the slot "s"/, { sqlstate: '42704' }))
  })

  await t.test('a logical slot is refused', async (t) => {
    const client = await openClient(t, cluster.connection)
    await sql.query("SELECT pg_create_logical_replication_slot('l', 'test_decoding')").catch(async () => {
      // The plugin is not in every build; the output plugin of core is.
      await sql.query("SELECT pg_create_logical_replication_slot('l', 'pgoutput')")
    })
    await assert.rejects(client.readSlot('l', deadline()), refusedAs('PG_REFUSED', /"l"/))
    await sql.query("SELECT pg_drop_replication_slot('l')")
  })

  await t.test('a name with quotes is a name, and no command', async (t) => {
    const client = await openClient(t, cluster.connection)
    for (const name of [`a"b`, `a'b`, `a\\'; DROP TABLE t; --`]) {
      const read = await client.readSlot(name, deadline()).catch((error: unknown) => error)
      if (isError(read)) refusedAs('PG_REFUSED', /slot/)(read)
      else assert.deepEqual(read, { state: 'missing' })
    }
    await assert.rejects(client.createSlot('a"b', deadline()), refusedAs('PG_REFUSED', /a"b/))
  })

  await t.test('a slot that another connection streams from is in use', async (t) => {
    const [one, other] = [await openClient(t, cluster.connection), await openClient(t, cluster.connection)]
    await one.createSlot('s', deadline())
    const start = await currentLsn(sql)
    const streaming = new WalCollector(one, { slot: 's', start })
    const hands = await streaming.streaming(deadline())
    const inUse = refusedAs('SLOT_IN_USE', /"s" is active/, { retryable: true, hint: /goes on as soon as/, sqlstate: '55006' })
    await assert.rejects(new WalCollector(other, { slot: 's', start }).ended, inUse)
    await assert.rejects(other.dropSlot('s', deadline()), inUse)
    hands.stop()
    await streaming.ended
    await other.dropSlot('s', deadline())
  })
}

async function connecting(t: TestContext, { cluster }: Server): Promise<void> {
  const place = cluster.connection
  const attempt = (change: Partial<Target>): Promise<ReplicationClient> => ReplicationClient.connect(targetOf(place, change), deadline())
  const wrong = { retryable: false, hint: /PGPASSWORD|PGPASSFILE/ }

  await t.test('the right password lets in, over SCRAM', async (t) => {
    const client = await openClient(t, place, { user: 'scram', password })
    assert.equal((await client.identify(deadline())).timeline, 1)
  })

  await t.test('a wrong password is refused, with a hint and without the password', async () => {
    const guess = attempt({ user: 'scram', password: `${password}3` })
    await assert.rejects(guess, refusedAs('PG_REFUSED', /connect to .*password authentication failed/, { ...wrong, sqlstate: '28P01' }))
  })

  await t.test('no password where one is due is refused, with a hint', async (t) => {
    await withPasswordFile(t, '')
    await assert.rejects(attempt({ user: 'scram' }), refusedAs('PG_REFUSED', /password/, wrong))
  })

  await t.test('the password file is asked for the database "replication"', async (t) => {
    await withPasswordFile(t, `*:*:postgres:scram:wrong\n${place.host}:${place.port}:replication:scram:${password}\n`)
    await openClient(t, place, { user: 'scram' })
  })

  await t.test('a role that pg_hba.conf turns away is refused, with a hint', async () => {
    await assert.rejects(attempt({ user: 'stranger' }), refusedAs('PG_REFUSED', /stranger/, { hint: /pg_hba\.conf/, sqlstate: '28000' }))
  })

  await t.test('a role without REPLICATION is refused, with a hint', async () => {
    await assert.rejects(attempt({ user: 'nobody' }), refusedAs('PG_REFUSED', /connect to/, { hint: /REPLICATION/, sqlstate: '42501' }))
  })

  await t.test('a role that is not there is refused', async () => {
    await assert.rejects(attempt({ user: 'who' }), refusedAs('PG_REFUSED', /"who" does not exist/))
  })

  await t.test('sslmode=require is refused by a server without TLS, and sslmode=prefer goes on without', async (t) => {
    await assert.rejects(attempt({ sslMode: 'require' }), (error) => isError(error) && /SSL/.test(error.message))
    await openClient(t, place, { sslMode: 'prefer' })
    await openClient(t, place, { sslMode: 'allow' })
  })
}

/** Points PGPASSFILE at a file of this content until the test ends. */
async function withPasswordFile(t: TestContext, content: string): Promise<void> {
  const path = join(await tempFolder(t), 'pgpass')
  writeFileSync(path, content)
  chmodSync(path, 0o600)
  const before = process.env['PGPASSFILE']
  process.env['PGPASSFILE'] = path
  t.after(() => {
    if (before === undefined) delete process.env['PGPASSFILE']
    else process.env['PGPASSFILE'] = before
  })
}

/** What a replication connection cannot be asked goes over an ordinary one, which may be forbidden, or break. */
async function questionsBeside(t: TestContext, { cluster, version }: Server): Promise<void> {
  await t.test('a primary is not in recovery', async (t) => {
    const client = await openClient(t, cluster.connection)
    assert.equal(await client.isInRecovery(deadline()), false)
  })

  await t.test('where ordinary connections are forbidden, what they would tell is unknown', async (t) => {
    const client = await openClient(t, cluster.connection, { user: 'guest' })
    assert.equal(await client.isInRecovery(deadline()), null)
    const state = await client.readSlot('s', deadline())
    assert.deepEqual(state, { state: version.major < 15 ? 'unreadable' : 'missing' })
  })

  await t.test('an ordinary connection that breaks is a lost connection, not an answer', async (t) => {
    const proxy = await TcpProxy.open(t, cluster.connection)
    const client = await openClient(t, proxy)
    proxy.refuses = true
    await assert.rejects(client.isInRecovery(deadline()), refusedAs('PG_CONNECTION_LOST', /recovery|connect/, { retryable: true }))
    if (version.major >= 15) return
    await assert.rejects(client.readSlot('s', deadline()), refusedAs('PG_CONNECTION_LOST', /slot|connect/, { retryable: true }))
  })

  await t.test('an abort ends a question that is not answered, with its reason', async (t) => {
    const { port, asked } = await silentBeside(t, cluster)
    const client = await openClient(t, { host: '127.0.0.1', port })
    const controller = new AbortController()
    const stopped = new Error('stopped by the test')
    const asking = client.isInRecovery(controller.signal)
    await asked
    controller.abort(stopped)
    await assert.rejects(orAbort(asking, deadline(3000)), stopped)
  })

  await t.test('an abort ends a command that the server does not answer, with its reason', async (t) => {
    const proxy = await TcpProxy.open(t, cluster.connection)
    const client = await openClient(t, proxy)
    proxy.towardsClient = stalled
    const controller = new AbortController()
    const stopped = new Error('stopped by the test')
    const asking = client.identify(controller.signal)
    controller.abort(stopped)
    await assert.rejects(asking, stopped)
  })

  await t.test('an abort ends the making of a connection, with its reason', async (t) => {
    const proxy = await TcpProxy.open(t, cluster.connection)
    proxy.towardsClient = stalled
    const controller = new AbortController()
    const stopped = new Error('stopped by the test')
    const opening = ReplicationClient.connect(targetOf(proxy), controller.signal)
    await eventually(async () => proxy.lines.length === 1)
    controller.abort(stopped)
    await assert.rejects(opening, stopped)
    await proxy.lines[0]?.closed
  })
}

/** The server for the first connection; later ones are let in, and then never get an answer. */
async function silentBeside(t: TestContext, { connection }: Cluster): Promise<{ port: number; asked: Promise<unknown> }> {
  const sockets: Socket[] = []
  let hear = (): void => undefined
  const asked = new Promise<void>((resolve) => {
    hear = resolve
  })
  const listener = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined))
    if (sockets.length === 1) {
      const server = createConnection(connection.port, connection.host)
      socket.pipe(server.on('error', () => undefined)).pipe(socket)
      sockets.push(server)
      return
    }
    // AuthenticationOk, ReadyForQuery.
    socket.once('data', () => {
      socket.write(Buffer.from('5200000008000000005a0000000549', 'hex'))
      socket.once('data', hear)
    })
  })
  t.after(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
  return { port: (listener.address() as AddressInfo).port, asked }
}

async function streaming(t: TestContext, { cluster, sql }: Server): Promise<void> {
  await t.test('what is streamed are the bytes of the files in pg_wal', async (t) => {
    const client = await openClient(t, cluster.connection)
    await client.createSlot('s', deadline())
    const start = startOfSegment(await currentLsn(sql))
    const end = await writeWal(sql, 3)
    const collector = new WalCollector(client, { slot: 's', start })
    await collector.has(end, deadline())
    assertSegments(cluster, collector, 3)
    collector.hands?.stop()
    await collector.ended
    await client.dropSlot('s', deadline())
  })

  await t.test('stop() ends the stream politely, and the connection can be used again', async (t) => {
    const client = await openClient(t, cluster.connection)
    const collector = new WalCollector(client, { start: await currentLsn(sql) })
    const hands = await collector.streaming(deadline())
    hands.stop()
    hands.stop()
    assert.deepEqual(await collector.ended, { kind: 'stopped' } satisfies StreamEnd)
    assert.equal((await client.identify(deadline())).timeline, 1)
    const again = new WalCollector(client, { start: await currentLsn(sql) })
    await again.streaming(deadline())
    again.hands?.stop()
    assert.deepEqual(await again.ended, { kind: 'stopped' })
  })

  await t.test('what is reported is what the server says of us, and a reply is sent when it is asked for', async (t) => {
    const client = await openClient(t, cluster.connection)
    await client.createSlot('s', deadline())
    const start = await currentLsn(sql)
    const collector = new WalCollector(client, { slot: 's', start })
    await collector.streaming(deadline())
    const end = await writeWal(sql, 1)
    await collector.has(end, deadline())
    const keepalives = collector.keepalives
    collector.hands?.report({ written: end, flushed: start, wantReply: true })
    await collector.until(() => collector.keepalives > keepalives, deadline())
    const seen = 'SELECT write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication'
    const [positions] = await rows(sql, seen)
    assert.deepEqual(positions?.slice(0, 2).map((text) => parseLsn(text ?? '')), [end, start])
    assert.equal(positions?.[2], null, 'nothing is applied')
    collector.hands?.stop()
    await collector.ended
    await client.dropSlot('s', deadline())
  })

  await t.test('pause() stops the flow, resume() goes on where it stopped', async (t) => {
    const client = await openClient(t, cluster.connection)
    await client.createSlot('s', deadline())
    const start = startOfSegment(await currentLsn(sql))
    const collector = new WalCollector(client, { slot: 's', start })
    const hands = await collector.streaming(deadline())
    hands.pause()
    const atPause = collector.receivedBytes
    const end = await writeWal(sql, 24)
    // The server is stuck once its position stands still: all buffers between it and us are full.
    let sent = ''
    await eventually(async () => {
      const before = sent
      sent = await value(sql, 'SELECT sent_lsn FROM pg_stat_replication')
      await sql.query('SELECT pg_sleep(0.05)')
      return sent === before
    })
    assert.ok(parseLsn(sent) < end, 'the buffers cannot hold all of it')
    const more = collector.receivedBytes - atPause
    assert.ok(more < 300_000, `${more} bytes after the pause`)
    hands.resume()
    await collector.has(end, deadline())
    assertSegments(cluster, collector, 24)
    hands.stop()
    await collector.ended
    await client.dropSlot('s', deadline())
  })

  await t.test('cut() ends the stream with the error that it is given', async (t) => {
    const client = await openClient(t, cluster.connection)
    const collector = new WalCollector(client, { start: await currentLsn(sql) })
    await collector.streaming(deadline())
    const reason = new WalferryError('SPOOL_FAILED', 'the disk is full')
    client.cut(reason)
    await assert.rejects(collector.ended, reason)
    await assert.rejects(client.identify(deadline()), refusedAs('PG_CONNECTION_LOST', /identify the server/, { retryable: true }))
  })

  await t.test('what a listener throws ends the stream, and nothing more is told', async (t) => {
    const client = await openClient(t, cluster.connection)
    const start = startOfSegment(await currentLsn(sql))
    const reason = new WalferryError('SPOOL_CONFLICT', 'other bytes')
    let told = 0
    const listener = {
      walBegins: () => {
        told++
        throw reason
      },
      wal: () => assert.fail('told more'),
      keepalive: () => undefined,
      batchEnd: () => undefined,
    }
    await writeWal(sql, 1)
    await assert.rejects(client.stream({ slot: null, timeline: 1, start }, listener, () => undefined), reason)
    assert.equal(told, 1)
  })

  await t.test('a start past the end of the WAL is refused', async (t) => {
    const client = await openClient(t, cluster.connection)
    const ahead = asLsn((await currentLsn(sql)) + 1_000_000_000n)
    await assert.rejects(new WalCollector(client, { start: ahead }).ended, refusedAs('PG_REFUSED', /ahead of the WAL flush position/))
  })

  await t.test('a slot that is not there is refused', async (t) => {
    const client = await openClient(t, cluster.connection)
    const start = await currentLsn(sql)
    await assert.rejects(new WalCollector(client, { slot: 'no', start }).ended, refusedAs('PG_REFUSED', /"no" does not exist/, { sqlstate: '42704' }))
  })

  await t.test('a line that breaks under a stream is a lost connection', async (t) => {
    const proxy = await TcpProxy.open(t, cluster.connection)
    const client = await openClient(t, proxy)
    const collector = new WalCollector(client, { start: await currentLsn(sql) })
    await collector.streaming(deadline())
    proxy.reset()
    await assert.rejects(collector.ended, refusedAs('PG_CONNECTION_LOST', /stream WAL from/, { retryable: true }))
  })
}

/** At least `count` whole segments of what was streamed are equal to the server's files, byte for byte. */
function assertSegments(cluster: Cluster, collector: WalCollector, count: number): void {
  assert.equal(offsetIn(collector.start, megabyte), 0)
  const { bytes } = collector
  let compared = 0
  for (let at = 0; at + megabyte <= bytes.length; at += megabyte) {
    const name = segmentName({ timeline: 1, segno: segnoOf(asLsn(collector.start + BigInt(at)), megabyte) }, megabyte)
    const file = readFileSync(join(cluster.dataFolder, 'pg_wal', name))
    assert.ok(bytes.subarray(at, at + megabyte).equals(file), `${name} is equal`)
    compared++
  }
  assert.ok(compared >= count, `${compared} segments compared`)
}

async function removedWal(t: TestContext, { cluster, version, sql }: Server): Promise<void> {
  const oldest = (): string => readdirSync(join(cluster.dataFolder, 'pg_wal')).filter((name) => /^[0-9A-F]{24}$/.test(name)).toSorted()[0] ?? ''
  const removeBefore = async (lsn: Lsn): Promise<void> => {
    const name = segmentName({ timeline: 1, segno: segnoOf(lsn, megabyte) }, megabyte)
    await eventually(async () => {
      await writeWal(sql, 2)
      await sql.query('CHECKPOINT')
      return oldest() > name
    })
  }

  await t.test('WAL that the server has removed is told apart from every other refusal', async (t) => {
    const client = await openClient(t, cluster.connection)
    const start = startOfSegment(await currentLsn(sql))
    await removeBefore(start)
    const collector = new WalCollector(client, { start })
    await assert.rejects(collector.ended, refusedAs('WAL_REMOVED', /requested WAL segment [0-9A-F]{24} has already been removed/))
    assert.equal(collector.receivedBytes, 0)
  })

  await t.test('a slot that was invalidated because its WAL went reserves nothing any more, and cannot be streamed from', async (t) => {
    const client = await openClient(t, cluster.connection)
    await client.createSlot('lost', deadline())
    const start = startOfSegment(await currentLsn(sql))
    await reload(sql, { max_slot_wal_keep_size: '1MB' })
    await removeBefore(start)
    assert.equal(await value(sql, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'lost'"), 'lost')
    assert.deepEqual(await client.readSlot('lost', deadline()), { state: 'unreserved' })
    // Up to 17 the slot is taken, and then the WAL is not there; 18 refuses the slot itself.
    const refusal =
      version.major < 18
        ? refusedAs('WAL_REMOVED', /already been removed/)
        : refusedAs('PG_REFUSED', /can no longer access replication slot "lost"/, { sqlstate: '55000' })
    await assert.rejects(new WalCollector(client, { slot: 'lost', start }).ended, refusal)
    await client.dropSlot('lost', deadline())
    await reload(sql, { max_slot_wal_keep_size: '-1' })
  })
}

async function endOfTimeline(t: TestContext, server: Server): Promise<void> {
  const { cluster } = server
  await t.test('the end of a timeline is told with the next one and where it begins', async (t) => {
    const end = startOfSegment(await writeWal(server.sql, 1))
    await cluster.stop('fast', deadline())
    await cluster.setRecovery('standby', {})
    await cluster.start(deadline())
    const standby = await openClient(t, cluster.connection)
    assert.equal(await standby.isInRecovery(deadline()), true)
    await cluster.promote(deadline())
    const client = await openClient(t, cluster.connection)
    const identity = await client.identify(deadline())
    assert.equal(identity.timeline, 2)
    const collector = new WalCollector(client, { timeline: 1, start: end })
    const told = await collector.ended
    assert.ok(told.kind === 'timeline-ended')
    assert.equal(told.timeline, 2)
    assert.equal(told.startsAt, collector.receivedUpTo, 'all WAL of the old timeline came before')
    assert.ok(collector.receivedBytes > 0)

    const atSwitch = new WalCollector(client, { timeline: 1, start: told.startsAt })
    assert.deepEqual(await atSwitch.ended, told, 'the same from the switch on, where there is nothing to stream')
    assert.equal(atSwitch.hands, null)

    const past = asLsn(told.startsAt + 1n)
    await assert.rejects(new WalCollector(client, { timeline: 1, start: past }).ended, refusedAs('PG_REFUSED', /not in this server's history/))
  })
}

async function endOfServer(t: TestContext, { cluster }: Server): Promise<void> {
  const streamFrom = async (t: TestContext): Promise<WalCollector> => {
    const client = await openClient(t, cluster.connection)
    const { timeline, flushedUpTo } = await client.identify(deadline())
    const collector = new WalCollector(client, { timeline, start: flushedUpTo })
    await collector.streaming(deadline())
    return collector
  }

  await t.test('a server that is killed under a stream is a lost connection', async (t) => {
    const collector = await streamFrom(t)
    await cluster.kill(deadline())
    await assert.rejects(collector.ended, refusedAs('PG_CONNECTION_LOST', /stream WAL from/, { retryable: true }))
    await cluster.start(deadline())
  })

  await t.test('a server that shuts down sends what it has, and says so', async (t) => {
    const collector = await streamFrom(t)
    await cluster.stop('fast', deadline())
    await assert.rejects(collector.ended, refusedAs('PG_CONNECTION_LOST', /shutting down/, { retryable: true }))
    assert.ok(collector.receivedBytes > 0, 'the checkpoint of the shutdown came, too')
  })

  await t.test('a server that is not there is a lost connection, with a hint', async () => {
    for (const host of ['127.0.0.1', 'localhost']) {
      const connecting = ReplicationClient.connect(targetOf({ host, port: cluster.connection.port }), deadline())
      await assert.rejects(connecting, refusedAs('PG_CONNECTION_LOST', /connect to \S+:\d+: .*ECONNREFUSED/, { retryable: true, hint: /running/ }))
    }
    const connecting = ReplicationClient.connect(targetOf({ ...cluster.connection, host: cluster.folder }), deadline())
    await assert.rejects(connecting, refusedAs('PG_CONNECTION_LOST', /\.s\.PGSQL\.\d+/, { retryable: true, hint: /running/ }))
  })
}

test('a host name that does not resolve is a lost connection, with a hint', async () => {
  const connecting = ReplicationClient.connect(targetOf({ host: 'no-such-host.invalid', port: 5432 }), deadline())
  await assert.rejects(connecting, refusedAs('PG_CONNECTION_LOST', /no-such-host\.invalid/, { retryable: true, hint: /resolve/ }))
})

for (const [name, answer, code] of [
  ['speaks HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'PG_PROTOCOL'],
  ['closes at once', '', 'PG_CONNECTION_LOST'],
] as const) {
  test(`a server that ${name} is refused and not waited for`, async (t) => {
    const server = createServer((socket) => socket.on('error', () => undefined).end(answer)).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
    const { port } = server.address() as AddressInfo
    for (const sslMode of ['disable', 'prefer'] as const) {
      const connecting = ReplicationClient.connect(targetOf({ host: '127.0.0.1', port }, { sslMode }), deadline())
      await assert.rejects(connecting, (error) => isError(error, code))
    }
  })
}
