import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseLsn } from '../../src/wal/lsn.ts'
import { deadline, megabyte, testVersions, value, withCluster } from '../support/postgres.ts'
import { serverFolder } from '../support/temp.ts'
import { startReceive, runFetch } from '../support/walferry.ts'
for (const version of await testVersions()) {
  test(`x ${version.major}`, async (t) => {
    const folder = await serverFolder(t)
    await mkdir(join(folder, 'store'))
    await withCluster({ version, segmentBytes: megabyte }, async (cluster, client) => {
      const receive = startReceive(t, { server: cluster.connection, store: join(folder, 'store'), spool: join(folder, 'spool'), args: ['--ship-interval', '50ms'] })
      await receive.waitForReady(deadline())
      await client.query('create table t as select 1')
      const lsn = parseLsn(await value(client, 'select pg_current_wal_flush_lsn()'))
      await receive.waitForShipped(lsn, deadline())
      assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
      console.log(receive.stderr)
      console.log(await runFetch(['000000010000000000000099', join(folder, 'x'), '--store', join(folder, 'store')], { signal: deadline() }))
    })
  })
}
