/** `walferry receive --create-slot` and `--drop-slot`, as those who know pg_receivewal write them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { megabyte, rows, testVersions, withCluster } from '../support/postgres.ts'
import { runHere } from '../support/run-here.ts'
import type { Finished } from '../support/walferry.ts'

for (const version of await testVersions()) {
  test(`--create-slot and --drop-slot act and exit (PostgreSQL ${version.major})`, async () => {
    const settings = { wal_level: 'logical' }
    await withCluster({ version, segmentBytes: megabyte, settings }, async ({ connection }, client) => {
      const server = ['-h', connection.host, '-p', String(connection.port), '-U', connection.user]
      const run = (...args: string[]): Promise<Finished> => runHere(['receive', ...server, ...args])
      const slots = async (): Promise<string> => {
        const sql = 'SELECT slot_name, slot_type, restart_lsn IS NOT NULL FROM pg_replication_slots ORDER BY 1'
        return (await rows(client, sql)).map((row) => row.join(' ')).join(', ')
      }

      const created = await run('-S', 'mine', '--create-slot')
      assert.deepEqual([created.code, created.stdout], [0, ''], created.stderr)
      assert.match(created.stderr, /INFO {2}created the slot; the server keeps WAL .*slot=mine/)
      assert.equal(await slots(), 'mine physical t')

      const again = await run('-S', 'mine', '--create-slot')
      assert.equal(again.code, 1)
      assert.match(again.stderr, /^error: .*"mine".* already exists \[PG_REFUSED\]\nhint: {2}Add --if-not-exists/)
      const asked = await run('-S', 'mine', '--create-slot', '--if-not-exists')
      assert.equal(asked.code, 0, asked.stderr)
      assert.match(asked.stderr, /the slot is there already/)
      assert.equal(await slots(), 'mine physical t')

      assert.equal((await run('--slot=mine', '--drop-slot')).code, 0)
      assert.equal(await slots(), '')
      const gone = await run('-S', 'mine', '--drop-slot')
      assert.equal(gone.code, 1)
      assert.match(gone.stderr, /^error: .*does not exist \[PG_REFUSED\]\n/)

      const both = await run('--create-slot', '--drop-slot')
      assert.equal(both.code, 1)
      assert.match(both.stderr, /^error: --create-slot and --drop-slot exclude each other \[BAD_INPUT\]/)
      assert.equal(await slots(), '')

      await client.query("SELECT pg_create_logical_replication_slot('logical', 'pgoutput')")
      const logical = await run('-S', 'logical', '--create-slot', '--if-not-exists')
      assert.equal(logical.code, 1)
      assert.match(logical.stderr, /^error: .*(?:not a physical one|with a logical replication slot) \[PG_REFUSED\]/)
    })
  })
}
