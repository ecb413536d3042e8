/** A slot that the server has given up: the receiver makes it again, and says what is lost, if anything is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listGaps } from '../../src/archive/gaps.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { deadline, discardCluster, makeCluster, rows, newestVersion, testVersions } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { Receiving } from './receiving.ts'
import { clientOf, segmentBytes, write } from './server.ts'

/** A slot keeps 2 MB at most, and nothing else keeps WAL. */
const settings = {
  max_slot_wal_keep_size: '2MB',
  wal_keep_size: 0,
  min_wal_size: '2MB',
  max_wal_size: '2MB',
  autovacuum: false,
}

for (const version of await testVersions()) {
  test(`an invalidated slot is made again, and the gap is told (PostgreSQL ${version.major})`, async (t) => {
    const cluster = await makeCluster({ version, segmentBytes, settings })
    t.after(() => discardCluster(cluster))
    await cluster.start(deadline())
    const client = await clientOf(t, cluster)
    await client.query('CREATE TABLE t (n int, text text)')
    const store = new DirectoryStore(await tempFolder(t))
    const at = { server: cluster.connection, store, spool: await tempFolder(t) }
    const first = new Receiving(t, at)
    await first.untilReady()
    await first.untilShipped(await write(client, segmentBytes / 2))
    await first.stop()

    const status = async (): Promise<string | null> => {
      const [row] = await rows(client, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'walferry'")
      return row?.[0] ?? null
    }
    for (let round = 0; round < 20 && (await status()) !== 'lost'; round++) {
      await write(client, 2 * segmentBytes)
      await client.query('CHECKPOINT')
    }
    assert.equal(await status(), 'lost')

    const second = new Receiving(t, at)
    await second.untilShipped(await write(client, segmentBytes / 2))
    // Not that of the slot, which is a new one.
    await second.until(() => String(second.reasons) === 'GAP_UNACKNOWLEDGED')
    assert.notEqual(await status(), 'lost')
    assert.equal(second.count(/ERROR WAL is lost/), 1, second.lines.join(''))
    const gaps = await listGaps(store, { signal: deadline() })
    assert.deepEqual(
      gaps.map((gap) => gap.from),
      [first.positions.synced],
    )
    await second.stop()
  })
}

for (const version of await newestVersion()) {
  test(`a slot that must be there is waited for, and then used (PostgreSQL ${version.major})`, async (t) => {
    const cluster = await makeCluster({ version, segmentBytes, settings })
    t.after(() => discardCluster(cluster))
    await cluster.start(deadline())
    const client = await clientOf(t, cluster)
    await client.query('CREATE TABLE t (n int, text text)')
    const store = new DirectoryStore(await tempFolder(t))
    const at = { server: cluster.connection, store, spool: await tempFolder(t), config: { requireSlot: true } }
    const receiving = new Receiving(t, at)
    await receiving.until(() => receiving.reasons.includes('SLOT_MISSING'))
    assert.deepEqual(await rows(client, 'SELECT slot_name FROM pg_replication_slots'), [])
    await client.query("SELECT pg_create_physical_replication_slot('walferry', true)")
    await receiving.untilReady()
    await receiving.untilShipped(await write(client, 1000))
    await receiving.stop()
  })
}
