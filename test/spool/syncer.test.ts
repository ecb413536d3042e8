import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { SegmentFile } from '../../src/spool/segment-file.ts'
import { type Deferred, deferred } from '../support/deferred.ts'
import { deadline } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { stepIn, stepIntoFolderSync, writeInLoop } from './disk.ts'
import { assertFiles, at, begin, Feeder, nameOf, segmentBytes } from './feeder.ts'

/** Lets go of the syncs of files one by one. */
class HeldSyncs {
  /** Of which files, in the order in which they began. */
  readonly begun: string[] = []
  readonly #syncs: { readonly go: Deferred<void>; readonly ended: Deferred<void> }[] = []

  constructor(t: test.TestContext) {
    writeInLoop(t)
    stepIn(t, 'sync', async (file, real) => {
      const go = deferred()
      const ended = deferred()
      this.begun.push(file.name)
      this.#syncs.push({ go, ended })
      await go.promise
      await real()
      ended.resolve()
    })
  }

  /** The n-th that began works now, and whatever follows from it without the disk has happened. */
  async letGo(n: number): Promise<void> {
    this.#syncs[n]?.go.resolve()
    await this.#syncs[n]?.ended.promise
    await turns()
  }
}

/** The event loop has turned so often that whatever waits for no disk has happened. */
async function turns(): Promise<void> {
  for (let n = 0; n < 5; n++) await new Promise(setImmediate)
}

async function until(isReached: () => boolean): Promise<void> {
  const signal = deadline()
  while (!isReached()) {
    signal.throwIfAborted()
    await turns()
  }
}

describe('the syncer of a spool', () => {
  test('syncs segments beside each other from the moment they are whole, and tells them in order', async (t) => {
    const folder = await tempFolder(t)
    const syncs = new HeldSyncs(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    feeder.append(100)
    feeder.spool.batchEnd()
    feeder.append(3 * segmentBytes)
    feeder.spool.batchEnd()
    // The first one is whole now, but its beginning is still being synced: never two syncs of one file.
    assert.deepEqual(syncs.begun, [0, 1, 2, 3].map(nameOf))
    for (const n of [3, 2, 1]) await syncs.letGo(n)
    assert.equal(feeder.positions.synced, begin)
    await syncs.letGo(0)
    await feeder.until(() => feeder.positions.synced === at(100), deadline())
    await feeder.until(() => syncs.begun.length === 5, deadline())
    assert.equal(syncs.begun[4], nameOf(0))
    await turns()
    assert.equal(feeder.positions.synced, at(100))
    assert.ok(
      [0, 1, 2].every((n) => !existsSync(join(folder, nameOf(n)))),
      'a name before its turn',
    )
    await syncs.letGo(4)
    await feeder.spool.settle()
    assert.equal(feeder.positions.synced, at(3 * segmentBytes + 100))
    assert.equal(syncs.begun.length, 5)
    await assertFiles(folder, 3 * segmentBytes + 100)
    await feeder.spool.close()
  })

  test('does not hold up a commit in the open segment for the sync of the one before', async (t) => {
    const syncs = new HeldSyncs(t)
    const feeder = new Feeder(await tempFolder(t))
    await feeder.begin()
    feeder.append(segmentBytes)
    feeder.spool.batchEnd()
    feeder.append(100)
    feeder.spool.batchEnd()
    assert.deepEqual(syncs.begun, [0, 1].map(nameOf))
    await syncs.letGo(1)
    feeder.append(100)
    feeder.spool.batchEnd()
    assert.deepEqual(syncs.begun, [0, 1, 1].map(nameOf))
    await syncs.letGo(2)
    assert.equal(feeder.positions.synced, begin)
    await syncs.letGo(0)
    await feeder.spool.settle()
    assert.equal(feeder.positions.synced, at(segmentBytes + 200))
    assert.equal(syncs.begun.length, 3)
    await feeder.spool.close()
  })

  test('syncs nothing in the event loop while a thread of the pool syncs the same file', async (t) => {
    const feeder = new Feeder(await tempFolder(t))
    await feeder.begin()
    await feeder.mustFeedTo(100)
    const syncs = new HeldSyncs(t)
    let isQuick = false
    const { mock } = t.mock.method(SegmentFile.prototype, 'syncNow', () => isQuick)
    feeder.append(100)
    feeder.spool.batchEnd()
    isQuick = true
    feeder.append(100)
    feeder.spool.batchEnd()
    assert.deepEqual([syncs.begun.length, mock.callCount()], [1, 1])
    await syncs.letGo(0)
    await feeder.spool.settle()
    assert.deepEqual([syncs.begun.length, mock.callCount()], [1, 2])
    assert.equal(feeder.positions.synced, at(300))
    await feeder.spool.close()
  })

  test('tells what lies under a new name only once the folder was synced, and meanwhile goes on', async (t) => {
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    await feeder.begin()
    await feeder.mustFeedTo(100)
    const held: Deferred<void>[] = []
    await stepIntoFolderSync(t, async (real) => {
      const one = deferred()
      held.push(one)
      await one.promise
      await real()
    })
    const synced: string[] = []
    stepIn(t, 'sync', async (file, real) => {
      await real()
      synced.push(file.name)
    })
    await feeder.spool.beginStream(1, begin, feeder)
    feeder.fed = 0
    feeder.append(segmentBytes)
    feeder.spool.batchEnd()
    await feeder.until(() => feeder.positions.written === at(segmentBytes), deadline())
    await until(() => held.length >= 1)
    // Opened after that sync of the folder began: its name takes the next one.
    feeder.append(100)
    feeder.spool.batchEnd()
    await until(() => synced.length >= 2)
    assert.deepEqual([feeder.spool.syncedUpTo, held.length], [begin, 1])
    held[0]?.resolve()
    await feeder.until(() => feeder.spool.syncedUpTo > begin, deadline())
    assert.equal(feeder.spool.syncedUpTo, at(segmentBytes))
    await until(() => held.length >= 2)
    held[1]?.resolve()
    await feeder.spool.settle()
    assert.equal(feeder.spool.syncedUpTo, at(segmentBytes + 100))
    await assertFiles(folder, segmentBytes + 100)
    await feeder.spool.close()
  })

  test('whatever ends first, tells nothing that is not synced under its durable name, and keeps names in order', async (t) => {
    const random = seededRandom(t)
    const folder = await tempFolder(t)
    const covered = new Map<string, number>()
    const underWay = new Set<string>()
    const durableNames = new Set<string>()
    const late = async (): Promise<void> => {
      for (let n = random.below(20); n > 0; n--) await new Promise(setImmediate)
    }
    stepIn(t, 'sync', async (file, real) => {
      assert.ok(!underWay.has(file.name), `two syncs of ${file.name}`)
      underWay.add(file.name)
      const { written } = file
      await late()
      await real()
      await late()
      covered.set(file.name, Math.max(written, covered.get(file.name) ?? 0))
      underWay.delete(file.name)
    })
    const allNames = Array.from({ length: 30 }, (_, n) => [nameOf(n), `${nameOf(n)}.partial`]).flat()
    await stepIntoFolderSync(t, async (real) => {
      const names = allNames.filter((name) => existsSync(join(folder, name)))
      await late()
      await real()
      for (const name of names) durableNames.add(name)
    })
    const feeder = new Feeder(folder)
    await feeder.begin()
    feeder.onProgress = () => {
      const synced = Number(feeder.spool.syncedUpTo - begin)
      for (let n = 0; n * segmentBytes < synced; n++) {
        const told = Math.min(segmentBytes, synced - n * segmentBytes)
        assert.ok((covered.get(nameOf(n)) ?? 0) >= told, `${nameOf(n)}: ${told} told, ${covered.get(nameOf(n))} synced`)
        const isWhole = told === segmentBytes
        assert.ok(durableNames.has(nameOf(n)) || (!isWhole && durableNames.has(`${nameOf(n)}.partial`)), nameOf(n))
      }
      const wholes = allNames.filter((name) => !name.endsWith('.partial') && existsSync(join(folder, name)))
      assert.deepEqual(
        wholes,
        wholes.map((_, n) => nameOf(n)),
        'a hole in front of a whole segment',
      )
    }
    const end = 25 * segmentBytes + 12_345
    while (feeder.fed < end) {
      feeder.append(Math.min(end - feeder.fed, 1 + random.below(random.pick([1000, 300_000, 4 * segmentBytes]))))
      feeder.spool.batchEnd()
      if (random.below(3) === 0) await new Promise(setImmediate)
      while (feeder.spool.isFull) await new Promise(setImmediate)
    }
    await feeder.mustFeedTo(end)
    await assertFiles(folder, end)
    await feeder.spool.close()
  })
})
