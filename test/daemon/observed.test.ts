/** What a receiver tells of itself, as Prometheus and `walferry status` ask for it: over HTTP, beside a real server. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { segmentKey } from '../../src/archive/keys.ts'
import { catalogue, type Metrics } from '../../src/metrics/catalogue.ts'
import { segmentName, segnoOf } from '../../src/wal/segment.ts'
import { take } from '../backup/taking.ts'
import { follow, startWithBase } from '../fault/copies.ts'
import { clientOf, flushedUpTo, segmentBytes, write } from '../fault/server.ts'
import { without } from '../grafana/prometheus-tools.ts'
import { FaultyStore, unreachable } from '../ship/shipping.ts'
import { deferred } from '../support/deferred.ts'
import { deadline, testVersions, value } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { atLeast, Observed } from './observing.ts'

for (const version of await testVersions()) {
  test(`what is told is right (PostgreSQL ${version.major})`, async (t) => {
    const { server, base } = await startWithBase(t, version)
    const client = await clientOf(t, server)
    const store = new FaultyStore()
    let isDue = true
    const backups = {
      text: '0 3 * * *',
      schedule: (from: Date) => new Date(from.getTime() + (isDue ? 1 : 3_600_000)),
      take: async (signal: AbortSignal, metrics: Metrics) => {
        isDue = false
        return await take(server, { store, signal, change: { withWal: false, metrics } })
      },
    }
    const observed = new Observed(t, { server: server.connection, store, spool: await tempFolder(t), backups })
    await observed.untilReady()
    const serverVersion = (await value(client, 'SHOW server_version')).split(' ')[0] ?? ''

    await t.test('while all is well, and the server is idle', async (t) => {
      const end = Number(await write(client, 2_500_000))
      const scrape = await observed.untilTold({
        walferry_ready: 1,
        walferry_connected: 1,
        walferry_timeline: 1,
        [`walferry_server_info{version="${serverVersion}"}`]: 1,
        'walferry_position_bytes{position="shipped"}': atLeast(end),
        walferry_received_bytes_total: atLeast(2_500_000),
        walferry_synced_bytes_total: atLeast(2_500_000),
        'walferry_uploads_total{kind="segment",result="success"}': atLeast(2),
        'walferry_uploads_total{kind="tail",result="success"}': atLeast(1),
        'walferry_uploads_total{kind="backup",result="success"}': atLeast(2),
        'walferry_stored_bytes_total{kind="backup"}': atLeast(1_000_000),
        'walferry_shipped_bytes_total{kind="backup"}': atLeast(1_000_000),
        walferry_backup_age_seconds: (age) => age < 120,
        walferry_backup_duration_seconds: atLeast(0.01),
        walferry_slot_retained_bytes: atLeast(0),
        walferry_slot_safe_bytes: Infinity,
        walferry_spool_disk_free_bytes: atLeast(1),
        walferry_spool_disk_size_bytes: atLeast(1),
        walferry_gaps: 0,
        walferry_loss_seconds: 0,
        walferry_restorable_time_seconds: atLeast(1),
      })
      for (const stage of ['receive', 'sync', 'ship']) {
        assert.equal(scrape.get(`walferry_lag_bytes{stage="${stage}"}`), 0, stage)
        assert.equal(scrape.get(`walferry_lag_seconds{stage="${stage}"}`), 0, stage)
      }
      for (const place of ['archive', 'spool']) {
        assert.equal(scrape.get(`walferry_conflicts_total{place="${place}"}`), 0)
      }
      for (const status of ['reserved', 'extended', 'unreserved', 'lost', 'missing']) {
        assert.equal(scrape.get(`walferry_slot_wal_status{status="${status}"}`), status === 'reserved' ? 1 : 0)
      }
      const synced = scrape.get('walferry_synced_bytes_total') ?? 0
      assert.ok(synced <= (scrape.get('walferry_received_bytes_total') ?? 0), 'no byte is made durable twice')
      const restorable = scrape.get('walferry_restorable_time_seconds') ?? 0
      assert.ok(Math.abs(Date.now() / 1000 - restorable) < 120)

      await t.test('every name of the catalogue has its help and type', async () => {
        const text = await observed.ask('/metrics')
        for (const [name, { type, help }] of Object.entries(catalogue)) {
          assert.ok(text.includes(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`), name)
        }
      })
      await t.test('promtool finds nothing wrong', { skip: without('promtool') }, async () => {
        execFileSync('promtool', ['check', 'metrics'], { input: await observed.ask('/metrics') })
      })
      await t.test('the status says the same', async () => {
        const status = await observed.status()
        assert.equal(status.state, 'streaming')
        assert.deepEqual(status.reasons, [])
        assert.equal(status.server?.version, serverVersion)
        assert.equal(status.server.timeline, 1)
        assert.equal(status.positions?.shipped, status.positions?.server)
        assert.equal(status.lossSeconds, 0)
        assert.equal(status.slot?.walStatus, 'reserved')
        assert.equal(status.slot.safeBytes, null)
        assert.deepEqual(status.gaps, [])
        assert.equal(status.store.problem, null)
        assert.ok(status.store.lastUploadAt !== null && status.backup.lastSuccessAt !== null)
        assert.match(status.restorable?.backup ?? '', /^base_00000001/)
        assert.ok(status.restorable?.time !== null)
        assert.equal(status.restorable?.time, status.restorable?.walTime)
        assert.equal(status.restorable?.time, status.restorableTime)
        assert.equal(status.backup.schedule, '0 3 * * *')
        assert.ok(Date.parse(status.backup.nextAt ?? '') > Date.parse(status.at))
        assert.ok((status.spool.diskFreeBytes ?? 0) > 0)
      })
    })

    await t.test('while the store fails, and when it is back', async () => {
      store.before = (operation) => {
        if (operation === 'put') throw unreachable()
      }
      await write(client, 100_000)
      const failing = await observed.untilTold({
        walferry_ready: 0,
        'walferry_problem{code="STORE_UNREACHABLE"}': 1,
        'walferry_uploads_total{kind="tail",result="failure"}': atLeast(2),
        'walferry_store_failures_total{code="STORE_UNREACHABLE"}': atLeast(2),
        'walferry_lag_bytes{stage="ship"}': atLeast(50_000),
        walferry_loss_seconds: atLeast(0.5),
        walferry_connected: 1,
      })
      assert.ok((failing.get('walferry_loss_seconds') ?? 0) < 120, 'not since the start')
      assert.equal((await observed.status()).store.problem?.code, 'STORE_UNREACHABLE')
      store.before = () => undefined
      await observed.untilTold({
        walferry_ready: 1,
        'walferry_problem{code="STORE_UNREACHABLE"}': 0,
        'walferry_lag_seconds{stage="ship"}': 0,
        walferry_loss_seconds: 0,
      })
    })

    await t.test('while the server is away, and when it is back', async () => {
      const before = await observed.scrape()
      await server.stop('fast', deadline())
      const away = await observed.untilTold({
        walferry_ready: 0,
        walferry_connected: 0,
        'walferry_problem{code="PG_CONNECTION_LOST"}': 1,
        walferry_loss_seconds: atLeast(0.5),
      })
      // What was counted goes on.
      const received = 'walferry_received_bytes_total'
      assert.ok((away.get(received) ?? 0) >= (before.get(received) ?? Infinity))
      // How the slot stood is told on, with the time at which the server said it.
      const asked = 'walferry_slot_asked_time_seconds'
      const slot = await observed.untilTold({ 'walferry_slot_wal_status{status="reserved"}': 1 })
      assert.ok(slot.has('walferry_slot_retained_bytes'))
      const status = await observed.status()
      assert.equal(Date.parse(status.slot?.askedAt ?? '') / 1000, slot.get(asked))
      await server.start(deadline())
      const back = await observed.untilTold({
        walferry_ready: 1,
        walferry_connected: 1,
        'walferry_slot_wal_status{status="reserved"}': 1,
        [asked]: (time) => time > (slot.get(asked) ?? Infinity),
        'walferry_reconnects_total{reason="PG_CONNECTION_LOST"}': atLeast(1),
        walferry_loss_seconds: 0,
        [received]: atLeast(away.get(received) ?? Infinity),
      })
      assert.equal(back.get('walferry_timeline_switches_total'), 0)
    })

    const writer = await clientOf(t, server)
    await t.test('while somebody else has written into the archive', async () => {
      const segno = segnoOf(await flushedUpTo(writer), segmentBytes) + 1
      store.set(segmentKey(segmentName({ timeline: 1, segno }, segmentBytes), 'none'), Buffer.alloc(segmentBytes))
      await write(writer, 2_500_000)
      await observed.untilTold({
        walferry_ready: 0,
        walferry_connected: 1,
        'walferry_problem{code="ARCHIVE_CONFLICT"}': 1,
        'walferry_conflicts_total{place="archive"}': 1,
        'walferry_conflicts_total{place="spool"}': 0,
      })
    })
    observed.askToStop()
    await assert.rejects(observed.ended, { code: 'ARCHIVE_CONFLICT' })

    await t.test(
      'where the server allows no ordinary connection, the slot is not told, and that is said once',
      async (t) => {
        const hba = join(server.folder, 'pg_hba.conf')
        const allowed = readFileSync(hba)
        t.after(async () => {
          writeFileSync(hba, allowed)
          await writer.query('SELECT pg_reload_conf()')
        })
        writeFileSync(hba, 'host replication all 127.0.0.1/32 trust\n')
        await writer.query('SELECT pg_reload_conf()')
        const blind = new Observed(t, {
          server: server.connection,
          store: new FaultyStore(),
          spool: await tempFolder(t),
        })
        await blind.untilReady()
        await blind.until(() => blind.count(/INFO {2}the slot is not watched: .*pg_hba\.conf/) === 1)
        await blind.untilShipped(await write(writer, 1000))
        const scrape = await blind.untilTold({ walferry_ready: 1, walferry_connected: 1, walferry_loss_seconds: 0 })
        assert.deepEqual(
          [...scrape.keys()].filter((series) => series.startsWith('walferry_slot_')),
          [],
        )
        assert.equal(blind.count(/ERROR/), 0, blind.lines.join(''))
        await blind.stop()
      },
    )

    await t.test('beside a standby, the same as beside a primary', async (t) => {
      await follow(base, server)
      const store = new FaultyStore()
      const isTold = deferred()
      let isTaken = false
      const backups = {
        text: 'once',
        schedule: (from: Date) => new Date(from.getTime() + (isTaken ? 3_600_000 : 1)),
        take: async (signal: AbortSignal) => {
          await isTold.promise
          isTaken = true
          return await take(base, { store, signal, change: { withWal: false } })
        },
      }
      const standby = new Observed(t, { server: base.connection, store, spool: await tempFolder(t), backups })
      await standby.untilReady()
      const end = Number(await write(writer, 300_000))
      await standby.untilTold({
        'walferry_position_bytes{position="shipped"}': atLeast(end),
        'walferry_lag_seconds{stage="receive"}': 0,
        'walferry_lag_seconds{stage="ship"}': 0,
        walferry_loss_seconds: 0,
        'walferry_slot_wal_status{status="reserved"}': 1,
        walferry_slot_retained_bytes: atLeast(0),
        walferry_backup_age_seconds: Infinity,
        walferry_backup_success_time_seconds: 0,
        walferry_restorable_time_seconds: 0,
      })
      isTold.resolve()
      await standby.untilTold({ walferry_restorable_time_seconds: atLeast(1) })
      await base.promote(deadline())
      await standby.untilTold({ walferry_timeline: 2, walferry_timeline_switches_total: 1, walferry_ready: 1 })
      // The base backup is of the timeline before: that it leads on is known once the archive was looked at.
      const promoted = Date.now() / 1000
      await write(await clientOf(t, base), 100_000)
      await standby.untilTold({ walferry_restorable_time_seconds: atLeast(promoted) })
      const { restorable } = await standby.status()
      assert.equal(restorable?.beforeGap, false)
      // Its last commit may have come after the server's last word.
      assert.ok(Date.parse(restorable.time ?? '') >= Date.parse(restorable.walTime ?? ''))
      await standby.stop()
    })
  })
}
