import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import fs from 'node:fs'
import { mkdir, readdir, rename, rmdir, unlink, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { isError } from '../../src/kit/errors.ts'
import { deferred } from '../support/deferred.ts'
import { deadline } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { LoopWrites } from '../../src/spool/loop-writes.ts'
import { SegmentFile } from '../../src/spool/segment-file.ts'
import { tempFolder } from '../support/temp.ts'
import { diskError, stepIn, stepIntoFolderSync, writeInLoop } from './disk.ts'
import { assertFiles, at, begin, Feeder, nameOf, segmentBytes } from './feeder.ts'

/** A small file system of its own; null where we may not mount one. */
async function smallDisk(t: test.TestContext, megabytes: number): Promise<string | null> {
  let mounted: string | null = null
  // Before its folder is removed: hooks run in the order in which they were given.
  t.after(async () => {
    if (mounted !== null) await promisify(execFile)('umount', ['--lazy', mounted])
  })
  const folder = await tempFolder(t)
  try {
    await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder])
  } catch {
    return null
  }
  mounted = folder
  return folder
}

/** After a failure: what was not synced is given up, and nothing else. */
function assertGivenUp(feeder: Feeder, synced: number): void {
  assert.ok(isError(feeder.failure, 'SPOOL_FAILED'), String(feeder.failure))
  assert.equal(feeder.failure.retryable, true)
  const { received, written, synced: told } = feeder.positions
  assert.deepEqual([received, written, told], [at(synced), at(synced), at(synced)])
}

async function openFiles(): Promise<number> {
  return (await readdir('/proc/self/fd')).length
}

describe('a spool that fails', () => {
  test('on a full disk gives up what is not synced, and goes on when there is room', async (t) => {
    const folder = await smallDisk(t, 3)
    if (folder === null) {
      t.skip('file systems cannot be mounted here')
      return
    }
    const ballast = join(folder, 'ballast')
    await writeFile(ballast, Buffer.alloc(1_300_000))
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(segmentBytes)
    await feeder.feedTo(3 * segmentBytes)
    const synced = Number(feeder.positions.synced - begin)
    assert.ok(synced >= segmentBytes && synced < 2 * segmentBytes)
    assertGivenUp(feeder, synced)
    assert.match(feeder.failure?.hint ?? '', /disk of the spool is full/)
    // What still comes from a stream that has not heard of it is dropped.
    feeder.append(1000)
    feeder.spool.batchEnd()
    assertGivenUp(feeder, synced)

    // Still full: the same again, and nothing is lost.
    await feeder.begin(1)
    await feeder.feedTo(3 * segmentBytes)
    assert.ok(isError(feeder.failure, 'SPOOL_FAILED'))
    assert.ok(feeder.positions.synced >= at(synced))
    feeder.checkOrder()

    await unlink(ballast)
    await feeder.begin(1)
    await feeder.mustFeedTo(2 * segmentBytes + 1000)
    await assertFiles(folder, 2 * segmentBytes + 1000)
    await feeder.spool.close()
  })

  test('takes back a final name whose folder could not be synced', async (t) => {
    const parent = await tempFolder(t)
    const folder = join(parent, 'spool')
    const elsewhere = join(parent, 'elsewhere')
    await mkdir(folder)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(500_000)
    const stepOut = stepIn(t, 'becomeWhole', async (_, real) => {
      await real()
      await rename(folder, elsewhere)
    })
    await feeder.feedTo(segmentBytes + 1000)
    assertGivenUp(feeder, 500_000)
    stepOut()
    await rename(elsewhere, folder)

    // A receiver begins with the segment that holds the end: it must find its file, and not a conflict.
    await feeder.begin(0)
    await feeder.mustFeedTo(segmentBytes + 1000)
    assert.equal(feeder.spool.segments().length, 2)
    await assertFiles(folder, segmentBytes + 1000)
    await feeder.spool.close()
  })

  test('in the second file of several keeps the first one', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(300_000)
    const stepOut = stepIn(t, 'sync', async (file, real) => {
      if (file.name !== nameOf(0)) throw diskError('EIO')
      await real()
    })
    await feeder.feedTo(2 * segmentBytes + 10)
    assert.ok(isError(feeder.failure, 'SPOOL_FAILED'))
    const synced = Number(feeder.positions.synced - begin)
    stepOut()
    await feeder.begin(Math.floor(synced / segmentBytes))
    await feeder.mustFeedTo(3 * segmentBytes + 10)
    await assertFiles(folder, 3 * segmentBytes + 10)
    assert.deepEqual(
      feeder.spool.segments().map((one) => one.name),
      [0, 1, 2, 3].map(nameOf),
    )
    await feeder.spool.close()
  })

  test('to sync one file says so at once, tells nothing behind it, and closes no other one that is being synced', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(300_000)
    writeInLoop(t)
    const held = [deferred(), deferred(), deferred(), deferred()]
    const begun = [0, 0, 0, 0]
    const stepOut = stepIn(t, 'sync', async (file, real) => {
      const n = [0, 1, 2, 3].find((one) => nameOf(one) === file.name) ?? 0
      begun[n] = (begun[n] ?? 0) + 1
      await held[n]?.promise
      if (n === 1) throw diskError('EIO')
      await real()
    })
    feeder.append(3 * segmentBytes)
    feeder.spool.batchEnd()
    held[1]?.resolve()
    await feeder.until(() => feeder.failure !== null, deadline())
    assertGivenUp(feeder, 300_000)
    held[2]?.resolve()
    let isSettled = false
    const settled = feeder.spool.settle().then(() => {
      isSettled = true
    })
    held[0]?.resolve()
    await feeder.until(() => feeder.positions.synced === at(segmentBytes), deadline())
    for (let n = 0; n < 3; n++) await new Promise(setImmediate)
    assert.equal(isSettled, false, 'a file that is closed while it is synced could be another one by then')
    held[3]?.resolve()
    await settled
    assertGivenUp(feeder, segmentBytes)
    assert.equal(begun[1], 1, 'a second sync of that file would seem to work')
    stepOut()
    await feeder.begin(1)
    await feeder.mustFeedTo(3 * segmentBytes + 300_000)
    await assertFiles(folder, 3 * segmentBytes + 300_000)
    await feeder.spool.close()
  })

  test('to sync its folder is not tried once more, as if that could make up for it', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(300_000)
    const later = deferred()
    stepIn(t, 'sync', async (file, real) => {
      if (file.name === nameOf(1)) await later.promise
      await real()
    })
    let calls = 0
    const stepOut = await stepIntoFolderSync(t, async () => {
      calls++
      throw diskError('EIO')
    })
    feeder.append(segmentBytes)
    feeder.spool.batchEnd()
    await feeder.until(() => feeder.failure !== null, deadline())
    later.resolve()
    await feeder.spool.settle()
    assert.equal(calls, 1)
    assertGivenUp(feeder, 300_000)
    stepOut()
    await feeder.begin()
    await feeder.mustFeedTo(2 * segmentBytes)
    await assertFiles(folder, 2 * segmentBytes)
    await feeder.spool.close()
  })

  test('while it writes keeps what an fsync under way makes durable, and no more', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(100)
    const fsync = deferred()
    stepIn(t, 'sync', async (_, real) => {
      await fsync.promise
      await real()
    })
    stepIn(t, 'write', () => Promise.reject(diskError('ENOSPC')))
    feeder.append(900)
    feeder.spool.batchEnd()
    feeder.append(100_000)
    feeder.spool.batchEnd()
    await feeder.until(() => feeder.failure !== null, deadline())
    assertGivenUp(feeder, 100)
    fsync.resolve()
    await feeder.spool.settle()
    assertGivenUp(feeder, 1000)
    assert.deepEqual(feeder.spool.end, { timeline: 1, lsn: at(1000) })
    await feeder.spool.close()
  })

  test('to sync does not count what is still being written then', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(100)
    const fsync = deferred()
    const stepOutOfWrite = stepIn(t, 'write', async (_, real) => {
      await fsync.promise
      await real()
    })
    const stepOutOfSync = stepIn(t, 'sync', () => Promise.reject(diskError('EIO')))
    feeder.append(900)
    feeder.spool.batchEnd()
    feeder.append(100_000)
    feeder.spool.batchEnd()
    await feeder.until(() => feeder.failure !== null, deadline())
    fsync.resolve()
    await feeder.spool.settle()
    assertGivenUp(feeder, 100)
    stepOutOfWrite()
    stepOutOfSync()
    await feeder.begin()
    await feeder.mustFeedTo(200_000)
    await assertFiles(folder, 200_000)
    await feeder.spool.close()
  })

  test('to sync in the event loop is one like any other', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(100)
    const { mock } = t.mock.method(SegmentFile.prototype, 'syncNow', () => {
      throw diskError('EIO')
    })
    feeder.append(900)
    feeder.spool.batchEnd()
    assert.ok(isError(feeder.failure, 'SPOOL_FAILED'))
    assertGivenUp(feeder, 100)
    mock.restore()
    await feeder.begin()
    await feeder.mustFeedTo(200_000)
    await assertFiles(folder, 200_000)
    await feeder.spool.close()
  })

  test('to open the next segment goes on once that can be opened', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await mkdir(join(folder, `${nameOf(1)}.partial`))
    await feeder.begin()
    await feeder.feedTo(segmentBytes + 10)
    assert.ok(isError(feeder.failure, 'SPOOL_FAILED'))
    assertGivenUp(feeder, Number(feeder.positions.synced - begin))
    await rmdir(join(folder, `${nameOf(1)}.partial`))
    await feeder.begin(Math.floor(Number(feeder.positions.synced - begin) / segmentBytes))
    await feeder.mustFeedTo(segmentBytes + 10)
    await assertFiles(folder, segmentBytes + 10)
    await feeder.spool.close()
  })

  test('does not take a file that somebody has deleted for other bytes', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(5000)
    await unlink(join(folder, `${nameOf(0)}.partial`))
    await feeder.begin()
    await feeder.feedTo(6000)
    assertGivenUp(feeder, 5000)
    assert.deepEqual(await readdir(folder), [])
    await feeder.spool.close()
  })

  test('again and again leaves no file open', async (t) => {
    const folder = await tempFolder(t)
    const ftruncateSync = fs.ftruncateSync
    t.after(() => {
      fs.ftruncateSync = ftruncateSync
      syncBuiltinESMExports()
    })
    fs.ftruncateSync = () => {
      throw diskError('EFBIG')
    }
    syncBuiltinESMExports()
    const feeder = new Feeder(folder)
    const before = await openFiles().catch(() => null)
    if (before === null) {
      t.skip('there is no /proc')
      return
    }
    for (let n = 0; n < 5; n++) {
      await feeder.begin()
      await feeder.feedTo(10)
      assertGivenUp(feeder, 0)
    }
    assert.equal(await openFiles(), before)
    await feeder.spool.close()
  })

  test('at any call of the disk, any number of times, loses nothing that was told as durable', async (t) => {
    const random = seededRandom(t)
    const folder = await tempFolder(t)
    let health = 1
    for (const call of ['write', 'sync', 'becomeWhole'] as const) {
      stepIn(t, call, async (_, real) => {
        if (random.below(health) === 1) throw diskError('EIO')
        await real()
        if (random.below(health) === 1) throw diskError('EIO')
      })
    }
    t.mock.method(LoopWrites.prototype, 'areQuick', () => random.below(2) === 0)
    // oxlint-disable-next-line typescript/unbound-method -- called with its file below
    const { writeNow } = SegmentFile.prototype
    t.mock.method(SegmentFile.prototype, 'writeNow', function (this: SegmentFile, part: Buffer) {
      if (random.below(health) === 1) throw diskError('EIO')
      writeNow.call(this, part)
      if (random.below(health) === 1) throw diskError('EIO')
    })
    const feeder = new Feeder(folder)
    const end = 12 * segmentBytes + 12_345
    let failures = 0
    let told = begin
    while (feeder.positions.synced < at(end)) {
      health = failures < 60 ? 25 : 1
      await feeder.begin(Number(told - begin) >> 20)
      while (feeder.failure === null && feeder.fed < end) {
        feeder.append(Math.min(end - feeder.fed, 1 + random.below(random.pick([1000, 100_000]))))
        feeder.spool.batchEnd()
        if (random.below(3) === 0) await new Promise(setImmediate)
      }
      await feeder.spool.settle()
      if (feeder.failure !== null) failures++
      assert.ok(feeder.failure === null || isError(feeder.failure, 'SPOOL_FAILED'), String(feeder.failure))
      assert.ok(feeder.positions.synced >= told, 'the synced position went back')
      told = feeder.positions.synced
      feeder.checkOrder()
    }
    await feeder.spool.close()
    await assertFiles(folder, end)
    t.diagnostic(`${failures} failures`)
    assert.ok(failures > 5)
  })
})
