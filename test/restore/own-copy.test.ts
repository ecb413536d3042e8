/** How pg_wal's own copy compares with a tail, with WAL of real servers: of one segment of 1 MB, in two histories. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test, type TestContext } from 'node:test'
import { memoryAt } from '../../src/archive/bytes-at.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { query } from '../../src/cluster/query.ts'
import { lookAtOwnCopy, validBytesOf, walk } from '../../src/restore/own-copy.ts'
import { readPageHeader } from '../../src/wal/page.ts'
import { parseSegmentName } from '../../src/wal/segment.ts'
import type { ExpectedSegment } from '../../src/wal/segment-check.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  type TestVersion,
  testVersions,
  value,
} from '../support/postgres.ts'
import { flipped } from '../archive/streams.ts'
import { tempFolder } from '../support/temp.ts'

/** A segment that a server has killed in the middle, and another one that it wrote before. */
interface Recorded {
  readonly expected: ExpectedSegment
  readonly bytes: Buffer
  /** How far the records reach. */
  readonly end: number
  readonly older: Buffer
}

/** Two servers that were one, and then both wrote: the same system, timeline and segment, other rows. */
async function record(version: TestVersion): Promise<{ one: Recorded; other: Recorded }> {
  const settings = { wal_keep_size: '16MB' }
  const first = await makeCluster({ version, segmentBytes: megabyte, settings })
  try {
    await first.start(deadline())
    await query(first.connection, 'CREATE TABLE t (n int, text text)', deadline())
    await query(first.connection, 'SELECT pg_switch_wal()', deadline())
    await query(first.connection, 'INSERT INTO t VALUES (0, repeat(md5(random()::text), 1000))', deadline())
    await first.stop('fast', deadline())
    const second = await copyCluster(first)
    try {
      return { one: await writeAndKill(first, 'one'), other: await writeAndKill(second, 'other') }
    } finally {
      await discardCluster(second)
    }
  } finally {
    await discardCluster(first)
  }
}

async function writeAndKill(cluster: Cluster, text: string): Promise<Recorded> {
  await cluster.start(deadline())
  const client = await connect(cluster)
  await client.query(`INSERT INTO t SELECT n, '${text}' || n FROM generate_series(1, 1500) n`)
  const name = await value(client, 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())')
  await client.end()
  await cluster.kill(deadline())
  const pgWal = join(cluster.dataFolder, 'pg_wal')
  const bytes = await readFile(join(pgWal, name))
  const systemIdentifier = readPageHeader(bytes, 0)?.long?.systemIdentifier
  const segment = parseSegmentName(name, megabyte)
  const expected = { segment, segmentBytes: megabyte, systemIdentifier }
  const olderName = name.slice(0, 16) + (segment.segno - 1).toString(16).toUpperCase().padStart(8, '0')
  const older = await readFile(join(pgWal, olderName))
  return { expected, bytes, end: await validBytes(bytes, megabyte, expected), older }
}

async function compare(t: TestContext, own: Buffer | null, tail: Buffer, expected: ExpectedSegment): Promise<string> {
  const path = join(await tempFolder(t), 'segment')
  if (own !== null) await writeFile(path, own)
  return (await lookAtOwnCopy(path, memoryAt(tail), tail.length, expected)).compared
}

async function validBytes(bytes: Buffer, upTo: number, expected: ExpectedSegment): Promise<number> {
  return validBytesOf(await walk(memoryAt(bytes), upTo, expected), expected)
}

/** The first bytes of a segment, as pg_wal would hold them: with `behind` up to the full size. */
function padded(bytes: Buffer, upTo: number, behind: Buffer | number = 0): Buffer {
  const rest = typeof behind === 'number' ? Buffer.alloc(megabyte - upTo, behind) : behind.subarray(upTo)
  return Buffer.concat([bytes.subarray(0, upTo), rest])
}

for (const version of await testVersions()) {
  describe(`pg_wal's own copy of a segment, beside a tail (PostgreSQL ${version.major})`, () => {
    let one: Recorded
    let other: Recorded
    before(async () => {
      ;({ one, other } = await record(version))
    })

    test('the records are what a server wrote, in two histories that part within the segment', () => {
      assert.ok(one.end > 110_000 && one.end < megabyte, `${one.end}`)
      assert.deepEqual(one.expected, other.expected)
      assert.notDeepEqual(one.bytes, other.bytes)
    })

    test('none is none', async (t) => {
      assert.equal(await compare(t, null, one.bytes.subarray(0, one.end), one.expected), 'none')
    })

    test('has all of it where it is equal or reaches further, at whatever byte the tail ends', async (t) => {
      for (const bytes of [one.end, one.end - 1, one.end - 5000, 8192, 100, 1]) {
        assert.equal(await compare(t, one.bytes, one.bytes.subarray(0, bytes), one.expected), 'has-all', `${bytes}`)
      }
    })

    test('is shorter where its records end earlier, whatever lies behind them', async (t) => {
      const tail = one.bytes.subarray(0, one.end)
      for (const upTo of [0, 40, 8192, 100_000, one.end - 9]) {
        const behind = { zeros: 0, garbage: 0xa5, 'an older segment': one.older }
        for (const [what, bytes] of Object.entries(behind)) {
          assert.equal(
            await compare(t, padded(one.bytes, upTo, bytes), tail, one.expected),
            'shorter',
            `${upTo} ${what}`,
          )
        }
      }
    })

    test('is shorter where it is a recycled or a cut file', async (t) => {
      const tail = one.bytes.subarray(0, one.end)
      assert.equal(await compare(t, one.older, tail, one.expected), 'shorter')
      assert.equal(await compare(t, Buffer.alloc(0), tail, one.expected), 'shorter')
      assert.equal(await compare(t, one.bytes.subarray(0, 50_000), tail, one.expected), 'shorter')
    })

    test('has all where the tail ends in the beginning of a record that was written anew', async (t) => {
      // The server was killed when it had sent only the beginning of a record, came back, and wrote another one there.
      const whole = await validBytes(one.bytes, 100_000, one.expected)
      const tail = flipped(one.bytes.subarray(0, whole + 30), whole + 29, 0xff)
      assert.equal(await compare(t, one.bytes, tail, one.expected), 'has-all')
    })

    test('differs where both have records of their own behind what is common', async (t) => {
      assert.equal(await compare(t, one.bytes, other.bytes.subarray(0, other.end), one.expected), 'differs')
      assert.equal(await compare(t, other.bytes, one.bytes.subarray(0, one.end), one.expected), 'differs')
    })
  })
}
