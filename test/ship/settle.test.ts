/** What follows a put: the archive is seen in its place, and the chunks are deleted, of many segments at once. */
import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { chunkKey, segmentKey, tailFolder } from '../../src/archive/keys.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { at, begin, bytesOf, nameOf, segmentBytes } from '../spool/feeder.ts'
import { type Deferred, deferred } from '../support/deferred.ts'
import { tempFolder } from '../support/temp.ts'
import { encoded, FaultyStore, scanUpTo, Shipping, type ShippingOptions, unreachable } from './shipping.ts'

/** A shipper before a spool with so many whole segments. When it asks for the archive is counted, and for the test to say. */
class Backlog {
  readonly shipping: Shipping
  readonly store = new FaultyStore()
  /** How often it asked whether the archive is in its place. */
  asked = 0
  /** Of each question once something was put. */
  answer: () => boolean | Promise<boolean> = () => true

  static async of(t: TestContext, segments: number, options: Partial<ShippingOptions> = {}): Promise<Backlog> {
    const backlog = new Backlog(t, { ...options, folder: options.folder ?? (await tempFolder(t)) })
    await backlog.shipping.feeder.begin()
    await backlog.shipping.feeder.mustFeedTo(segments * segmentBytes)
    return backlog
  }

  private constructor(t: TestContext, options: ShippingOptions) {
    const isStillOurs = (): boolean | Promise<boolean> => {
      this.asked++
      return this.store.calls.put === 0 ? true : this.answer()
    }
    this.shipping = new Shipping(t, { ...options, store: this.store, isStillOurs })
  }

  /** Holds the next question until what is returned is resolved. */
  holdNextAnswer(): Deferred<void> {
    const held = deferred()
    const before = this.answer
    this.answer = async () => {
      this.answer = before
      await held.promise
      return true
    }
    return held
  }

  /** Holds the put of a segment. */
  holdPut(n: number): Deferred<void> {
    const held = deferred()
    this.store.before = async (operation, key) => {
      if (operation === 'put' && key === wholeKey(n)) await held.promise
    }
    return held
  }

  /** Everything but what is held has come to its end. */
  async untilPut(segments: number, underWay = 1): Promise<void> {
    await this.shipping.until(
      () =>
        this.store.keys.filter((key) => key.startsWith('wal_005/')).length === segments && this.inFlight === underWay,
    )
  }

  get inFlight(): number {
    return this.shipping.shipper.inFlight
  }

  /** Chunks of another receiver, of the first 1000 bytes of each. */
  async plantChunks(...numbers: readonly number[]): Promise<void> {
    for (const n of numbers) {
      const bytes = bytesOf(n * segmentBytes, n * segmentBytes + 1000)
      this.store.set(chunkOf(n), await encoded(chunkOf(n), bytes))
    }
  }
}

function wholeKey(n: number): string {
  return segmentKey(nameOf(n), 'lz4')
}

function chunkOf(n: number): string {
  return chunkKey(nameOf(n), 0, 1000, 'lz4')
}

/** Nothing is asked anew because time has passed. */
const standingClock = { nowMs: () => Date.now(), monotonicMs: () => 0 }

describe('segments that were put', () => {
  test('while others are settled are settled together, each put once', async (t) => {
    const { clock, uploadConcurrency } = { clock: standingClock, uploadConcurrency: 4 }
    const backlog = await Backlog.of(t, 12, { clock, uploadConcurrency })
    const { shipping, store } = backlog
    const held = backlog.holdNextAnswer()
    shipping.start()
    await backlog.untilPut(12)
    const askedBefore = backlog.asked
    assert.equal(shipping.shippedBytes, 0)
    held.resolve()
    await shipping.untilShipped(12 * segmentBytes)
    await shipping.drain()
    assert.equal(backlog.asked, askedBefore + 1)
    assert.deepEqual({ ...store.calls }, { put: 12, get: 0, head: 0, findAmong: 12, list: 2, deleteMany: 0 })
    await shipping.assertArchived(12 * segmentBytes)
  })

  test('in a backlog cost one look and one listing for as many as are uploaded at once', async (t) => {
    const backlog = await Backlog.of(t, 40, { clock: standingClock, uploadConcurrency: 4 })
    const { shipping, store } = backlog
    // A put takes longer than what follows it.
    store.before = async (operation) => {
      for (let turns = operation === 'put' ? 30 : 3; turns > 0; turns--) await new Promise(setImmediate)
    }
    shipping.start()
    await shipping.untilShipped(40 * segmentBytes)
    await shipping.drain()
    assert.equal(store.calls.put, 40)
    assert.ok(backlog.asked <= 4 + 13, `it asked ${backlog.asked} times`)
    assert.ok(store.calls.list <= 13, `it listed ${store.calls.list} times`)
    await shipping.assertArchived(40 * segmentBytes)
  })

  test('one by one cost one look and one listing each', async (t) => {
    const backlog = await Backlog.of(t, 1, { clock: standingClock, shipIntervalMs: 60_000 })
    const { shipping, store } = backlog
    shipping.start()
    for (let n = 1; n <= 4; n++) {
      await shipping.feeder.mustFeedTo(n * segmentBytes)
      await shipping.until(() => store.calls.list === n && backlog.inFlight === 0)
      assert.equal(shipping.shippedBytes, n * segmentBytes)
      assert.equal(backlog.asked, n + 1)
    }
  })

  test('while the archive was looked for are not stored by that', async (t) => {
    const backlog = await Backlog.of(t, 2, { uploadConcurrency: 1 })
    const { shipping, store } = backlog
    const first = backlog.holdNextAnswer()
    shipping.start()
    await backlog.untilPut(2)
    const second = backlog.holdNextAnswer()
    const { asked } = backlog
    first.resolve()
    await shipping.until(() => store.calls.list === 1 && backlog.asked > asked)
    assert.equal(shipping.shippedBytes, segmentBytes)
    second.resolve()
    await shipping.untilShipped(2 * segmentBytes)
    await shipping.drain()
  })

  test('move the shipped position before their chunks are listed', async (t) => {
    const backlog = await Backlog.of(t, 1)
    const { shipping, store } = backlog
    const held = deferred()
    store.before = async (operation) => {
      if (operation === 'list') await held.promise
    }
    shipping.start()
    await shipping.untilShipped(segmentBytes)
    assert.equal(backlog.inFlight, 1)
    held.resolve()
    await shipping.drain()
  })

  test('where the archive is gone by then are put anew', async (t) => {
    const backlog = await Backlog.of(t, 4, { uploadConcurrency: 4 })
    const { shipping, store } = backlog
    let isAway = true
    backlog.answer = () => !isAway
    // It goes where the archive was.
    store.stored = (key) => {
      if (isAway) store.delete(key)
    }
    shipping.start()
    await shipping.until(() => shipping.said.some((one) => one.startsWith('cannot settle')))
    await shipping.until(() => backlog.inFlight === 0)
    assert.equal(shipping.shippedBytes, 0)
    assert.equal(shipping.feeder.spool.segments().length, 4)
    isAway = false
    await shipping.untilShipped(4 * segmentBytes)
    await shipping.drain()
    await shipping.assertArchived(4 * segmentBytes)
    assert.equal(shipping.shipper.problem, null)
  })

  test('where nobody could say whether the archive is there are looked for anew', async (t) => {
    const backlog = await Backlog.of(t, 2)
    const { shipping, store } = backlog
    let isUnreachable = true
    backlog.answer = () => {
      if (isUnreachable) throw unreachable()
      return true
    }
    shipping.start()
    await shipping.until(() => shipping.said.some((one) => one.startsWith('cannot settle')) && backlog.inFlight === 0)
    assert.equal(shipping.shippedBytes, 0)
    const { findAmong } = store.calls
    assert.equal(findAmong, 2)
    isUnreachable = false
    await shipping.untilShipped(2 * segmentBytes)
    await shipping.drain()
    assert.ok(store.calls.findAmong > findAmong)
    assert.equal(store.calls.put, 2)
    await shipping.assertArchived(2 * segmentBytes)
  })

  test('while the archive was seen to be away are put anew, though it is back by then', async (t) => {
    const backlog = await Backlog.of(t, 2, { uploadConcurrency: 2 })
    const { shipping, store } = backlog
    const landed = deferred()
    const held = deferred()
    let isAway = true
    backlog.answer = async () => {
      await landed.promise
      return !isAway
    }
    let puts = 0
    store.stored = async (key) => {
      if (key === wholeKey(1)) puts++
      if (!isAway) return
      store.delete(key)
      if (key !== wholeKey(1)) return
      landed.resolve()
      await held.promise
    }
    shipping.start()
    await shipping.until(() => shipping.said.some((one) => one.startsWith('cannot settle')))
    isAway = false
    held.resolve()
    await shipping.untilShipped(2 * segmentBytes)
    await shipping.drain()
    assert.equal(puts, 2)
    await shipping.assertArchived(2 * segmentBytes)
  })

  test('and were not settled before a crash are settled by the next start', async (t) => {
    const folder = await tempFolder(t)
    const backlog = await Backlog.of(t, 3, { folder })
    const { shipping, store } = backlog
    await backlog.plantChunks(0, 2)
    store.before = (operation) => {
      if (operation === 'list') throw unreachable()
    }
    shipping.start()
    await shipping.untilShipped(3 * segmentBytes)
    shipping.cut()
    await shipping.ended.catch(() => undefined)
    await shipping.feeder.spool.close()
    assert.deepEqual(shipping.segmentsWithChunks(), [nameOf(0), nameOf(2)])
    store.before = () => undefined
    const again = new Shipping(t, { folder, store, scan: scanUpTo(3 * segmentBytes) })
    again.feeder.positions.startAt(at(3 * segmentBytes), begin)
    again.start()
    await again.until(() => again.segmentsWithChunks().length === 0)
    await again.drain()
    assert.equal(again.shippedBytes, 3 * segmentBytes)
    await again.assertArchived(3 * segmentBytes)
  })
})

describe('chunks of segments that were put', () => {
  test('are deleted in one go', async (t) => {
    const backlog = await Backlog.of(t, 5, { uploadConcurrency: 1 })
    const { shipping, store } = backlog
    await backlog.plantChunks(1, 2, 4)
    const held = backlog.holdNextAnswer()
    shipping.start()
    await backlog.untilPut(5)
    held.resolve()
    await shipping.untilShipped(5 * segmentBytes)
    await shipping.drain()
    assert.deepEqual(shipping.segmentsWithChunks(), [])
    assert.equal(store.calls.deleteMany, 1)
    assert.equal(store.calls.list, 2)
    await shipping.assertArchived(5 * segmentBytes)
  })

  test('are deleted beside those of a segment that is still being put', async (t) => {
    const backlog = await Backlog.of(t, 4, { uploadConcurrency: 2 })
    const { shipping, store } = backlog
    await backlog.plantChunks(0, 1, 2)
    // Nothing that may be refused, as long as nobody asks for this segment.
    store.set(`${tailFolder(nameOf(1))}foreign`)
    const put = backlog.holdPut(1)
    const answer = backlog.holdNextAnswer()
    shipping.start()
    await backlog.untilPut(3, 2)
    answer.resolve()
    await shipping.until(() => shipping.segmentsWithChunks().length === 1 && backlog.inFlight === 1)
    assert.deepEqual(shipping.segmentsWithChunks(), [nameOf(1)])
    assert.equal(shipping.shippedBytes, segmentBytes)
    store.delete(`${tailFolder(nameOf(1))}foreign`)
    put.resolve()
    await shipping.drain()
    assert.deepEqual(shipping.segmentsWithChunks(), [])
    assert.equal(store.calls.deleteMany, 2)
    await shipping.assertArchived(4 * segmentBytes)
  })

  test('are not deleted where something else lies among them', async (t) => {
    const backlog = await Backlog.of(t, 3, { uploadConcurrency: 1 })
    const { shipping, store } = backlog
    await backlog.plantChunks(0, 1, 2)
    store.set(`${tailFolder(nameOf(1))}foreign`)
    const held = backlog.holdNextAnswer()
    shipping.start()
    await backlog.untilPut(3)
    held.resolve()
    await assert.rejects(shipping.ended, { code: 'ARCHIVE_DAMAGED' })
    assert.ok(store.keys.includes(chunkOf(1)) && store.keys.includes(chunkOf(2)))
    assert.ok(shipping.feeder.spool.segments().some(({ name }) => name === nameOf(1)))
  })

  test('that cannot be compared keep only their own segment', async (t) => {
    const backlog = await Backlog.of(t, 6, { uploadConcurrency: 2 })
    const { shipping, store } = backlog
    await backlog.plantChunks(0, 1, 2, 3, 4)
    let isDenied = true
    store.before = (operation, key) => {
      if (isDenied && operation === 'get' && key === chunkOf(1)) throw new WalferryError('STORE_DENIED', 'injected')
    }
    shipping.start()
    await shipping.until(() => shipping.segmentsWithChunks().length === 1)
    await shipping.untilShipped(6 * segmentBytes)
    assert.deepEqual(shipping.segmentsWithChunks(), [nameOf(1)])
    // Behind it, the newest stays, as always.
    await shipping.until(() => shipping.feeder.spool.segments().length === 2)
    assert.deepEqual(
      shipping.feeder.spool.segments().map(({ name }) => name),
      [nameOf(1), nameOf(5)],
    )
    isDenied = false
    await shipping.until(() => shipping.segmentsWithChunks().length === 0)
    await shipping.drain()
    await shipping.assertArchived(6 * segmentBytes)
  })

  test('halt it where they hold other WAL, and stay', async (t) => {
    const backlog = await Backlog.of(t, 3)
    const { shipping, store } = backlog
    store.set(chunkOf(1), await encoded(chunkOf(1), Buffer.alloc(1000)))
    shipping.start()
    await assert.rejects(shipping.ended, { code: 'ARCHIVE_CONFLICT' })
    assert.ok(store.keys.includes(chunkOf(1)))
    assert.ok(shipping.feeder.spool.segments().some(({ name }) => name === nameOf(1)))
  })
})
