import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { orAbort } from '../../src/kit/abort.ts'
import { isError } from '../../src/kit/errors.ts'
import { ReplicationClient } from '../../src/pg/replication-client.ts'
import type { Target } from '../../src/pg/target.ts'
import { asLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { deferred } from '../support/deferred.ts'
import { deadline, megabyte, testVersions, value } from '../support/postgres.ts'
import { stalled, TcpProxy } from '../support/tcp-proxy.ts'
import { tempFolder } from '../support/temp.ts'
import { WalCollector } from '../support/wal-collector.ts'
import {
  currentLsn,
  eventually,
  openClient,
  password,
  refusedAs,
  reload,
  type Server,
  targetOf,
  withServer,
} from './replication-server.ts'

for (const version of await testVersions()) {
  test(`a replication connection to PostgreSQL ${version.major}`, async (t) => {
    await withServer(version, async (server) => {
      await lookingAround(t, server)
      await slots(t, server)
      await connecting(t, server)
      await questionsBeside(t, server)
      await nobodyThere(t, server)
    })
  })
}

async function lookingAround(t: TestContext, { cluster, version, sql }: Server): Promise<void> {
  await t.test('identify tells what the server says of itself', async (t) => {
    const client = await openClient(t, cluster.connection)
    const before = await currentLsn(sql)
    const identity = await client.identify(deadline())
    assert.equal(client.majorVersion, version.major)
    assert.equal(
      String(identity.systemIdentifier),
      await value(sql, 'SELECT system_identifier FROM pg_control_system()'),
    )
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
    await assert.rejects(
      client.show('nonsense', deadline()),
      refusedAs('PG_REFUSED', /read the setting nonsense.*nonsense/, { sqlstate: '42704' }),
    )
    assert.equal((await client.identify(deadline())).timeline, 1)
  })

  for (const [set, timeoutMs, keepBytes] of [
    ['0', 0, 0],
    ['1min', 60_000, megabyte],
    ['2h', 7_200_000, 64 * megabyte],
    ['1d', 86_400_000, 1024 ** 4],
  ] as const) {
    await t.test(
      `wal_sender_timeout=${set} and max_slot_wal_keep_size=${keepBytes / megabyte}MB are understood`,
      async (t) => {
        await reload(sql, { wal_sender_timeout: set, max_slot_wal_keep_size: `${keepBytes / megabyte}MB` })
        t.after(() => reload(sql, { wal_sender_timeout: '90500ms', max_slot_wal_keep_size: '-1' }))
        await eventually(async () => {
          const client = await ReplicationClient.connect(targetOf(cluster.connection), deadline())
          const found = [await client.walSenderTimeoutMs(deadline()), await client.slotKeepBytes(deadline())]
          await client.close()
          return found[0] === timeoutMs && found[1] === keepBytes
        })
      },
    )
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
    await assert.rejects(
      client.createSlot('s', deadline()),
      refusedAs('PG_REFUSED', /create the slot "s"/, { sqlstate: '42710' }),
    )
    await client.dropSlot('s', deadline())
  })

  await t.test('dropping a slot that is not there is refused', async (t) => {
    const client = await openClient(t, cluster.connection)
    await assert.rejects(
      client.dropSlot('s', deadline()),
      refusedAs('PG_REFUSED', /drop the slot "s"/, { sqlstate: '42704' }),
    )
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
    const inUse = refusedAs('SLOT_IN_USE', /"s" is active/, {
      retryable: true,
      hint: /goes on as soon as/,
      sqlstate: '55006',
    })
    await assert.rejects(new WalCollector(other, { slot: 's', start }).ended, inUse)
    await assert.rejects(other.dropSlot('s', deadline()), inUse)
    hands.stop()
    await streaming.ended
    await other.dropSlot('s', deadline())
  })
}

async function connecting(t: TestContext, { cluster }: Server): Promise<void> {
  const place = cluster.connection
  const attempt = (change: Partial<Target>): Promise<ReplicationClient> =>
    ReplicationClient.connect(targetOf(place, change), deadline())
  const wrong = { retryable: false, hint: /PGPASSWORD|PGPASSFILE/ }

  await t.test('the right password lets in, over SCRAM', async (t) => {
    const client = await openClient(t, place, { user: 'scram', password })
    assert.equal((await client.identify(deadline())).timeline, 1)
  })

  await t.test('a wrong password is refused, with a hint and without the password', async () => {
    const guess = attempt({ user: 'scram', password: `${password}3` })
    await assert.rejects(
      guess,
      refusedAs('PG_REFUSED', /connect to .*password authentication failed/, { ...wrong, sqlstate: '28P01' }),
    )
  })

  await t.test('no password where one is due is refused, with a hint', async (t) => {
    const passFile = join(await tempFolder(t), 'missing')
    await assert.rejects(attempt({ user: 'scram', passFile }), refusedAs('PG_REFUSED', /password/, wrong))
  })

  await t.test('the password file is asked for the database "replication"', async (t) => {
    const lines = `*:*:postgres:scram:wrong\n${place.host}:${place.port}:replication:scram:${password}\n`
    await openClient(t, place, { user: 'scram', passFile: await passwordFile(t, lines) })
  })

  await t.test('a role that pg_hba.conf turns away is refused, with a hint', async () => {
    await assert.rejects(
      attempt({ user: 'stranger' }),
      refusedAs('PG_REFUSED', /stranger/, { hint: /pg_hba\.conf/, sqlstate: '28000' }),
    )
  })

  await t.test('a role without REPLICATION is refused, with a hint', async () => {
    await assert.rejects(
      attempt({ user: 'nobody' }),
      refusedAs('PG_REFUSED', /connect to/, { hint: /REPLICATION/, sqlstate: '42501' }),
    )
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

async function passwordFile(t: TestContext, content: string): Promise<string> {
  const path = join(await tempFolder(t), 'pgpass')
  writeFileSync(path, content, { mode: 0o600 })
  return path
}

/** What a replication connection cannot be asked goes over an ordinary one, which may be forbidden, or break. */
async function questionsBeside(t: TestContext, { cluster, version, sql }: Server): Promise<void> {
  const standsAt = async (): Promise<Lsn> =>
    parseLsn(await value(sql, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 's'"))

  await t.test('a slot is advanced, never backwards, and not past the end of the WAL', async (t) => {
    const client = await openClient(t, cluster.connection)
    await client.createSlot('s', deadline())
    const created = await standsAt()
    await sql.query("SELECT pg_logical_emit_message(false, 'walferry', repeat('x', 1000)), pg_switch_wal()")
    const now = await currentLsn(sql)
    assert.equal(await client.advanceSlot('s', now, deadline()), true)
    assert.equal(await standsAt(), now)
    assert.equal(await client.advanceSlot('s', created, deadline()), true)
    assert.equal(await standsAt(), now)
    assert.equal(await client.advanceSlot('s', asLsn(now + 10_000_000n), deadline()), false)
    assert.ok((await standsAt()) < now + 10_000_000n)
    await client.dropSlot('s', deadline())
  })

  await t.test('a slot that is not there, or keeps nothing, is not advanced', async (t) => {
    const client = await openClient(t, cluster.connection)
    assert.equal(await client.advanceSlot('s', await currentLsn(sql), deadline()), false)
    await sql.query("SELECT pg_create_physical_replication_slot('s')")
    assert.equal(await client.advanceSlot('s', await currentLsn(sql), deadline()), false)
    await client.dropSlot('s', deadline())
  })

  await t.test('a slot that somebody streams from is in use, and not advanced', async (t) => {
    const [one, other] = [await openClient(t, cluster.connection), await openClient(t, cluster.connection)]
    await one.createSlot('s', deadline())
    const before = await standsAt()
    await sql.query("SELECT pg_logical_emit_message(false, 'walferry', 'x'), pg_switch_wal()")
    const now = await currentLsn(sql)
    const streaming = new WalCollector(one, { slot: 's', start: now })
    const hands = await streaming.streaming(deadline())
    await assert.rejects(other.advanceSlot('s', now, deadline()), refusedAs('SLOT_IN_USE', /"s"/, { retryable: true }))
    assert.equal(await standsAt(), before)
    hands.stop()
    await streaming.ended
    await other.dropSlot('s', deadline())
  })

  await t.test('a role with REPLICATION alone learns all that a replication connection tells', async (t) => {
    const client = await openClient(t, cluster.connection, { user: 'guest' })
    assert.equal((await client.identify(deadline())).segmentBytes, megabyte)
    assert.equal(await client.isInRecovery(deadline()), false)
    assert.equal(await client.slotKeepBytes(deadline()), null)
    assert.equal(await client.timelineHistory(1, deadline()), null)
    await client.createSlot('s', deadline())
    const { state } = await client.readSlot('s', deadline())
    assert.equal(state, version.major < 15 ? 'unreadable' : 'reserved')
    assert.equal(await client.advanceSlot('s', await currentLsn(sql), deadline()), false)
    await client.dropSlot('s', deadline())
  })

  await t.test('an ordinary connection that breaks is a lost connection, not an answer', async (t) => {
    const proxy = await TcpProxy.open(t, cluster.connection)
    const client = await openClient(t, proxy)
    proxy.refuses = true
    const lost = refusedAs('PG_CONNECTION_LOST', /slot|connect/, { retryable: true })
    await assert.rejects(client.advanceSlot('s', await currentLsn(sql), deadline()), lost)
    if (version.major < 15) await assert.rejects(client.readSlot('s', deadline()), lost)
  })

  await t.test('an abort ends a question that is not answered, with its reason', async (t) => {
    const { port, asked } = await silentBeside(t, cluster)
    const client = await openClient(t, { host: '127.0.0.1', port })
    const controller = new AbortController()
    const stopped = new Error('stopped by the test')
    const asking = client.advanceSlot('s', await currentLsn(sql), controller.signal)
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
async function silentBeside(t: TestContext, { connection }: Cluster): Promise<{ port: number; asked: Promise<void> }> {
  const sockets: Socket[] = []
  const asked = deferred()
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
      socket.once('data', () => asked.resolve())
    })
  })
  t.after(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
  return { port: (listener.address() as AddressInfo).port, asked: asked.promise }
}

async function nobodyThere(t: TestContext, { cluster }: Server): Promise<void> {
  await cluster.stop('fast', deadline())
  await t.test('a server that is not there is a lost connection, with a hint', async () => {
    for (const host of ['127.0.0.1', 'localhost']) {
      const connecting = ReplicationClient.connect(targetOf({ host, port: cluster.connection.port }), deadline())
      await assert.rejects(
        connecting,
        refusedAs('PG_CONNECTION_LOST', /connect to \S+:\d+: .*ECONNREFUSED/, { retryable: true, hint: /running/ }),
      )
    }
    const connecting = ReplicationClient.connect(targetOf({ ...cluster.connection, host: cluster.folder }), deadline())
    await assert.rejects(
      connecting,
      refusedAs('PG_CONNECTION_LOST', /\.s\.PGSQL\.\d+/, { retryable: true, hint: /running/ }),
    )
  })
}

test('a host name that does not resolve is a lost connection, with a hint', async () => {
  const connecting = ReplicationClient.connect(targetOf({ host: 'no-such-host.invalid', port: 5432 }), deadline())
  await assert.rejects(
    connecting,
    refusedAs('PG_CONNECTION_LOST', /no-such-host\.invalid/, { retryable: true, hint: /resolve/ }),
  )
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
