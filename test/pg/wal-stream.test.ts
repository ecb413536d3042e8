import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import type { StreamEnd } from '../../src/pg/replication-client.ts'
import { asLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { offsetIn, segmentName, segmentStart, segnoOf } from '../../src/wal/segment.ts'
import { deadline, megabyte, rows, testVersions, value } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { WalCollector } from '../support/wal-collector.ts'
import { currentLsn, eventually, openClient, refusedAs, reload, type Server, withServer } from './replication-server.ts'

for (const version of await testVersions()) {
  test(`a stream of WAL from PostgreSQL ${version.major}`, async (t) => {
    await withServer(version, async (server) => {
      await streaming(t, server)
      await removedWal(t, server)
      await endOfTimeline(t, server)
      await endOfServer(t, server)
    })
  })
}

/** Writes so much WAL, durably, and returns its end. */
async function writeWal(sql: pg.Client, megabytes: number): Promise<Lsn> {
  for (let n = 0; n < megabytes; n++) {
    await sql.query(`SELECT pg_logical_emit_message(false, 'walferry', repeat(md5('${n}'), 32768))`)
  }
  await sql.query('CREATE TABLE IF NOT EXISTS moved (); DROP TABLE moved') // a commit flushes
  return await currentLsn(sql)
}

function startOfSegment(lsn: Lsn): Lsn {
  return segmentStart(segnoOf(lsn, megabyte), megabyte)
}

async function streaming(t: TestContext, { cluster, sql }: Server): Promise<void> {
  await t.test('what is streamed are the bytes of the files in pg_wal', async (t) => {
    const client = await openClient(t, cluster.connection)
    await client.createSlot('s', deadline())
    const start = startOfSegment(await currentLsn(sql))
    const end = await writeWal(sql, 3)
    const collector = new WalCollector(client, { slot: 's', start })
    await collector.has(end, deadline())
    assertSegments(cluster, collector, 3)
    collector.hands?.stop()
    await collector.ended
    await client.dropSlot('s', deadline())
  })

  await t.test('stop() ends the stream politely, and the connection can be used again', async (t) => {
    const client = await openClient(t, cluster.connection)
    const collector = new WalCollector(client, { start: await currentLsn(sql) })
    const hands = await collector.streaming(deadline())
    hands.stop()
    hands.stop()
    assert.deepEqual(await collector.ended, { kind: 'stopped' } satisfies StreamEnd)
    assert.equal((await client.identify(deadline())).timeline, 1)
    const again = new WalCollector(client, { start: await currentLsn(sql) })
    await again.streaming(deadline())
    again.hands?.stop()
    assert.deepEqual(await again.ended, { kind: 'stopped' })
  })

  await t.test(
    'what is reported is what the server says of us, and a reply is sent when it is asked for',
    async (t) => {
      const client = await openClient(t, cluster.connection)
      await client.createSlot('s', deadline())
      const start = await currentLsn(sql)
      const collector = new WalCollector(client, { slot: 's', start })
      await collector.streaming(deadline())
      const end = await writeWal(sql, 1)
      await collector.has(end, deadline())
      const keepalives = collector.keepalives
      collector.hands?.report({ written: end, flushed: start, wantReply: true })
      await collector.until(() => collector.keepalives > keepalives, deadline())
      const seen = 'SELECT write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication'
      const [positions] = await rows(sql, seen)
      assert.deepEqual(
        positions?.slice(0, 2).map((text) => parseLsn(text ?? '')),
        [end, start],
      )
      assert.equal(positions?.[2], null, 'nothing is applied')
      collector.hands?.stop()
      await collector.ended
      await client.dropSlot('s', deadline())
    },
  )

  await t.test('pause() stops the flow, resume() goes on where it stopped', async (t) => {
    const client = await openClient(t, cluster.connection)
    await client.createSlot('s', deadline())
    const start = startOfSegment(await currentLsn(sql))
    const collector = new WalCollector(client, { slot: 's', start })
    const hands = await collector.streaming(deadline())
    hands.pause()
    const atPause = collector.receivedBytes
    const end = await writeWal(sql, 24)
    // The server is stuck once its position stands still: all buffers between it and us are full.
    let sent = ''
    await eventually(async () => {
      const before = sent
      sent = await value(sql, 'SELECT sent_lsn FROM pg_stat_replication')
      await sql.query('SELECT pg_sleep(0.05)')
      return sent === before
    })
    assert.ok(parseLsn(sent) < end, 'the buffers cannot hold all of it')
    const more = collector.receivedBytes - atPause
    assert.ok(more < 300_000, `${more} bytes after the pause`)
    hands.resume()
    await collector.has(end, deadline())
    assertSegments(cluster, collector, 24)
    hands.stop()
    await collector.ended
    await client.dropSlot('s', deadline())
  })

  await t.test('cut() ends the stream with the error that it is given', async (t) => {
    const client = await openClient(t, cluster.connection)
    const collector = new WalCollector(client, { start: await currentLsn(sql) })
    await collector.streaming(deadline())
    const reason = new WalferryError('SPOOL_FAILED', 'the disk is full')
    client.cut(reason)
    await assert.rejects(collector.ended, reason)
    await assert.rejects(
      client.identify(deadline()),
      refusedAs('PG_CONNECTION_LOST', /identify the server/, { retryable: true }),
    )
  })

  await t.test('what a listener throws ends the stream, and nothing more is told', async (t) => {
    const client = await openClient(t, cluster.connection)
    const start = startOfSegment(await currentLsn(sql))
    const reason = new WalferryError('SPOOL_CONFLICT', 'other bytes')
    let told = 0
    const listener = {
      walBegins: () => {
        told++
        throw reason
      },
      wal: () => assert.fail('told more'),
      keepalive: () => undefined,
      batchEnd: () => undefined,
    }
    await writeWal(sql, 1)
    await assert.rejects(
      client.stream({ slot: null, timeline: 1, start }, listener, () => undefined),
      reason,
    )
    assert.equal(told, 1)
  })

  await t.test('a start past the end of the WAL is refused', async (t) => {
    const client = await openClient(t, cluster.connection)
    const ahead = asLsn((await currentLsn(sql)) + 1_000_000_000n)
    await assert.rejects(
      new WalCollector(client, { start: ahead }).ended,
      refusedAs('PG_REFUSED', /ahead of the WAL flush position/),
    )
  })

  await t.test('a slot that is not there is refused', async (t) => {
    const client = await openClient(t, cluster.connection)
    const start = await currentLsn(sql)
    await assert.rejects(
      new WalCollector(client, { slot: 'no', start }).ended,
      refusedAs('PG_REFUSED', /"no" does not exist/, { sqlstate: '42704' }),
    )
  })

  await t.test('a line that breaks under a stream is a lost connection', async (t) => {
    const proxy = await TcpProxy.open(t, cluster.connection)
    const client = await openClient(t, proxy)
    const collector = new WalCollector(client, { start: await currentLsn(sql) })
    await collector.streaming(deadline())
    proxy.reset()
    await assert.rejects(collector.ended, refusedAs('PG_CONNECTION_LOST', /stream WAL from/, { retryable: true }))
  })
}

/** At least `count` whole segments of what was streamed are equal to the server's files, byte for byte. */
function assertSegments(cluster: Cluster, collector: WalCollector, count: number): void {
  assert.equal(offsetIn(collector.start, megabyte), 0)
  const { bytes } = collector
  let compared = 0
  for (let at = 0; at + megabyte <= bytes.length; at += megabyte) {
    const name = segmentName({ timeline: 1, segno: segnoOf(asLsn(collector.start + BigInt(at)), megabyte) }, megabyte)
    const file = readFileSync(join(cluster.dataFolder, 'pg_wal', name))
    assert.ok(bytes.subarray(at, at + megabyte).equals(file), `${name} is equal`)
    compared++
  }
  assert.ok(compared >= count, `${compared} segments compared`)
}

async function removedWal(t: TestContext, { cluster, version, sql }: Server): Promise<void> {
  const oldest = (): string =>
    readdirSync(join(cluster.dataFolder, 'pg_wal'))
      .filter((name) => /^[0-9A-F]{24}$/.test(name))
      .toSorted()[0] ?? ''
  const removeBefore = async (lsn: Lsn): Promise<void> => {
    const name = segmentName({ timeline: 1, segno: segnoOf(lsn, megabyte) }, megabyte)
    await eventually(async () => {
      await writeWal(sql, 2)
      await sql.query('CHECKPOINT')
      return oldest() > name
    })
  }

  await t.test('WAL that the server has removed is told apart from every other refusal', async (t) => {
    const client = await openClient(t, cluster.connection)
    const start = startOfSegment(await currentLsn(sql))
    await removeBefore(start)
    const collector = new WalCollector(client, { start })
    await assert.rejects(
      collector.ended,
      refusedAs('WAL_REMOVED', /requested WAL segment [0-9A-F]{24} has already been removed/),
    )
    assert.equal(collector.receivedBytes, 0)
  })

  await t.test(
    'a slot that was invalidated because its WAL went reserves nothing any more, and cannot be streamed from',
    async (t) => {
      const client = await openClient(t, cluster.connection)
      await client.createSlot('lost', deadline())
      const start = startOfSegment(await currentLsn(sql))
      await reload(sql, { max_slot_wal_keep_size: '1MB' })
      await removeBefore(start)
      assert.equal(await value(sql, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'lost'"), 'lost')
      assert.deepEqual(await client.readSlot('lost', deadline()), { state: 'unreserved' })
      // Up to 17 the slot is taken, and then the WAL is not there; 18 refuses the slot itself.
      const refusal =
        version.major < 18
          ? refusedAs('WAL_REMOVED', /already been removed/)
          : refusedAs('PG_REFUSED', /can no longer access replication slot "lost"/, { sqlstate: '55000' })
      await assert.rejects(new WalCollector(client, { slot: 'lost', start }).ended, refusal)
      await client.dropSlot('lost', deadline())
      await reload(sql, { max_slot_wal_keep_size: '-1' })
    },
  )
}

async function endOfTimeline(t: TestContext, server: Server): Promise<void> {
  const { cluster } = server
  await t.test('the end of a timeline is told with the next one and where it begins', async (t) => {
    const end = startOfSegment(await writeWal(server.sql, 1))
    await cluster.stop('fast', deadline())
    await cluster.setRecovery('standby', {})
    await cluster.start(deadline())
    const standby = await openClient(t, cluster.connection)
    assert.equal(await standby.isInRecovery(deadline()), true)
    await cluster.promote(deadline())
    const client = await openClient(t, cluster.connection)
    const identity = await client.identify(deadline())
    assert.equal(identity.timeline, 2)
    const collector = new WalCollector(client, { timeline: 1, start: end })
    const told = await collector.ended
    assert.ok(told.kind === 'timeline-ended')
    assert.equal(told.timeline, 2)
    assert.equal(told.startsAt, collector.receivedUpTo, 'all WAL of the old timeline came before')
    assert.ok(collector.receivedBytes > 0)

    const atSwitch = new WalCollector(client, { timeline: 1, start: told.startsAt })
    assert.deepEqual(await atSwitch.ended, told, 'the same from the switch on, where there is nothing to stream')
    assert.equal(atSwitch.hands, null)

    const past = asLsn(told.startsAt + 1n)
    await assert.rejects(
      new WalCollector(client, { timeline: 1, start: past }).ended,
      refusedAs('PG_REFUSED', /not in this server's history/),
    )
  })
}

async function endOfServer(t: TestContext, { cluster }: Server): Promise<void> {
  const streamFrom = async (t: TestContext): Promise<WalCollector> => {
    const client = await openClient(t, cluster.connection)
    const { timeline, flushedUpTo } = await client.identify(deadline())
    const collector = new WalCollector(client, { timeline, start: flushedUpTo })
    await collector.streaming(deadline())
    return collector
  }

  await t.test('a server that is killed under a stream is a lost connection', async (t) => {
    const collector = await streamFrom(t)
    await cluster.kill(deadline())
    await assert.rejects(collector.ended, refusedAs('PG_CONNECTION_LOST', /stream WAL from/, { retryable: true }))
    await cluster.start(deadline())
  })

  await t.test('a server that shuts down sends what it has, and says so', async (t) => {
    const collector = await streamFrom(t)
    await cluster.stop('fast', deadline())
    await assert.rejects(collector.ended, refusedAs('PG_CONNECTION_LOST', /shutting down/, { retryable: true }))
    assert.ok(collector.receivedBytes > 0, 'the checkpoint of the shutdown came, too')
  })
}
