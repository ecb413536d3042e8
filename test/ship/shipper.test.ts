import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { chunkKey } from '../../src/archive/keys.ts'
import { systemClock } from '../../src/kit/clock.ts'
import { sleep } from '../../src/kit/abort.ts'
import { noMetrics } from '../../src/metrics/catalogue.ts'
import { Shipper } from '../../src/ship/shipper.ts'
import { Positions } from '../../src/spool/positions.ts'
import { emptySpool } from '../../src/spool/recover.ts'
import { Spool } from '../../src/spool/spool.ts'
import type { Lsn } from '../../src/wal/lsn.ts'
import { segmentName, segmentStart } from '../../src/wal/segment.ts'
import { deferred } from '../support/deferred.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'

const segmentBytes = 1024 * 1024
const segno = 5
const name = segmentName({ timeline: 1, segno }, segmentBytes)
const quiet = () => undefined

async function until(condition: () => boolean): Promise<void> {
  const signal = deadline()
  while (!condition()) await sleep(1, signal)
}

interface Setting {
  readonly wal: Buffer
  readonly start: Lsn
  readonly positions: Positions
  readonly spool: Spool
  readonly store: MemoryStore
  readonly shipper: Shipper
}

async function settingOf(t: TestContext, shipIntervalMs: number): Promise<Setting> {
  const wal = seededRandom(t).bytes(segmentBytes)
  const positions = new Positions(systemClock)
  const start = segmentStart(segno, segmentBytes)
  positions.startAt(start, start)
  const spool = new Spool({ folder: await tempFolder(t), segmentBytes, positions }, emptySpool)
  const store = new MemoryStore()
  const shipper = new Shipper({
    spool,
    archive: new Archive(store),
    isStillOurs: () => Promise.resolve(true),
    positions,
    shipIntervalMs,
    uploadConcurrency: 4,
    codec: 'lz4',
    clock: systemClock,
    log: { error: quiet, warn: quiet, info: quiet, debug: quiet },
    metrics: noMetrics,
  })
  return { wal, start, positions, spool, store, shipper }
}

test('a merge that is still on its way when its segment becomes whole leaves no chunk behind', async (t) => {
  const { wal, start, positions, spool, store, shipper } = await settingOf(t, 0)
  const release = deferred()
  let isMerging = false
  store.before = async (operation, key) => {
    if (operation !== 'put' || key !== chunkKey(name, 0, 800, 'lz4')) return
    isMerging = true
    await release.promise
  }
  const shipping = shipper.run(deadline())
  await spool.beginStream(1, start, { progress: quiet, hasRoom: quiet, failed: (error) => assert.fail(error) })
  const receive = (from: number, to: number): void => {
    spool.append(wal.subarray(from, to))
    spool.batchEnd()
  }
  for (let n = 1; n <= 8; n++) {
    receive(n * 100 - 100, n * 100)
    await until(() => positions.shipped >= start + BigInt(n * 100))
  }
  await until(() => isMerging)
  receive(800, segmentBytes)
  await until(() => positions.shipped >= start + BigInt(segmentBytes))
  // Time for what must not happen yet: the deletion of the other chunks, which would miss the one under way.
  await Promise.race([until(() => store.calls.deleteMany > 0), sleep(100, deadline())])
  release.resolve()
  shipper.drain()
  await shipping
  await spool.close()
  assert.deepEqual(store.keys, [`wal_005/${name}.lz4`])
})

test('what becomes durable while the tail waits for its interval does not make it look each time', async (t) => {
  const { wal, start, positions, spool, shipper } = await settingOf(t, 60_000)
  const looks = t.mock.method(spool, 'segments').mock
  const shipping = shipper.run(deadline())
  await spool.beginStream(1, start, { progress: quiet, hasRoom: quiet, failed: (error) => assert.fail(error) })
  const startedMs = performance.now()
  const commits = 300
  for (let n = 0; n < commits; n++) {
    spool.append(wal.subarray(n * 100, n * 100 + 100))
    spool.batchEnd()
    await until(() => positions.synced >= start + BigInt(n * 100 + 100))
    // A turn of the event loop, and so a chance to look.
    await sleep(1, deadline())
  }
  // It rests 50 ms. However slow the disk is, a commit does not cut that short.
  const elapsedMs = performance.now() - startedMs
  assert.ok(looks.callCount() < 5 + elapsedMs / 25, `it looked ${looks.callCount()} times in ${elapsedMs} ms`)
  shipper.drain()
  await shipping
  assert.equal(positions.shipped, start + BigInt(commits * 100))
  await spool.close()
})
