/** The main job: what was shipped before a crash, the tail included, is what a recovery brings back. */
import assert from 'node:assert/strict'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { memoryAt } from '../../src/archive/bytes-at.ts'
import { walk } from '../../src/restore/own-copy.ts'
import { formatLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { segmentName, segnoBefore } from '../../src/wal/segment.ts'
import { deadline, megabyte, testVersions } from '../support/postgres.ts'
import { startS3Server } from '../support/s3-server.ts'
import { tempFolder } from '../support/temp.ts'
import { restoreCommand, runFetch, startReceive } from '../support/walferry.ts'
import { allRows, flushedUpTo, insert, insertLarge, makeScene, recover, recoveredUpTo, rowsOf } from './scenario.ts'

/** Where an archive is: what `receive` and `fetch` need to find it. */
interface Place {
  readonly store: string
  readonly options: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

async function inFolder(t: TestContext): Promise<Place> {
  // A folder's name needs quotes in restore_command, and a % is PostgreSQL's.
  const store = join(await tempFolder(t), "it's 100%f of $it")
  await mkdir(store)
  return { store, options: [], env: {} }
}

async function inS3(t: TestContext): Promise<Place> {
  const s3 = await startS3Server()
  t.after(() => s3.stop())
  return { store: `s3://${s3.bucket}/cluster/main`, options: ['--s3-endpoint', s3.endpoint], env: s3.environment }
}

/** Each store with each version and each segment size, each version with each size. */
const runs = [
  { major: 13, megabytes: 1, name: 'a folder', place: inFolder },
  { major: 13, megabytes: 16, name: 'S3', place: inS3 },
  { major: 18, megabytes: 1, name: 'S3', place: inS3 },
  { major: 18, megabytes: 16, name: 'a folder', place: inFolder },
  { major: 18, megabytes: 64, name: 'S3', place: inS3 },
] as const

/** The end of the last whole record in what was shipped. */
async function endOfShipped(t: TestContext, place: Place, shipped: Lsn, segmentBytes: number): Promise<Lsn | null> {
  const segment = { timeline: 1, segno: segnoBefore(shipped, segmentBytes) }
  const dest = join(await tempFolder(t), 'segment')
  const args = [segmentName(segment, segmentBytes), dest, '--store', place.store, ...place.options]
  const { code, stderr } = await runFetch(args, { signal: deadline(), env: place.env })
  assert.equal(code, 0, stderr)
  assert.match(stderr, new RegExp(`served the tail, up to ${formatLsn(shipped)}`))
  const walker = await walk(memoryAt(await readFile(dest)), segmentBytes, { segment, segmentBytes })
  return walker.validEnd
}

for (const version of await testVersions()) {
  for (const { megabytes, name, place: makePlace } of runs.filter(({ major }) => major === version.major)) {
    const how = `PostgreSQL ${version.major}, segments of ${megabytes} MB, in ${name}`
    test(`after kill -9 a copy recovers every row, up to the last record that was shipped (${how})`, async (t) => {
      const segmentBytes = megabytes * megabyte
      const { server, copy, client } = await makeScene(t, version, segmentBytes)
      const place = await makePlace(t)
      // The tail waits for the drain, which has to ship it.
      const args = [...place.options, '--ship-interval', '1h']
      const spool = join(await tempFolder(t), 'spool')
      const receive = startReceive(t, { server: server.connection, store: place.store, spool, args, env: place.env })

      await insert(client, 1, 1000, 'first')
      await insert(client, 1001, 1001, 'second')
      await client.query('SELECT pg_switch_wal()')
      await client.query("UPDATE t SET text = 'changed' WHERE id % 7 = 0")
      await insertLarge(client, 2000, 2 * megabyte)
      await client.query('DELETE FROM t WHERE id % 11 = 0')
      await insert(client, 3000, 3000, 'last')
      const rows = await allRows(client)
      const committed = await flushedUpTo(client)
      await receive.waitUntil(async () => (await receive.positions(deadline())).synced >= committed, deadline())
      await server.kill(deadline())
      assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null }, receive.stderr)
      const shipped = parseLsn(/everything is shipped upTo=(\S+)/.exec(receive.stderr)?.[1] ?? '')
      assert.ok(shipped >= committed)

      await recover(copy, restoreCommand(['--store', place.store, ...place.options], place.env))
      assert.deepEqual(await rowsOf(copy), rows)
      assert.equal(await recoveredUpTo(copy), await endOfShipped(t, place, shipped, segmentBytes))
    })
  }
}
