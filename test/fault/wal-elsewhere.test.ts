/** WAL that one host has removed while no receiver ran: another host of the list is asked before it is called lost. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { listGaps } from '../../src/archive/gaps.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { sleep } from '../../src/kit/abort.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { segnoOf } from '../../src/wal/segment.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { copyCluster, deadline, discardCluster, makeCluster, newestVersion, value } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { Receiving } from './receiving.ts'
import { assertArchived, clientOf, ownSegment, segmentBytes, settings, write } from './server.ts'

/** Only slots keep WAL. */
const forgetful = { ...settings, wal_keep_size: 0, min_wal_size: '2MB' }

/** The primary loses our slot, and then the WAL from `from` on, which is written meanwhile. Returns where that ends. */
async function loseWal(
  primary: Cluster,
  client: pg.Client,
  from: Lsn,
  replayed: (lsn: Lsn) => Promise<void>,
): Promise<Lsn> {
  await client.query("SELECT pg_drop_replication_slot('walferry')")
  const end = await write(client, 3 * segmentBytes)
  await replayed(end)
  const signal = deadline()
  while ((await ownSegment(primary, segnoOf(from, segmentBytes))) !== null) {
    signal.throwIfAborted()
    await client.query('CHECKPOINT')
  }
  return end
}

for (const version of await newestVersion()) {
  test(`WAL that the primary has removed is fetched from a standby that has it (PostgreSQL ${version.major})`, async (t) => {
    const primary = await makeCluster({ version, segmentBytes, settings: forgetful })
    const standby = await copyCluster(primary)
    for (const cluster of [primary, standby]) t.after(() => discardCluster(cluster))
    await primary.start(deadline())
    const client = await clientOf(t, primary)
    await client.query('CREATE TABLE t (n int, text text)')
    await standby.setRecovery('standby', { ...settings, primary_conninfo: primary.conninfo })
    await standby.start(deadline())
    const onStandby = await clientOf(t, standby)
    const replayed = async (lsn: Lsn): Promise<void> => {
      const signal = deadline()
      while (parseLsn(await value(onStandby, 'SELECT pg_last_wal_replay_lsn()')) < lsn) await sleep(5, signal)
    }
    const ports = `${primary.connection.port},${standby.connection.port}`
    // What is streamed day by day is chosen by it; what would be lost is not.
    const target = parseTarget(
      `host=127.0.0.1,127.0.0.1 port=${ports} user=postgres sslmode=disable target_session_attrs=primary`,
      {},
    )
    const store = new FaultyStore()
    const options = { server: primary.connection, store, spool: await tempFolder(t), config: { target } }

    const first = new Receiving(t, options)
    await first.untilReady()
    await first.untilShipped(await write(client, segmentBytes / 2))
    await first.stop()
    await loseWal(primary, client, first.positions.synced, replayed)
    const second = new Receiving(t, options)
    await second.untilReady()
    const end = await write(client, segmentBytes / 2)
    await second.untilShipped(end)
    await replayed(end)
    await assertArchived(standby, store, end)
    assert.equal(second.count(/WAL is lost/), 0, second.lines.join(''))
    assert.deepEqual(await listGaps(store, { signal: deadline() }), [])
    await second.stop()

    await loseWal(primary, client, second.positions.synced, replayed)
    await standby.kill(deadline())
    const third = new Receiving(t, options)
    await third.until(() => String(third.reasons) === 'GAP_UNACKNOWLEDGED')
    await third.untilShipped(await write(client, segmentBytes / 2))
    assert.equal(third.count(/WARN .*does not give the WAL that is missing/), 1, third.lines.join(''))
    assert.deepEqual(
      (await listGaps(store, { signal: deadline() })).map((gap) => gap.from),
      [second.positions.synced],
    )
    await third.stop()
  })
}
