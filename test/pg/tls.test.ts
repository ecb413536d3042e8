/**
 * TLS against real servers. `test/fixtures/tls` holds an authority's certificate, one of another authority, and a
 * server's for the name `localhost` and no address, made with `openssl` for a hundred years; their keys are thrown away,
 * except the server's.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { ReplicationClient } from '../../src/pg/replication-client.ts'
import { parseTarget, type SslMode } from '../../src/pg/target.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { segnoOf, segmentName, segmentStart } from '../../src/wal/segment.ts'
import {
  connect,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  type TestVersion,
  testVersions,
  value,
} from '../support/postgres.ts'
import { WalCollector } from '../support/wal-collector.ts'

const fixtures = join(import.meta.dirname, '..', '..', '..', 'test', 'fixtures', 'tls')
const root = join(fixtures, 'root.crt')
const otherRoot = join(fixtures, 'other-root.crt')

async function startServer(version: TestVersion): ReturnType<typeof makeCluster> {
  const settings = { ssl: true, ssl_cert_file: 'server.crt', ssl_key_file: 'server.key' }
  const cluster = await makeCluster({ version, segmentBytes: megabyte, settings })
  // In the data folder, where the files belong to the server's user.
  for (const name of ['server.crt', 'server.key']) {
    writeFileSync(join(cluster.dataFolder, name), readFileSync(join(fixtures, name)), { mode: 0o600 })
  }
  await cluster.start(deadline())
  return cluster
}

for (const version of await testVersions()) {
  test(`TLS with PostgreSQL ${version.major}`, async (t) => {
    const cluster = await startServer(version)
    const sql = await connect(cluster)
    const open = async (
      t: TestContext,
      host: string,
      sslMode: SslMode,
      sslRootCert: string | null = null,
    ): Promise<ReplicationClient> => {
      const target = parseTarget(`postgres://scram@${host}:${cluster.connection.port}/`, { PGPASSWORD: 'secret' })
      const client = await ReplicationClient.connect({ ...target, sslMode, sslRootCert }, deadline())
      t.after(() => client.close())
      return client
    }
    const isEncrypted = 'SELECT bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)'
    const nameOf = /localhost|127\.0\.0\.1|altnames/i
    try {
      await sql.query(
        `SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN REPLICATION PASSWORD 'secret';
        CREATE ROLE sealed LOGIN REPLICATION PASSWORD 'secret'; CREATE ROLE plain LOGIN REPLICATION PASSWORD 'secret'`,
      )
      writeFileSync(
        await value(sql, 'SHOW hba_file'),
        [
          'host replication scram all scram-sha-256',
          'hostssl replication sealed all scram-sha-256',
          'hostnossl replication plain all scram-sha-256',
          'host all all all trust',
          '',
        ].join('\n'),
      )
      await sql.query('SELECT pg_reload_conf()')

      for (const [host, sslMode, sslRootCert, encrypted] of [
        ['localhost', 'verify-full', root, 't'],
        ['127.0.0.1', 'verify-ca', root, 't'],
        ['127.0.0.1', 'require', root, 't'],
        ['127.0.0.1', 'require', null, 't'],
        ['127.0.0.1', 'prefer', null, 't'],
        ['127.0.0.1', 'allow', null, 'f'],
        ['127.0.0.1', 'disable', null, 'f'],
      ] as const) {
        const with_ = sslRootCert === null ? '' : ' and the root certificate'
        await t.test(
          `sslmode=${sslMode}${with_} to ${host} connects ${encrypted === 't' ? 'with' : 'without'} TLS`,
          async (t) => {
            const client = await open(t, host, sslMode, sslRootCert)
            const collector = new WalCollector(client, { start: (await client.identify(deadline())).flushedUpTo })
            await collector.streaming(deadline())
            assert.equal(await value(sql, isEncrypted), encrypted)
            assert.match(client.tlsVersion ?? 'none', encrypted === 't' ? /^TLSv1\.[23]$/ : /^none$/)
            collector.hands?.stop()
            await collector.ended
          },
        )
      }

      for (const [host, sslMode, sslRootCert, about] of [
        ['127.0.0.1', 'verify-full', root, nameOf],
        ['localhost', 'verify-full', otherRoot, /certificate/],
        ['localhost', 'verify-ca', otherRoot, /certificate/],
        ['localhost', 'require', otherRoot, /certificate/],
      ] as const) {
        const whose = sslRootCert === root ? 'whose certificate has another name' : 'that another authority vouches for'
        await t.test(`sslmode=${sslMode} refuses a server ${whose}, and does not go on without TLS`, async (t) => {
          await assert.rejects(
            open(t, host, sslMode, sslRootCert),
            (error) => isError(error) && about.test(error.message),
          )
        })
      }

      const connectAs = async (t: TestContext, conninfo: string, password = 'secret'): Promise<ReplicationClient> => {
        const target = parseTarget(`port=${cluster.connection.port} ${conninfo}`, { PGPASSWORD: password })
        const client = await ReplicationClient.connect(target, deadline())
        t.after(() => client.close())
        return client
      }

      await t.test('prefer and allow take the second way where the server does not take the first', async (t) => {
        for (const sslMode of ['prefer', 'allow']) {
          for (const user of ['sealed', 'plain']) await connectAs(t, `host=127.0.0.1 user=${user} sslmode=${sslMode}`)
        }
      })

      await t.test('a server that takes neither way is told with both reasons', async (t) => {
        await assert.rejects(
          connectAs(t, 'host=127.0.0.1 user=nobody sslmode=prefer'),
          (error) =>
            isError(error, 'PG_REFUSED') &&
            /(no encryption|SSL off) \(with TLS: no pg_hba\.conf entry .*SSL/.test(error.message) &&
            /pg_hba\.conf/.test(error.hint ?? ''),
        )
      })

      await t.test('a wrong password is not sent a second time without TLS', async (t) => {
        await assert.rejects(
          connectAs(t, 'host=127.0.0.1 user=sealed sslmode=prefer', 'wrong'),
          (error) =>
            isError(error, 'PG_REFUSED') && error.message.endsWith('password authentication failed for user "sealed"'),
        )
      })

      await t.test('the certificate has to be one for the name, whatever the hostaddr', async (t) => {
        const conninfo = `sslmode=verify-full sslrootcert=${root} user=scram hostaddr=127.0.0.1`
        await connectAs(t, `${conninfo} host=localhost`)
        await assert.rejects(
          connectAs(t, `${conninfo} host=db.example`),
          (error) => isError(error, 'PG_REFUSED') && /db\.example/.test(error.message),
        )
      })

      await t.test('several hosts are each checked for their own name', async (t) => {
        const conninfo = `sslmode=verify-full sslrootcert=${root} user=scram`
        const client = await connectAs(t, `${conninfo} host=no-such-host.invalid,localhost`)
        assert.equal(client.host, `localhost:${cluster.connection.port}`)
      })

      await t.test('WAL that is streamed over TLS is what lies in pg_wal, across pauses', async (t) => {
        const client = await open(t, 'localhost', 'verify-full', root)
        await client.createSlot('s', deadline())
        const segno = segnoOf(parseLsn(await value(sql, 'SELECT pg_current_wal_flush_lsn()')), megabyte)
        const collector = new WalCollector(client, { slot: 's', start: segmentStart(segno, megabyte) })
        const hands = await collector.streaming(deadline())
        for (let round = 0; round < 4; round++) {
          hands.pause()
          await sql.query("SELECT pg_logical_emit_message(false, 'walferry', repeat('x', 700000))")
          hands.resume()
        }
        await collector.has(segmentStart(segno + 2, megabyte), deadline())
        for (const n of [0, 1]) {
          const file = readFileSync(
            join(cluster.dataFolder, 'pg_wal', segmentName({ timeline: 1, segno: segno + n }, megabyte)),
          )
          assert.ok(collector.bytes.subarray(n * megabyte, (n + 1) * megabyte).equals(file))
        }
        hands.stop()
        await collector.ended
      })
    } finally {
      await sql.end()
      await discardCluster(cluster)
    }
  })
}
