/** Where a receiver starts, for every state in which it can find its spool, its archive, its slot and its server. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type pg from 'pg'
import type { BackupResult } from '../../src/backup/backup.ts'
import type { Backups, ReceiveConfig } from '../../src/daemon/receive-daemon.ts'
import { deleteBacklog, putBacklog } from '../../src/archive/backlog.ts'
import { listGaps } from '../../src/archive/gaps.ts'
import { acknowledgeGaps } from '../../src/audit/acknowledge.ts'
import { segmentKey } from '../../src/archive/keys.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { offsetIn, segmentName, segmentStart, segnoOf } from '../../src/wal/segment.ts'
import { take } from '../backup/taking.ts'
import { filesIn, Receiving } from '../fault/receiving.ts'
import {
  archivedWal,
  assertArchived,
  clientOf,
  flushedUpTo,
  segmentBytes,
  startServer,
  write,
} from '../fault/server.ts'
import { deferred } from '../support/deferred.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline, rows, testVersions, value } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { Observed } from './observing.ts'

interface Place {
  readonly cluster: Cluster
  readonly client: pg.Client
  readonly slot: string
  readonly store: MemoryStore
  readonly spool: string
}

let slots = 0

/** A slot name, a store and a spool that nobody has used. */
async function place(t: test.TestContext, cluster: Cluster, client: pg.Client): Promise<Place> {
  const slot = `walferry_${++slots}`
  t.after(() => dropSlot(client, slot))
  return { cluster, client, slot, store: new MemoryStore(), spool: await tempFolder(t) }
}

/** A slot that stayed would keep the WAL that the next test wants removed. The server notices late that a receiver is gone. */
async function dropSlot(client: pg.Client, slot: string): Promise<void> {
  const named = `FROM pg_replication_slots WHERE slot_name = '${slot}'`
  const signal = deadline()
  while ((await value(client, `SELECT count(*) ${named}`)) !== '0') {
    signal.throwIfAborted()
    await client.query(`SELECT pg_terminate_backend(active_pid) ${named} AND active`)
    await client.query(`SELECT pg_drop_replication_slot(slot_name) ${named} AND NOT active`)
  }
}

function receive(
  t: test.TestContext,
  { cluster, store, spool, slot }: Place,
  config: Partial<ReceiveConfig> = {},
): Receiving {
  return new Receiving(t, { server: cluster.connection, store, spool, config: { slot, ...config } })
}

async function restartLsn({ client, slot }: Place): Promise<Lsn | null> {
  const [row] = await rows(client, `SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '${slot}'`)
  return row?.[0] ? parseLsn(row[0]) : null
}

async function createSlot({ client, slot }: Place, reserved: boolean): Promise<void> {
  await client.query(`SELECT pg_create_physical_replication_slot('${slot}', ${reserved})`)
}

/** Receives something, and stops. Returns how far it came. */
async function receiveSome(t: test.TestContext, at: Place, bytes = 1_300_000): Promise<Lsn> {
  const receiving = receive(t, at)
  await receiving.untilReady()
  await receiving.untilShipped(await write(at.client, bytes))
  await receiving.stop()
  return receiving.positions.synced
}

function keyOf(segno: number): string {
  return segmentKey(segmentName({ timeline: 1, segno }, segmentBytes), 'lz4')
}

/** Goes on, and has everything: from the archive's first segment to what is written now. */
async function goesOn(t: test.TestContext, at: Place): Promise<Receiving> {
  const receiving = receive(t, at)
  const end = await write(at.client, 1_300_000)
  await receiving.untilShipped(end)
  await receiving.untilReady()
  await assertArchived(at.cluster, at.store, end)
  return receiving
}

for (const version of await testVersions()) {
  describe(`a receiver that starts (PostgreSQL ${version.major})`, () => {
    test('finds its place', async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)

      await t.test('without any WAL begins where its slot reserves some', async (t) => {
        const at = await place(t, cluster, client)
        await createSlot(at, true)
        const restart = await restartLsn(at)
        await write(client, 2_200_000)
        const receiving = await goesOn(t, at)
        assert.equal((await archivedWal(at.store)).wholes[0], segnoOf(restart ?? assert.fail(), segmentBytes))
        await receiving.stop()
      })

      await t.test('and makes one where there is none, before it streams', async (t) => {
        const at = await place(t, cluster, client)
        const now = segnoOf(await flushedUpTo(client), segmentBytes)
        const receiving = await goesOn(t, at)
        const { wholes, withChunks } = await archivedWal(at.store)
        assert.ok(Math.min(...wholes, ...withChunks) <= now)
        assert.notEqual(await restartLsn(at), null)
        await receiving.stop()
      })

      await t.test('and replaces one that reserves nothing', async (t) => {
        const at = await place(t, cluster, client)
        await createSlot(at, false)
        assert.equal(await restartLsn(at), null)
        const receiving = await goesOn(t, at)
        assert.notEqual(await restartLsn(at), null)
        await receiving.stop()
      })

      await t.test('goes on after a stop, without a slot that was dropped', async (t) => {
        const at = await place(t, cluster, client)
        await receiveSome(t, at)
        await client.query(`SELECT pg_drop_replication_slot('${at.slot}')`)
        await write(client, 1_300_000)
        const receiving = await goesOn(t, at)
        assert.notEqual(await restartLsn(at), null)
        await receiving.stop()
      })

      await t.test('with a slot that is behind acknowledges nothing before it has compared', async (t) => {
        const at = await place(t, cluster, client)
        await client.query("SELECT pg_create_physical_replication_slot('keeper', true)")
        t.after(() => client.query("SELECT pg_drop_replication_slot('keeper')"))
        const old = parseLsn(
          await value(client, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'keeper'"),
        )
        const furthest = await receiveSome(t, at)
        await client.query(`SELECT pg_drop_replication_slot('${at.slot}')`)
        await client.query(`SELECT pg_copy_physical_replication_slot('keeper', '${at.slot}')`)
        assert.equal(await restartLsn(at), old)
        const receiving = receive(t, at)
        const seen = new Set<Lsn>()
        await receiving.until(async () => {
          const restart = await restartLsn(at)
          if (restart !== null) seen.add(restart)
          return restart !== null && restart >= furthest
        })
        for (const restart of seen) assert.ok(restart === old || restart >= furthest, `${restart}`)
        await receiving.stop()
        const again = await goesOn(t, at)
        await again.stop()
      })

      await t.test('with a slot that is ahead moves it back, and leaves nothing out', async (t) => {
        const at = await place(t, cluster, client)
        const furthest = await receiveSome(t, at)
        const end = await write(client, 3_300_000)
        await client.query(`SELECT pg_replication_slot_advance('${at.slot}', pg_current_wal_flush_lsn())`)
        const ahead = await restartLsn(at)
        assert.ok(ahead !== null && ahead > furthest)
        const receiving = receive(t, at)
        await receiving.untilShipped(end)
        await assertArchived(cluster, at.store, end)
        assert.equal(receiving.count(/streaming .*start=/), 1)
        await receiving.stop()
      })

      for (const lost of ['spool', 'archive'] as const) {
        await t.test(`goes on from what is left when the ${lost} is lost`, async (t) => {
          const at = await place(t, cluster, client)
          const furthest = await receiveSome(t, at)
          await write(client, 300_000)
          const left = lost === 'spool' ? { ...at, spool: await tempFolder(t) } : { ...at, store: new MemoryStore() }
          const receiving = await goesOn(t, left)
          // A start in mid-segment would splice two histories.
          const start = /streaming .*start=(\S+)/.exec(receiving.lines.join(''))?.[1] ?? ''
          assert.equal(parseLsn(start), segmentStart(segnoOf(furthest, segmentBytes), segmentBytes))
          await receiving.stop()
        })
      }

      await t.test('told to halt at a gap says what was removed, and stays for whoever looks', async (t) => {
        const at = await place(t, cluster, client)
        const furthest = await receiveSome(t, at)
        await client.query(`SELECT pg_drop_replication_slot('${at.slot}')`)
        await removeWal(client, furthest)
        const receiving = receive(t, at, { onGap: 'halt' })
        await receiving.until(() => receiving.reasons.includes('WAL_REMOVED'))
        await receiving.until(() => receiving.count(/receiving halted/) === 1)
        assert.deepEqual(await listGaps(at.store, { signal: deadline() }), [])
        receiving.askToStop()
        await assert.rejects(receiving.ended, { code: 'WAL_REMOVED' })
      })

      await t.test('goes on behind a gap, says so once, and leaves a note', async (t) => {
        const at = await place(t, cluster, client)
        const furthest = await receiveSome(t, at)
        await client.query(`SELECT pg_drop_replication_slot('${at.slot}')`)
        await removeWal(client, furthest)
        const receiveMore = async (spool: string): Promise<Receiving> => {
          const receiving = receive(t, { ...at, spool })
          await receiving.untilShipped(await write(client, 1_300_000))
          // A person has to look at it, and to say so.
          await receiving.until(() => String(receiving.reasons) === 'GAP_UNACKNOWLEDGED')
          return receiving
        }
        const first = await receiveMore(at.spool)
        assert.equal(first.count(/ERROR WAL is lost: the server has removed timeline 1 from/), 1)
        await first.stop()
        const [gap, ...others] = await listGaps(at.store, { signal: deadline() })
        assert.ok(gap !== undefined && others.length === 0)
        assert.equal(gap.from, furthest)
        assert.ok(gap.to > furthest && offsetIn(gap.to, segmentBytes) === 0)
        // With the spool or without it, what lies behind the gap is what counts from here on.
        for (const spool of [at.spool, await tempFolder(t)]) {
          const next = await receiveMore(spool)
          assert.equal(next.count(/ERROR/), 0)
          await next.stop()
        }
        assert.equal((await listGaps(at.store, { signal: deadline() })).length, 1)
        await acknowledgeGaps(at.store, 'all', { signal: deadline(), now: new Date() })
        const acknowledged = receive(t, at)
        await acknowledged.untilReady()
        await acknowledged.stop()
      })

      await t.test(
        'without its spool goes on from where the archive ends, also behind WAL that was kept apart',
        async (t) => {
          const at = await place(t, cluster, client)
          await receiveSome(t, at)
          const furthest = await receiveSome(t, at, 6_300_000)
          const wholes = (await archivedWal(at.store)).wholes.toSorted((a, b) => a - b)
          const [first = 0] = wholes
          const [stays = 0] = wholes.slice(-2)
          // What a deletion leaves: the WAL of an old backup, and the newest.
          const between = wholes.filter((segno) => segno > first && segno < stays)
          await at.store.deleteMany(between.map(keyOf), { signal: deadline() })
          await removeWal(client, segmentStart(first + 1, segmentBytes))
          // The server has what follows, and a new slot begins later.
          await write(client, 2_200_000)
          await client.query('CHECKPOINT')
          await client.query(`SELECT pg_copy_physical_replication_slot('${at.slot}', 'kept')`)
          t.after(() => client.query("SELECT pg_drop_replication_slot('kept')"))
          await client.query(`SELECT pg_drop_replication_slot('${at.slot}')`)
          const receiving = receive(t, { ...at, spool: await tempFolder(t) })
          const end = await write(client, 300_000)
          await receiving.untilShipped(end)
          await receiving.stop()
          const [gap, ...others] = await listGaps(at.store, { signal: deadline() })
          assert.ok(gap !== undefined && others.length === 0)
          assert.deepEqual(
            [gap.from, gap.to].map(Number),
            [first + 1, stays].map((segno) => segno * segmentBytes),
          )
          // The last one: before, it was tried whether the server had what follows the old WAL.
          const started = [...receiving.lines.join('').matchAll(/streaming .*start=(\S+)/g)].at(-1)?.[1] ?? ''
          assert.equal(parseLsn(started), segmentStart(segnoOf(furthest, segmentBytes), segmentBytes))
          const after = (await archivedWal(at.store)).wholes.filter((segno) => segno >= stays)
          assert.equal(after.length, Math.max(...after) - stays + 1, 'the archive has another hole')
        },
      )

      await t.test('behind WAL that is gone from the archive says so, until somebody knows it', async (t) => {
        const at = await place(t, cluster, client)
        const observe = (backups?: Backups): Observed => {
          const { slot, store, spool } = at
          return new Observed(t, {
            server: cluster.connection,
            store,
            spool,
            config: { slot },
            ...(backups && { backups }),
          })
        }
        const takeOne = (signal = deadline()): Promise<BackupResult> =>
          take(cluster, { store: at.store, signal, change: { withWal: false } })
        const first = observe()
        await first.untilReady()
        const before = await takeOne()
        await first.untilShipped(await write(client, 6_300_000))
        await first.stop()
        const { wholes } = await archivedWal(at.store)
        const [gone = 0] = wholes.toSorted((a, b) => a - b).slice(-3)
        assert.ok(!(await filesIn(at.spool)).includes(segmentName({ timeline: 1, segno: gone }, segmentBytes)))
        await at.store.deleteMany([keyOf(gone)], { signal: deadline() })

        const elsewhere = { timeline: 1, lsn: before.startLsn, host: 'elsewhere', time: new Date() }
        await putBacklog(at.store, 'another', elsewhere, { signal: deadline() })
        const patient = receive(t, at)
        await patient.until(() => patient.count(/WARN {2}the archive has a hole/) === 1)
        await patient.untilReady()
        await patient.stop()
        assert.deepEqual(await listGaps(at.store, { signal: deadline() }), [], 'another receiver may hold it')
        await deleteBacklog(at.store, 'another', { signal: deadline() })

        const second = observe()
        await second.until(() => String(second.reasons) === 'GAP_UNACKNOWLEDGED')
        assert.equal(second.count(/ERROR WAL is lost: the archive lacks timeline 1 from/), 1)
        const gaps = await listGaps(at.store, { signal: deadline() })
        assert.deepEqual(
          gaps.map(({ from, to }) => [from, to].map(Number)),
          [[gone, gone + 1].map((segno) => segno * segmentBytes)],
        )
        const isCut = async (receiving: Observed): Promise<boolean> => {
          const { restorable } = await receiving.status()
          return restorable?.beforeGap === true && restorable.backup === before.name && restorable.time !== null
        }
        await second.until(() => isCut(second))
        await acknowledgeGaps(at.store, 'all', { signal: deadline(), now: new Date() })
        await second.stop()

        // That it is known does not bring the WAL back: a new base backup does.
        const isTold = deferred()
        let isDue = true
        const third = observe({
          text: 'once',
          schedule: (from) => new Date(from.getTime() + (isDue ? 1 : 3_600_000)),
          take: async (signal) => {
            isDue = false
            await isTold.promise
            return await takeOne(signal)
          },
        })
        await third.untilReady()
        await third.until(() => isCut(third))
        isTold.resolve()
        await third.until(async () => {
          const { restorable } = await third.status()
          return restorable !== null && restorable.backup !== before.name && restorable.time === restorable.walTime
        })
        assert.equal(third.count(/ERROR/), 0, third.lines.join(''))
        await third.stop()
      })

      await t.test('from an old spool goes on where another receiver came to', async (t) => {
        const at = await place(t, cluster, client)
        const furthest = await receiveSome(t, at)
        await write(client, 2_200_000)
        await receiveSome(t, { ...at, spool: await tempFolder(t) })
        // The server itself could not give what lies between.
        await removeWal(client, furthest)
        const end = await write(client, 500_000)
        const receiving = receive(t, at)
        await receiving.untilShipped(end)
        await receiving.untilReady()
        // Chunks of whole segments may go after everything is shipped.
        await receiving.stop()
        const { wholes, withChunks } = await archivedWal(at.store)
        assert.equal(wholes.length, (wholes.at(-1) ?? 0) - (wholes[0] ?? 0) + 1, 'the archive has a hole')
        assert.deepEqual(withChunks, [segnoOf(end, segmentBytes)])
      })
    })
  })
}

/** Makes the server remove the segment of `lsn`, which no slot keeps. */
async function removeWal(client: pg.Client, lsn: Lsn): Promise<void> {
  await client.query("ALTER SYSTEM SET wal_keep_size = '0'")
  await client.query("ALTER SYSTEM SET max_wal_size = '2MB'")
  await client.query("ALTER SYSTEM SET min_wal_size = '2MB'")
  await client.query('SELECT pg_reload_conf()')
  const name = segmentName({ timeline: 1, segno: segnoOf(lsn, segmentBytes) }, segmentBytes)
  const isThere = `SELECT count(*) FROM pg_ls_waldir() WHERE name = '${name}'`
  const signal = deadline()
  while ((await value(client, isThere)) === '1') {
    signal.throwIfAborted()
    await write(client, 300_000)
    await client.query('SELECT pg_switch_wal()')
    await client.query('CHECKPOINT')
  }
}
