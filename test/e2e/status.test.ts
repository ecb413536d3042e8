/** What `walferry status` answers from a real receiver: while all is well, without its store, without its server, and after its end. */
import assert from 'node:assert/strict'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import * as v from 'valibot'
import { query } from '../../src/cluster/query.ts'
import { statusSchema } from '../../src/serve/status.ts'
import { connect, deadline, discardCluster, makeCluster, megabyte, newestVersion, value } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { program, runProgram, startReceive, urlOf } from '../support/walferry.ts'
import { flushedUpTo } from './scenario.ts'

/** The server's, as walferry writes it. */
const clock = `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

async function walferry(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram(program('walferry'), args, { signal: deadline() })
  assert.deepEqual([code, stderr], [0, ''])
  return stdout
}

for (const version of await newestVersion()) {
  test(`the four questions are answered, whatever is away (PostgreSQL ${version.major})`, async (t) => {
    const cluster = await makeCluster({ version, segmentBytes: megabyte, settings: { autovacuum: false } })
    t.after(() => discardCluster(cluster))
    await cluster.start(deadline())
    const client = await connect(cluster)
    t.after(() => client.end())
    const [folder, server] = [await tempFolder(t), cluster.connection]
    const [store, elsewhere] = [join(folder, 'archive'), join(folder, 'elsewhere')]
    await mkdir(store)
    const receive = startReceive(t, { server, store, spool: join(folder, 'spool'), args: ['--ship-interval', '0'] })
    await receive.waitForReady(deadline())
    const address = (await receive.url(deadline())).slice('http://'.length)
    const status = async (...args: readonly string[]): Promise<string> =>
      await walferry('status', '--listen', address, '--store', store, ...args)
    const waitForReason = (code: RegExp): Promise<void> =>
      receive.waitUntil(
        async () => (await receive.readyz(deadline())).reasons.some((one) => code.test(one.code)),
        deadline(),
      )

    await query(server, 'CREATE TABLE t (n int)', deadline())
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    const well = await status()
    assert.match(
      well,
      /^Receiver {8}ready: streaming from 127\.0\.0\.1:\d+\n {16}PostgreSQL \d+\.\d+, timeline 1, system \d+\n/,
    )
    assert.match(well, /^Where it hangs {2}nowhere$/m)
    assert.match(well, /^Restorable to {3}none: there is no base backup, and WAL alone restores nothing/m)
    assert.match(well, /^Loss now {8}the store has all WAL, but no base backup leads there$/m)
    const told: unknown = JSON.parse(await status('--json'))
    const { reasons, lossSeconds } = v.parse(v.object({ from: v.literal('receiver'), ...statusSchema.entries }), told)
    assert.deepEqual([reasons, typeof lossSeconds], [[], 'number'])

    await rename(store, elsewhere)
    await query(server, 'INSERT INTO t SELECT generate_series(1, 20000)', deadline())
    await waitForReason(/^STORE_/)
    const full = await status()
    assert.match(full, /^Receiver {8}NOT READY: streaming from /)
    assert.match(full, /^Loss now {8}you would lose .* \([\d.]+ [KM]iB\) if only the store were left$/m)
    assert.match(full, /^Where it hangs {2}the store: .* \[STORE_\w+\]\n {16}hint: /m)
    assert.match(full, /^ {2}shipped +\S+ +[\d.]+ [KM]iB +/m)

    await rename(elsewhere, store)
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    await walferry('backup', '--log-level', 'warn', '--fast', '--url', urlOf(server), '--store', store)
    const before = await value(client, clock)
    await query(server, 'INSERT INTO t VALUES (0)', deadline())
    const behind = await value(client, clock)
    await receive.waitForShipped(await flushedUpTo(client), deadline())
    await cluster.kill(deadline())
    await waitForReason(/^PG_/)
    const alone = await status()
    assert.match(alone, /^Loss now {8}you would lose up to .*: no server is connected/m)
    assert.match(alone, /^Getting worse\? {2}yes: nothing comes in from the server/m)
    assert.match(alone, /^Where it hangs {2}the server: .* \[PG_\w+\]\n/m)

    assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
    const after = await status()
    assert.match(
      after,
      /^Receiver {8}no receiver answers on http:\S+ \(ECONNREFUSED\): this is what the archive says\n/,
    )
    const restorable = /^Restorable to {3}(\S+Z), /m.exec(after)?.[1] ?? ''
    assert.ok(before <= restorable && restorable <= behind, `${before} ${restorable} ${behind}`)
    assert.match(after, /^Backups {9}1 can be restored; newest /m)
    assert.match(after, /^Backlog {9}no receiver/m)
    assert.match(after, /^Gaps {12}none$/m)
  })
}
