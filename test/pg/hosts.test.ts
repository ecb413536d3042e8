/** Several hosts: a primary and a standby that is a copy of it, and hosts that are not there, silent, or refuse. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { freePort } from '../../src/cluster/free-port.ts'
import { ReplicationClient } from '../../src/pg/replication-client.ts'
import { parseTarget } from '../../src/pg/target.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  type TestVersion,
  testVersions,
  value,
} from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { tempFolder } from '../support/temp.ts'
import { eventually, refusedAs, reload } from './replication-server.ts'

const hba =
  'host replication,all keeper all scram-sha-256\nlocal all,replication all trust\nhost all,replication all all trust\n'

interface Pair {
  readonly version: TestVersion
  readonly primary: Cluster
  readonly standby: Cluster
  readonly sql: pg.Client
}

type Place = Cluster | { readonly host: string; readonly port: number }

/** `host=... port=...` of these places, in this order. */
function hostsOf(...places: readonly Place[]): string {
  const found = places.map((place) => ('connection' in place ? place.connection : place))
  return `host=${found.map(({ host }) => host).join(',')} port=${found.map(({ port }) => port).join(',')}`
}

async function open(t: TestContext, conninfo: string, env: Record<string, string> = {}): Promise<ReplicationClient> {
  const target = parseTarget(`user=postgres sslmode=disable ${conninfo}`, env)
  const client = await ReplicationClient.connect(target, deadline())
  t.after(() => client.close())
  return client
}

/** The standby has no connection to the primary, so that they can differ. */
async function startPair(version: TestVersion): Promise<Pair> {
  const primary = await makeCluster({ version, segmentBytes: megabyte })
  await primary.start(deadline())
  const setUp = await connect(primary)
  await setUp.query("SET password_encryption = 'scram-sha-256'; CREATE ROLE keeper LOGIN REPLICATION PASSWORD 'old'")
  await setUp.end()
  await primary.stop('fast', deadline())
  const standby = await copyCluster(primary)
  await standby.setRecovery('standby', {})
  for (const cluster of [primary, standby]) {
    writeFileSync(join(cluster.folder, 'pg_hba.conf'), hba)
    await cluster.start(deadline())
  }
  const sql = await connect(primary)
  await sql.query("SET password_encryption = 'scram-sha-256'; ALTER ROLE keeper PASSWORD 'new'")
  return { version, primary, standby, sql }
}

for (const version of await testVersions()) {
  test(`several hosts (PostgreSQL ${version.major})`, async (t) => {
    const pair = await startPair(version)
    try {
      await whichOne(t, pair)
      await passedOver(t, pair)
      await refusing(t, pair)
      await passwords(t, pair)
      await besides(t, pair)
      await readOnlyByDefault(t, pair)
    } finally {
      await pair.sql.end()
      await discardCluster(pair.primary)
      await discardCluster(pair.standby)
    }
  })
}

async function whichOne(t: TestContext, { primary, standby }: Pair): Promise<void> {
  for (const [attrs, expected] of [
    ['any', null],
    ['read-write', primary],
    ['primary', primary],
    ['read-only', standby],
    ['standby', standby],
    ['prefer-standby', standby],
  ] as const) {
    await t.test(`target_session_attrs=${attrs} finds the right one, in either order`, async (t) => {
      for (const order of [
        [primary, standby],
        [standby, primary],
      ] as const) {
        const client = await open(t, `${hostsOf(...order)} target_session_attrs=${attrs}`)
        const { connection } = expected ?? order[0]
        assert.equal(client.host, `127.0.0.1:${connection.port}`)
        assert.equal(await client.isInRecovery(deadline()), connection.port === standby.connection.port)
      }
    })
  }

  await t.test('prefer-standby takes a primary where there is no standby', async (t) => {
    const client = await open(t, `${hostsOf(await nobody(), primary)} target_session_attrs=prefer-standby`)
    assert.equal(client.host, `127.0.0.1:${primary.connection.port}`)
  })

  await t.test('none that is what is asked for may be there later', async (t) => {
    const { port } = standby.connection
    await assert.rejects(
      open(t, `${hostsOf(standby, await nobody())} target_session_attrs=primary`),
      refusedAs('PG_CONNECTION_LOST', new RegExp(`127\\.0\\.0\\.1:${port}: the server is a standby; .*ECONNREFUSED`), {
        retryable: true,
        hint: /target_session_attrs asks for primary/,
      }),
    )
  })
}

async function passedOver(t: TestContext, { primary, standby }: Pair): Promise<void> {
  const unreachable: readonly (readonly [string, (t: TestContext) => Promise<Place>, string])[] = [
    ['where nobody listens', nobody, ''],
    ['whose name does not resolve', () => Promise.resolve({ host: 'no-such-host.invalid', port: 5432 }), ''],
    ['whose socket is not there', () => Promise.resolve({ host: standby.dataFolder, port: 5432 }), ''],
    ['that closes at once', (t) => listening(t, Buffer.alloc(0)), ''],
    ['that is starting up', (t) => listening(t, errorResponse('57P03', 'the database system is starting up')), ''],
    ['that never answers', (t) => listening(t, null), 'connect_timeout=1'],
  ]
  for (const [which, where, more] of unreachable) {
    await t.test(`a host ${which} is passed over`, async (t) => {
      const client = await open(t, `${hostsOf(await where(t), primary)} ${more}`)
      assert.equal(client.host, `127.0.0.1:${primary.connection.port}`)
    })
  }

  await t.test('connect_timeout ends the wait for a host', async (t) => {
    await assert.rejects(
      open(t, `${hostsOf(await listening(t, null))} connect_timeout=1`),
      refusedAs('PG_CONNECTION_LOST', /connect to 127\.0\.0\.1:\d+: no answer within 1 s/, { retryable: true }),
    )
  })

  await t.test('where no host is there, each is told with its reason', async (t) => {
    const [one, other] = [await nobody(), { host: 'no-such-host.invalid', port: 5432 }]
    await assert.rejects(
      open(t, hostsOf(one, other)),
      refusedAs('PG_CONNECTION_LOST', new RegExp(`:${one.port}: .*ECONNREFUSED.*; .*no-such-host\\.invalid:5432: `), {
        retryable: true,
        hint: /running/,
      }),
    )
  })

  await t.test('a socket folder is a host among others', async (t) => {
    const { port } = primary.connection
    const client = await open(t, `host=127.0.0.1,${primary.folder} port=${(await nobody()).port},${port}`)
    assert.equal(client.host, `${primary.folder}/.s.PGSQL.${port}`)
  })

  await t.test('a hostaddr is used instead of looking the name up', async (t) => {
    const client = await open(t, `host=no-such-host.invalid hostaddr=127.0.0.1 port=${primary.connection.port}`)
    assert.equal(client.host, `no-such-host.invalid:${primary.connection.port}`)
  })
}

async function refusing(t: TestContext, { primary, standby }: Pair): Promise<void> {
  await t.test('a host that refuses us ends the search, even if another would not', async (t) => {
    const { port } = primary.connection
    await assert.rejects(
      open(t, `${hostsOf(primary, standby)} user=keeper`, { PGPASSWORD: 'old' }),
      refusedAs(
        'PG_REFUSED',
        new RegExp(`^cannot connect to 127\\.0\\.0\\.1:${port}: password authentication failed`),
        {
          hint: /PGPASSWORD/,
          sqlstate: '28P01',
        },
      ),
    )
  })

  await t.test('a refusal after a host that is away is told with both, and may be retried', async (t) => {
    await assert.rejects(
      open(t, `${hostsOf(await nobody(), primary)} user=keeper`, { PGPASSWORD: 'old' }),
      refusedAs('PG_REFUSED', /ECONNREFUSED.*; cannot connect to .*password authentication failed/, {
        retryable: true,
        hint: /PGPASSWORD/,
        sqlstate: '28P01',
      }),
    )
  })
}

async function passwords(t: TestContext, { primary, standby }: Pair): Promise<void> {
  await t.test('each host has its own password in the password file', async (t) => {
    const passFile = join(await tempFolder(t), 'pgpass')
    const lines = [
      [primary, 'new'],
      [standby, 'old'],
    ] as const
    const text = lines.map(
      ([cluster, password]) => `127.0.0.1:${cluster.connection.port}:replication:keeper:${password}\n`,
    )
    writeFileSync(passFile, text.join(''), { mode: 0o600 })
    for (const attrs of ['primary', 'standby']) {
      const where = `${hostsOf(primary, standby)} user=keeper passfile=${passFile}`
      const client = await open(t, `${where} target_session_attrs=${attrs}`)
      assert.equal(await client.isInRecovery(deadline()), attrs === 'standby')
    }
  })
}

async function besides(t: TestContext, { version, primary, standby }: Pair): Promise<void> {
  await t.test('what needs an ordinary connection is asked of the server that is connected', async (t) => {
    const first = await TcpProxy.open(t, primary.connection)
    first.refuses = true
    const client = await open(t, hostsOf(first, standby))
    // It would be found now, before the one that we are connected to.
    first.refuses = false
    await client.createSlot('there', deadline())
    const slot = await client.readSlot('there', deadline())
    assert.ok(slot.state === 'reserved')
    assert.equal(await client.advanceSlot('there', slot.restartLsn, deadline()), true)
    const other = await open(t, hostsOf(primary))
    assert.equal((await other.readSlot('there', deadline())).state, 'missing')
    assert.equal(await other.advanceSlot('there', slot.restartLsn, deadline()), false)
    await client.dropSlot('there', deadline())
  })

  await t.test('a history file comes as it lies there, whatever bytes it holds', async (t) => {
    const content = Buffer.from('1\t0/3000000\tat restore point "caf\xe9 \\x41"\n', 'latin1')
    for (const cluster of [primary, standby]) {
      const client = await open(t, hostsOf(cluster))
      assert.equal(await client.timelineHistory(1, deadline()), null)
      assert.equal(await client.timelineHistory(7, deadline()), null)
      writeFileSync(join(cluster.dataFolder, 'pg_wal', '00000007.history'), content, { mode: 0o644 })
      assert.deepEqual(await client.timelineHistory(7, deadline()), content)
      assert.equal((await client.identify(deadline())).timeline, 1, `PostgreSQL ${version.major} goes on`)
    }
  })
}

async function readOnlyByDefault(t: TestContext, { version, primary, standby, sql }: Pair): Promise<void> {
  await t.test('a primary that is read-only by default is no place to write, and still a primary', async (t) => {
    await reload(sql, { default_transaction_read_only: 'on' })
    await eventually(async () => {
      const client = await connect(primary)
      const text = await value(client, 'SHOW default_transaction_read_only')
      await client.end()
      return text === 'on'
    })
    const place = hostsOf(primary)
    await assert.rejects(open(t, `${place} target_session_attrs=read-write`), misfit(/the server is read-only/))
    const client = await open(t, `${hostsOf(primary, standby)} target_session_attrs=read-only`)
    assert.equal(client.host, `127.0.0.1:${primary.connection.port}`)
    if (version.major >= 14) {
      assert.equal(await client.isInRecovery(deadline()), false)
      await open(t, `${place} target_session_attrs=primary`)
    } else {
      assert.equal(await client.isInRecovery(deadline()), null)
      await assert.rejects(open(t, `${place} target_session_attrs=primary`), misfit(/does not show/))
    }
  })
}

function misfit(about: RegExp): (error: unknown) => boolean {
  return refusedAs('PG_CONNECTION_LOST', about, { retryable: true, hint: /asks for/ })
}

async function nobody(): Promise<{ host: string; port: number }> {
  return { host: '127.0.0.1', port: await freePort() }
}

/** A server that says this to whatever comes first, and closes; or says nothing at all (null). */
async function listening(t: TestContext, answer: Buffer | null): Promise<Place> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    t.after(() => socket.destroy())
    socket.once('data', () => {
      if (answer !== null) socket.end(answer)
    })
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

function errorResponse(sqlstate: string, message: string): Buffer {
  const body = Buffer.from(`SFATAL\0VFATAL\0C${sqlstate}\0M${message}\0\0`)
  const head = Buffer.from('E\0\0\0\0')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
