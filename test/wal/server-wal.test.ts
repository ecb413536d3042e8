import assert from 'node:assert/strict'
import { open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type pg from 'pg'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { parseHistory } from '../../src/wal/history.ts'
import { type Lsn, parseLsn, plus } from '../../src/wal/lsn.ts'
import { firstReplacesContinuation, majorVersionOf, pageBytes, readPageHeader } from '../../src/wal/page.ts'
import { RecordWalker } from '../../src/wal/record-walker.ts'
import { firstPageFault, SegmentChecker } from '../../src/wal/segment-check.ts'
import { segmentName, segnoBefore, segnoOf } from '../../src/wal/segment.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  megabyte,
  type TestVersion,
  testVersions,
  value,
  withCluster,
} from '../support/postgres.ts'
import { type Random, seededRandom } from '../support/random.ts'
import { stateOf } from './segment-state.ts'
import {
  afterHeader,
  emit,
  emitAtPageEnd,
  isUncheckedHeaderByte,
  readQuietWal,
  readWal,
  recordsOf,
  type ServerWal,
  walkAll,
} from './server-wal.ts'

const segmentBytes = megabyte
/** All WAL stays where it is, so that it can be read at the end. */
const settings = { wal_keep_size: '1GB', max_wal_size: '4GB', checkpoint_timeout: '1h', autovacuum: false }

for (const version of await testVersions()) {
  describe(`the WAL of PostgreSQL ${version.major}`, () => {
    test('is walked to where the server has flushed it, and every segment of it is right', async (t) => {
      const random = seededRandom(t)
      const { wal, end, systemIdentifier } = await writtenWal(version, random)

      const whole = walkAll(wal)
      assert.equal(whole.validEnd, end)
      assert.equal(majorVersionOf(readPageHeader(wal.bytes, 0)?.magic ?? 0), version.major)

      await t.test('cut at random', () => {
        for (let round = 0; round < 10; round++) {
          const walker = new RecordWalker({ start: wal.start, segmentBytes, timeline: 1, systemIdentifier })
          for (let at = 0; at < wal.bytes.length; ) {
            const to = at + 1 + random.below(random.pick([100, 30_000, 2_000_000]))
            walker.push(wal.bytes.subarray(at, to))
            at = to
          }
          assert.equal(walker.validEnd, end)
          assert.deepEqual(walker.stopped, whole.stopped)
        }
      })

      await t.test('segment by segment', () => {
        const last = segnoBefore(end, segmentBytes)
        for (let segno = segnoOf(wal.start, segmentBytes); segno <= last; segno++) {
          const expected = { segment: { timeline: 1, segno }, segmentBytes, systemIdentifier }
          const from = Number(BigInt(segno) * BigInt(segmentBytes) - wal.start)
          const bytes = wal.bytes.subarray(from, from + segmentBytes)
          assert.equal(firstPageFault(bytes, expected), null)
          const complete = segno < last || end % BigInt(segmentBytes) === 0n
          assert.equal(stateOf(bytes, expected).kind, complete ? 'complete' : 'incomplete')
          const later = new RecordWalker({ start: plus(wal.start, from), segmentBytes, timeline: 1 })
          later.push(wal.bytes.subarray(from))
          assert.equal(later.validEnd, end)
          if (segno === last) continue
          const checker = new SegmentChecker(expected)
          checker.push(bytes)
          assert.equal(checker.end(), null)
        }
      })

      await t.test('a flipped bit anywhere stops it there', () => assertFlipsAreSeen(wal, random))
    })

    test('after kill -9 it ends where the server finds its end, and goes on behind it', async (t) => {
      const random = seededRandom(t)
      await withCluster({ version, segmentBytes, settings }, async (cluster, client) => {
        await client.query('CREATE TABLE t (n int, text text)')
        await load(cluster, random, 25)
        const wal = await readWal(cluster, segmentBytes)
        const walker = walkAll(wal)
        assert.ok(walker.validEnd !== null && walker.lastRecord !== null)

        await cluster.start(deadline())
        const [, redoDone] = await cluster.waitForLog(/redo done at ([0-9A-F/]+)/, deadline())
        assert.equal(parseLsn(redoDone ?? ''), walker.lastRecord)
        const after = await connect(cluster)
        // The end of recovery writes a checkpoint: the first record behind the end that was found, or, where a record
        // had lost its end, the second, after one that says so (24 bytes of header, 2, 16 of data, 6 of padding).
        const checkpoint = parseLsn(await value(after, 'SELECT checkpoint_lsn FROM pg_control_checkpoint()'))
        const goesOnAt = endOfLog(walker)
        assert.equal(checkpoint, plus(afterHeader(wal, goesOnAt), goesOnAt === walker.validEnd ? 0 : 48))
        await after.query("INSERT INTO t VALUES (-1, 'behind')")
        const quiet = await readQuietWal(cluster, after, segmentBytes)
        assert.equal(walkAll(quiet.wal).validEnd, quiet.end)
        await after.end()
      })
    })

    test('a record that lost its end in a crash is passed over as the server does', async () => {
      await withCluster({ version, segmentBytes, settings }, async (cluster, client) => {
        await client.query('CREATE TABLE t (n int)')
        await emit(client, 300_000)
        const { wal, end } = await readQuietWal(cluster, client, segmentBytes)
        await cluster.kill(deadline())
        const long = recordsOf(wal).find((record) => record.end - record.start > 300_000n)
        assert.ok(long !== undefined)
        const lostFrom = plus(long.start, pageBytes * 7 - Number(long.start % BigInt(pageBytes)))
        await eraseWal(cluster, lostFrom, end)
        assert.equal(walkAll(await readWal(cluster, segmentBytes)).validEnd, long.start)

        await cluster.start(deadline())
        const after = await connect(cluster)
        await after.query('INSERT INTO t SELECT generate_series(1, 10000)')
        const quiet = await readQuietWal(cluster, after, segmentBytes)
        const page = readPageHeader(quiet.wal.bytes, Number(lostFrom - wal.start))
        assert.ok(page !== null && (page.info & firstReplacesContinuation) !== 0)
        assert.equal(walkAll(quiet.wal).validEnd, quiet.end)
        await after.end()
      })
    })

    test('is walked over a fork, whose history names the end on the old timeline', async (t) => {
      const random = seededRandom(t)
      await withCluster({ version, segmentBytes, settings }, async (cluster, client) => {
        await client.query('CREATE TABLE t (n int, text text)')
        await load(cluster, random, 10)
        // Also where a record lacks its rest: on a new timeline nothing need say that it was passed over.
        const fork = walkAll(await readWal(cluster, segmentBytes)).validEnd
        assert.ok(fork !== null)
        const promoted = await copyCluster(cluster)
        try {
          await promoted.setRecovery('recovery', { restore_command: 'exit 1' })
          await promoted.start(deadline())
          await promoted.waitForPromotion(deadline())
          const history = parseHistory(2, await readFile(join(promoted.dataFolder, 'pg_wal', '00000002.history')))
          assert.deepEqual(history.ancestors, [
            { timeline: 1, switchPoint: fork, reason: 'no recovery target specified' },
          ])
          const after = await connect(promoted)
          await after.query('INSERT INTO t SELECT n FROM generate_series(1, 50000) AS n')
          const { wal, end } = await readQuietWal(promoted, after, segmentBytes)
          assert.equal(walkAll(wal, 2).validEnd, end)
          assert.match(walkAll(wal, 1).stopped?.reason ?? '', /is of timeline 2, expected at most 1/)
          await after.end()
        } finally {
          await discardCluster(promoted)
        }
      })
    })
  })
}

/** Where a server writes on, on the same timeline: at the end of the last record, or at the page where the next one lacks its rest. */
function endOfLog(walker: RecordWalker): Lsn {
  const { validEnd, stopped } = walker
  assert.ok(validEnd !== null && stopped !== null)
  const isWithinRecord = stopped.at % BigInt(pageBytes) === 0n && stopped.at > validEnd
  return isWithinRecord ? stopped.at : validEnd
}

/** WAL with records of all sizes, headers cut by pages, switches and checkpoints. */
async function writtenWal(
  version: TestVersion,
  random: Random,
): Promise<{ wal: ServerWal; end: Lsn; systemIdentifier: bigint }> {
  return await withCluster({ version, segmentBytes, settings }, async (cluster, client) => {
    await client.query('CREATE TABLE t (n int PRIMARY KEY, text text)')
    for (let round = 0; round < 6; round++) {
      await client.query(`INSERT INTO t SELECT ${round} * 1000 + n, repeat('x', n) FROM generate_series(1, 900) AS n`)
      await client.query('CHECKPOINT')
      await client.query('UPDATE t SET n = -n WHERE n % 7 = 0')
      for (let n = 0; n < 10; n++) await emit(client, random.below(random.pick([100, 9000, 70_000])))
      for (const left of [8, 16, 24]) await emitAtPageEnd(client, left)
      if (round % 2 === 0) await client.query('SELECT pg_switch_wal()')
    }
    await emit(client, 3_300_000)
    await emit(client, 500_000)
    const systemIdentifier = BigInt(await value(client, 'SELECT system_identifier FROM pg_control_system()'))
    return { ...(await readQuietWal(cluster, client, segmentBytes)), systemIdentifier }
  })
}

/** Several clients write until `count` statements are through; then the server is killed under them. */
async function load(cluster: Cluster, random: Random, count: number): Promise<void> {
  const clients = await Promise.all([1, 2, 3].map(() => connect(cluster)))
  let done = 0
  let killed: Promise<void> | undefined
  const write = async (client: pg.Client): Promise<void> => {
    try {
      for (;;) {
        const size = random.below(random.pick([50, 3000, 200_000]))
        await client.query(`INSERT INTO t SELECT n, repeat(md5(n::text), ${size}) FROM generate_series(1, 5) AS n`)
        if (++done >= count) killed ??= cluster.kill(deadline())
      }
    } catch {
      // Cut by the kill.
    }
  }
  await Promise.all(clients.map(write))
  assert.ok(killed !== undefined, 'the server was there until it was killed')
  await killed
}

/** Writes zeros over the WAL from `from` on, and removes the segments behind it. */
async function eraseWal(cluster: Cluster, from: Lsn, end: Lsn): Promise<void> {
  const folder = join(cluster.dataFolder, 'pg_wal')
  const first = segnoOf(from, segmentBytes)
  const file = await open(join(folder, segmentName({ timeline: 1, segno: first }, segmentBytes)), 'r+')
  const offset = Number(from % BigInt(segmentBytes))
  await file.write(Buffer.alloc(segmentBytes - offset), 0, segmentBytes - offset, offset)
  await file.close()
  for (let segno = first + 1; segno <= segnoBefore(end, segmentBytes); segno++) {
    await unlink(join(folder, segmentName({ timeline: 1, segno }, segmentBytes)))
  }
}

/** Flips bits of random records, one at a time: the walk must not get past the record. */
function assertFlipsAreSeen(wal: ServerWal, random: Random): void {
  const records = recordsOf(wal)
  const sizes = new Set(records.map((record) => Math.ceil(Number(record.end - record.start) / pageBytes)))
  assert.ok(sizes.has(1) && sizes.has(2) && Math.max(...sizes) > 400, 'records of one page, two, and many')
  for (let round = 0; round < 300; round++) {
    const record = random.pick(records)
    const at = plus(record.start, random.below(Number(record.end - record.start) - record.padding))
    if (isUncheckedHeaderByte(wal, at)) continue
    const offset = Number(at - wal.start)
    const bit = 1 << random.below(8)
    wal.bytes[offset] = (wal.bytes[offset] ?? 0) ^ bit
    const start = plus(wal.start, Math.floor(Number(record.start - wal.start) / pageBytes) * pageBytes)
    const walker = new RecordWalker({ start, segmentBytes, timeline: 1 })
    walker.push(wal.bytes.subarray(Number(start - wal.start), Number(record.end - wal.start) + 3 * pageBytes))
    wal.bytes[offset] = (wal.bytes[offset] ?? 0) ^ bit
    const where = `bit ${bit} at ${at} of the record at ${record.start}`
    assert.ok(walker.validEnd === null || walker.validEnd <= record.start, where)
  }
}
