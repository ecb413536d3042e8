import assert from 'node:assert/strict'
import fs from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { emptySpool } from '../../src/spool/recover.ts'
import { SegmentFile } from '../../src/spool/segment-file.ts'
import { deferred } from '../support/deferred.ts'
import { deadline } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { stepIn } from './disk.ts'
import { assertFiles, at, begin, bytesOf, Feeder, firstSegno, nameOf, segmentBytes } from './feeder.ts'

/** What an fsync has covered of each segment, by its name: looked at from outside of the spool. */
function watchSyncs(t: test.TestContext, hold: () => Promise<void> = () => Promise.resolve()): Map<string, number> {
  const covered = new Map<string, number>()
  stepIn(t, 'sync', async (file, real) => {
    const { written } = file
    await hold()
    await real()
    covered.set(file.name, Math.max(written, covered.get(file.name) ?? 0))
  })
  return covered
}

describe('a spool', () => {
  test('holds exactly the bytes that were fed, whatever the fragments', async (t) => {
    const random = seededRandom(t)
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    const end = 5 * segmentBytes + random.below(segmentBytes)
    while (feeder.fed < end) {
      const most = random.pick([1, 100, 8192, 40_000, 65_536, 3 * segmentBytes])
      feeder.append(Math.min(end - feeder.fed, 1 + random.below(most)))
      if (random.below(4) === 0) feeder.spool.batchEnd()
      if (random.below(40) === 0) await feeder.spool.settle()
      feeder.checkOrder()
    }
    await feeder.mustFeedTo(end)
    assert.deepEqual(feeder.spool.end, { timeline: 1, lsn: at(end) })
    await assertFiles(folder, end)
    await feeder.spool.close()
  })

  test('ends a segment exactly at its boundary, and begins no empty one', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(2 * segmentBytes)
    await assertFiles(folder, 2 * segmentBytes)
    assert.deepEqual(
      feeder.spool.segments().map(({ name, whole, syncedBytes }) => ({ name, whole, syncedBytes })),
      [0, 1].map((n) => ({ name: nameOf(n), whole: true, syncedBytes: segmentBytes })),
    )
    await feeder.spool.close()
  })

  test('keeps an open segment at its full size, with zeros behind its end', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(100)
    assert.equal((await stat(join(folder, `${nameOf(0)}.partial`))).size, segmentBytes)
    await assertFiles(folder, 100)
    const [open] = feeder.spool.segments()
    assert.deepEqual(open, {
      segment: { timeline: 1, segno: firstSegno },
      name: nameOf(0),
      whole: false,
      left: false,
      syncedBytes: 100,
    })
    await feeder.spool.close()
  })

  test('syncs a little at once where the disk is quick; more, and a new file, in the thread pool', async (t) => {
    const { mock } = t.mock.method(SegmentFile.prototype, 'syncNow', () => true)
    const feeder = new Feeder(await tempFolder(t))
    await feeder.begin()
    await feeder.mustFeedTo(100)
    assert.equal(mock.callCount(), 0)
    feeder.append(100)
    feeder.spool.batchEnd()
    assert.equal(mock.callCount(), 1)
    assert.equal(feeder.spool.syncedUpTo, at(200))
    await feeder.mustFeedTo(100_000)
    await feeder.mustFeedTo(segmentBytes)
    assert.equal(mock.callCount(), 1)
    await feeder.spool.close()
  })

  test('syncs in the event loop for as long as the disk is quick, and what it calls synced was', async (t) => {
    let nowMs = 0
    let costMs = 0
    t.mock.method(performance, 'now', () => nowMs)
    const { fdatasyncSync } = fs
    t.after(() => {
      fs.fdatasyncSync = fdatasyncSync
      syncBuiltinESMExports()
    })
    let calls = 0
    fs.fdatasyncSync = (fd) => {
      fdatasyncSync(fd)
      calls++
      nowMs += costMs
    }
    syncBuiltinESMExports()
    const file = SegmentFile.open(await tempFolder(t), { timeline: 1, segno: firstSegno }, segmentBytes, 0)
    file.writeNow(bytesOf(0, 100))
    assert.deepEqual([file.syncNow(), calls], [false, 0], 'how quick it is nobody knows yet')
    await file.sync()
    assert.deepEqual([file.syncNow(), calls], [true, 1])
    costMs = 1
    assert.deepEqual([file.syncNow(), calls], [true, 2])
    assert.deepEqual([file.syncNow(), calls], [false, 2], 'the last one took long')
    await file.close()
  })

  test('writes in the event loop until the disk makes it wait, and then in the thread pool for a while, but for a little', async (t) => {
    let nowMs = 0
    let stepMs = 0
    t.mock.method(performance, 'now', () => (nowMs += stepMs))
    const pool = t.mock.method(SegmentFile.prototype, 'write')
    const loop = t.mock.method(SegmentFile.prototype, 'writeNow')
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(100_000)
    assert.deepEqual([loop.mock.callCount(), pool.mock.callCount()], [1, 0])
    stepMs = 20
    feeder.append(800_000)
    feeder.spool.batchEnd()
    assert.deepEqual([loop.mock.callCount(), pool.mock.callCount()], [2, 1], 'only the first block is waited for')
    await feeder.spool.settle()
    await feeder.mustFeedTo(900_100)
    assert.deepEqual([loop.mock.callCount(), pool.mock.callCount()], [3, 1], 'so little never waits for a thread')
    stepMs = 0
    await feeder.mustFeedTo(1_000_000)
    assert.deepEqual([loop.mock.callCount(), pool.mock.callCount()], [3, 2], 'the next segment makes no difference')
    nowMs += 10_000
    await feeder.mustFeedTo(2_000_000)
    assert.equal(pool.mock.callCount(), 2)
    await assertFiles(folder, 2_000_000)
    await feeder.spool.close()
  })

  test('while a sync hangs writes in the thread pool, for the next write may hang, too', async (t) => {
    let nowMs = 0
    t.mock.method(performance, 'now', () => nowMs)
    const { mock } = t.mock.method(SegmentFile.prototype, 'write')
    const disk = deferred()
    stepIn(t, 'sync', async (_, real) => {
      await disk.promise
      await real()
    })
    const feeder = new Feeder(await tempFolder(t))
    await feeder.begin()
    for (const [ms, calls] of [
      [0, 0],
      [499, 0],
      [500, 1],
    ] as const) {
      nowMs = ms
      feeder.append(100_000)
      feeder.spool.batchEnd()
      assert.equal(mock.callCount(), calls, `${ms} ms`)
    }
    disk.resolve()
    await feeder.spool.settle()
    await feeder.mustFeedTo(400_000)
    assert.equal(mock.callCount(), 1)
    await feeder.spool.close()
  })

  test('never tells more as synced than an fsync has covered', async (t) => {
    const random = seededRandom(t)
    const covered = watchSyncs(t)
    const feeder = new Feeder(await tempFolder(t))
    await feeder.begin()
    let looks = 0
    feeder.onProgress = () => {
      looks++
      const synced = Number(feeder.positions.synced - begin)
      assert.equal(feeder.spool.syncedUpTo, feeder.positions.synced)
      for (let n = 0; n * segmentBytes < synced; n++) {
        const told = Math.min(segmentBytes, synced - n * segmentBytes)
        assert.ok((covered.get(nameOf(n)) ?? 0) >= told, `${nameOf(n)}: ${told} told, ${covered.get(nameOf(n))} synced`)
      }
    }
    while (feeder.fed < 3 * segmentBytes) {
      feeder.append(1 + random.below(random.pick([300, 30_000, 100_000])))
      feeder.spool.batchEnd()
      if (random.below(2) === 0) await new Promise(setImmediate)
    }
    await feeder.mustFeedTo(feeder.fed)
    assert.ok(looks > 3, `it told ${looks} times`)
    await feeder.spool.close()
  })

  test('groups what is written while an fsync is under way into the next one', async (t) => {
    const held = [deferred(), deferred()]
    let syncs = 0
    watchSyncs(t, async () => {
      await held[syncs++]?.promise
    })
    const feeder = new Feeder(await tempFolder(t))
    await feeder.begin()
    for (let commit = 1; commit <= 50; commit++) {
      feeder.append(100)
      feeder.spool.batchEnd()
    }
    assert.equal(feeder.positions.written, at(5000))
    assert.equal(feeder.positions.synced, begin)
    held[0]?.resolve()
    await feeder.until(() => feeder.positions.synced > begin, deadline())
    // Only what was written before the first one began.
    assert.equal(feeder.positions.synced, at(100))
    held[1]?.resolve()
    await feeder.spool.settle()
    assert.equal(feeder.positions.synced, at(5000))
    assert.equal(syncs, 2)
    await feeder.spool.close()
  })

  test('asks for a pause when its disk does not keep up, and for more when there is room', async (t) => {
    const disk = deferred()
    watchSyncs(t, () => disk.promise)
    const feeder = new Feeder(await tempFolder(t))
    await feeder.begin()
    const batch = 256 * 1024
    while (!feeder.spool.isFull) {
      feeder.append(batch)
      feeder.spool.batchEnd()
      await new Promise(setImmediate)
      assert.ok(feeder.fed < 64 * segmentBytes, 'it never asked for a pause')
    }
    // What waits in memory, and files that are written and not synced.
    assert.ok(feeder.fed <= 8 * segmentBytes + 8 * segmentBytes + batch, `took ${feeder.fed} bytes`)
    assert.equal(feeder.rooms, 0)
    disk.resolve()
    await feeder.until(() => feeder.rooms > 0, deadline())
    assert.equal(feeder.spool.isFull, false)
    await feeder.mustFeedTo(feeder.fed)
    assert.equal(feeder.rooms, 1)
    await feeder.spool.close()
  })

  test('takes up where it ended: equal bytes are compared, and go on', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(segmentBytes + 300_000)
    await feeder.begin(1)
    assert.equal(feeder.spool.syncedUpTo, at(segmentBytes))
    // The overlap alone moves nothing that was told before.
    await feeder.mustFeedTo(segmentBytes + 200_000)
    assert.deepEqual(feeder.spool.end, { timeline: 1, lsn: at(segmentBytes + 300_000) })
    assert.equal(feeder.positions.synced, at(segmentBytes + 300_000))
    await feeder.mustFeedTo(3 * segmentBytes)
    await assertFiles(folder, 3 * segmentBytes)
    await feeder.spool.close()
  })

  for (const [path, fragmentBytes] of [
    ['in the event loop', 1000],
    ['in the thread pool', 64 * 1024],
  ] as const) {
    test(`refuses one different byte, and overwrites nothing (compared ${path})`, async (t) => {
      const random = seededRandom(t)
      const folder = await tempFolder(t)
      if (path === 'in the thread pool') stepIn(t, 'write', (_, real) => real())
      const feeder = new Feeder(folder)
      await feeder.begin()
      const end = segmentBytes + 400_000
      await feeder.mustFeedTo(end)
      await feeder.begin(1)
      const odd = random.below(400_000)
      const bytes = bytesOf(segmentBytes, end + 10_000)
      bytes[odd] = (bytes[odd] ?? 0) ^ (1 << random.below(8))
      for (let n = 0; n < bytes.length; n += fragmentBytes) {
        feeder.spool.append(bytes.subarray(n, n + fragmentBytes))
        feeder.spool.batchEnd()
        await new Promise(setImmediate)
      }
      await feeder.spool.settle()
      assert.ok(isError(feeder.failure, 'SPOOL_CONFLICT'), String(feeder.failure))
      assert.equal(feeder.failure.fields['offset'], odd)
      assert.equal(feeder.failure.retryable, false)
      assert.ok(feeder.spool.syncedUpTo <= at(segmentBytes + odd))
      await assertFiles(folder, end)
      assert.deepEqual(feeder.spool.end, { timeline: 1, lsn: at(end) })
      feeder.checkOrder()
      await feeder.spool.close()
    })
  }

  test('a difference behind what was synced is none: those bytes were never told as durable', async (t) => {
    const folder = await tempFolder(t)
    const scan = {
      ...emptySpool,
      identity: { systemIdentifier: 1n, segmentBytes },
      end: { place: { timeline: 1, lsn: at(5000) }, proved: true },
    }
    const before = new Feeder(folder)
    await before.begin()
    before.spool.append(Buffer.concat([bytesOf(0, 5000), Buffer.alloc(5000, 'unsynced')]))
    before.spool.batchEnd()
    await before.spool.close()
    const feeder = new Feeder(folder, scan)
    await feeder.begin()
    await feeder.mustFeedTo(7000)
    await feeder.mustFeedTo(12_000)
    await assertFiles(folder, 12_000)
    await feeder.spool.close()
  })

  test('bytes that could not be proved are received again, and not compared', async (t) => {
    const folder = await tempFolder(t)
    const before = new Feeder(folder)
    await before.begin()
    before.spool.append(Buffer.alloc(9000, 'unproved'))
    before.spool.batchEnd()
    await before.spool.close()
    const feeder = new Feeder(folder, {
      ...emptySpool,
      identity: { systemIdentifier: 1n, segmentBytes },
      end: { place: { timeline: 1, lsn: at(9000) }, proved: false },
    })
    assert.deepEqual(
      feeder.spool.segments().map((one) => one.syncedBytes),
      [0],
    )
    await feeder.begin()
    await feeder.mustFeedTo(4000)
    // What the server sent is worth shipping at once, also before it reaches the end of what was found.
    assert.deepEqual(
      feeder.spool.segments().map((one) => one.syncedBytes),
      [4000],
    )
    await feeder.mustFeedTo(10_000)
    await assertFiles(folder, 10_000)
    await feeder.spool.close()
  })

  test('a segment can be read under whichever name it has, and removed', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(1000)
    const segment = { timeline: 1, segno: firstSegno }
    const file = await feeder.spool.openForRead(segment)
    await feeder.mustFeedTo(segmentBytes + 1)
    // A reader that has it open is not disturbed by its new name.
    assert.ok((await file.readFile()).equals(bytesOf(0, segmentBytes)))
    await file.close()
    const again = await feeder.spool.openForRead(segment)
    await again.close()
    assert.equal(feeder.spool.bytes(), segmentBytes + 1)
    await feeder.spool.remove(segment)
    await feeder.spool.remove(segment)
    assert.equal(feeder.spool.bytes(), 1)
    assert.deepEqual(await readdir(folder), [`${nameOf(1)}.partial`])
    await assert.rejects(feeder.spool.openForRead(segment), { code: 'SPOOL_FAILED' })
    await feeder.spool.close()
    assert.equal((await readFile(join(folder, `${nameOf(1)}.partial`)))[0], bytesOf(segmentBytes, segmentBytes + 1)[0])
  })

  test('a stream begins at a segment start, nowhere else', async (t) => {
    const feeder = new Feeder(await tempFolder(t))
    await assert.rejects(feeder.spool.beginStream(1, at(8192), feeder), RangeError)
    await feeder.spool.close()
  })
})
