/** A failover under a receiver that knows both hosts: no WAL is missing, and the old primary, when back, is passed over. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTarget } from '../../src/pg/target.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { deadline, newestVersion, value } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { copyOf, follow, startWithBase, untilReplayed } from './copies.ts'
import { Receiving } from './receiving.ts'
import { assertArchived, clientOf, segmentBytes, write } from './server.ts'

for (const version of await newestVersion()) {
  test(`the next host is streamed after a failover, and again once the old primary is back (PostgreSQL ${version.major})`, async (t) => {
    const { server: primary, base } = await startWithBase(t, version)
    const standby = await copyOf(t, base)
    await follow(standby, primary)
    const onPrimary = await clientOf(t, primary)
    const onStandby = await clientOf(t, standby)
    const store = new FaultyStore()
    const ports = `${primary.connection.port},${standby.connection.port}`
    const target = parseTarget(`host=127.0.0.1,127.0.0.1 port=${ports} user=postgres sslmode=disable`, {})
    const receiving = new Receiving(t, {
      server: primary.connection,
      store,
      spool: await tempFolder(t),
      config: { target },
    })
    await receiving.untilReady()
    const slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'walferry' AND restart_lsn IS NOT NULL"
    await receiving.until(async () => (await value(onStandby, slots)) === '1')
    const before = await write(onPrimary, 1.5 * segmentBytes)
    await receiving.untilShipped(before)
    await untilReplayed(onStandby, before)

    await primary.kill(deadline())
    await standby.promote(deadline())
    const promoted = await clientOf(t, standby)
    const after = await write(promoted, 1.5 * segmentBytes)
    await receiving.untilShipped(after)

    await primary.start(deadline())
    await promoted.query('SELECT pg_terminate_backend(pid) FROM pg_stat_replication')
    await receiving.until(() => receiving.count(/WARN +not from .*the server is on timeline 1/) > 0)
    const end = await write(promoted, 1.5 * segmentBytes)
    await receiving.untilShipped(end)
    await receiving.untilReady()
    await assertArchived(standby, store, end, 2)
    assert.equal(receiving.count(/WAL is lost/), 0)
    await receiving.stop()
  })
}
