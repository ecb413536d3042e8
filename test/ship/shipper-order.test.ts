import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { parseChunkKey, segmentKey } from '../../src/archive/keys.ts'
import { nameOf, segmentBytes } from '../spool/feeder.ts'
import { deferred } from '../support/deferred.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { Shipping } from './shipping.ts'

describe('a shipper', () => {
  test('ships all that is synced, keeps the newest whole segment, and leaves no chunk of a whole one', async (t) => {
    const random = seededRandom(t)
    const folder = await tempFolder(t)
    const shipping = new Shipping(t, { folder })
    const { feeder } = shipping
    await feeder.begin()
    shipping.start()
    const end = 4 * segmentBytes + 54_321
    while (feeder.fed < end) {
      await feeder.mustFeedTo(Math.min(end, feeder.fed + 1 + random.below(300_000)))
      // Sometimes at its heels, so that tails are shipped, and sometimes not.
      if (random.below(3) > 0) await shipping.untilShipped(feeder.fed)
    }
    await shipping.untilShipped(end)
    await shipping.until(() => shipping.segmentsWithChunks().length === 1)
    assert.deepEqual(shipping.segmentsWithChunks(), [nameOf(4)])
    await shipping.until(() => feeder.spool.segments().length === 2)
    assert.deepEqual((await readdir(folder)).sort(), [nameOf(3), `${nameOf(4)}.partial`])
    await shipping.drain()
    await shipping.assertArchived(end)
    assert.equal(shipping.shipper.problem, null)
  })

  test('misses no byte that falls due between two looks at the clock', async (t) => {
    let nowMs = 0
    const clock = { nowMs: () => Date.now(), monotonicMs: () => (nowMs += 20) }
    const shipping = new Shipping(t, { folder: await tempFolder(t), clock, shipIntervalMs: 30 })
    await shipping.feeder.begin()
    shipping.start()
    // The shipper of an idle server is woken by nothing else.
    for (let bytes = 1000; bytes <= 5000; bytes += 1000) {
      await shipping.feeder.mustFeedTo(bytes)
      await shipping.untilShipped(bytes)
    }
  })

  test('never tells more as shipped than a reader would find, whatever lands first', async (t) => {
    const random = seededRandom(t)
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder, store } = shipping
    const names = Array.from({ length: 8 }, (_, n) => nameOf(n))
    let looks = 0
    const look = (): void => {
      looks++
      assert.ok(shipping.readableBytes() >= shipping.shippedBytes, `${shipping.readableBytes()}`)
    }
    // Every operation takes its own time, so that they land in any order.
    store.before = async (operation, key) => {
      look()
      for (let turns = random.below(40); turns > 0; turns--) await new Promise(setImmediate)
      look()
      const chunk = operation === 'put' ? parseChunkKey(key) : null
      // A chunk never lies behind a hole.
      if (chunk !== null) assert.ok(chunk.start === 0 || shipping.readableBytes() % segmentBytes >= chunk.start)
      const before = chunk === null ? [] : names.slice(0, names.indexOf(chunk.segment))
      assert.ok(shipping.readableBytes() >= before.length * segmentBytes, `${key} behind a hole`)
    }
    await feeder.begin()
    shipping.start()
    const end = 6 * segmentBytes + 999
    while (feeder.fed < end) {
      await feeder.mustFeedTo(Math.min(end, feeder.fed + 1 + random.below(random.pick([2000, 900_000]))))
      for (let turns = random.below(100); turns > 0; turns--) await new Promise(setImmediate)
      look()
    }
    await shipping.drain()
    look()
    assert.equal(shipping.shippedBytes, end)
    await shipping.assertArchived(end)
    assert.ok(looks > 50)
  })

  test('moves the shipped position over segments that landed early only when the first has landed', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t), uploadConcurrency: 3 })
    const { feeder, store } = shipping
    const first = deferred()
    const landed: string[] = []
    let under = 0
    let most = 0
    store.before = async (operation, key) => {
      if (operation !== 'put') return
      most = Math.max(most, ++under)
      if (key === segmentKey(nameOf(0), 'lz4')) await first.promise
      under--
    }
    store.stored = (key) => void landed.push(key)
    await feeder.begin()
    await feeder.mustFeedTo(5 * segmentBytes)
    shipping.start()
    await shipping.until(() => landed.length === 4)
    assert.equal(shipping.shippedBytes, 0)
    assert.ok(most <= 3, `${most} uploads at once`)
    assert.equal(shipping.readableBytes(), 0)
    // What landed may leave the spool; what did not, may not.
    assert.ok(feeder.spool.segments().some((one) => one.name === nameOf(0)))
    first.resolve()
    await shipping.untilShipped(5 * segmentBytes)
    await shipping.drain()
    await shipping.assertArchived(5 * segmentBytes)
  })

  for (const kind of ['chunk', 'merge'] as const) {
    test(`a ${kind} that is still on its way when its segment is stored whole leaves nothing behind`, async (t) => {
      const shipping = new Shipping(t, { folder: await tempFolder(t) })
      const { feeder, store } = shipping
      const slow = deferred()
      let held: string | null = null
      store.before = async (operation, key) => {
        const chunk = operation === 'put' ? parseChunkKey(key) : null
        const isOne = kind === 'merge' ? chunk?.start === 0 && chunk.end > 1000 : chunk?.start === 3000
        if (chunk?.segment !== nameOf(0) || !isOne || held !== null) return
        held = key
        await slow.promise
      }
      await feeder.begin()
      shipping.start()
      // Eight chunks are merged into one.
      for (let n = 1; n <= 8; n++) {
        await feeder.mustFeedTo(n * 1000)
        await shipping.until(() => shipping.shippedBytes >= n * 1000 || held !== null)
      }
      await shipping.until(() => held !== null)
      await feeder.mustFeedTo(segmentBytes + 10)
      await shipping.untilShipped(segmentBytes)
      slow.resolve()
      await shipping.untilShipped(segmentBytes + 10)
      await shipping.until(() => !shipping.segmentsWithChunks().includes(nameOf(0)))
      await shipping.drain()
      assert.deepEqual(shipping.segmentsWithChunks(), [nameOf(1)])
      await shipping.assertArchived(segmentBytes + 10)
    })
  }

  test('keeps the number of chunks small, however often it ships', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder } = shipping
    await feeder.begin()
    shipping.start()
    let most = 0
    for (let n = 1; n <= 400; n++) {
      await feeder.mustFeedTo(n * 600)
      await shipping.untilShipped(n * 600)
      most = Math.max(most, shipping.store.keys.length)
    }
    assert.ok(most <= 28 + 1, `${most} objects`)
    assert.ok(shipping.store.calls.put > 400)
    await shipping.drain()
    await shipping.assertArchived(400 * 600)
  })

  test('waits for its interval with a tail, and not when it drains', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t), shipIntervalMs: 3_600_000 })
    const { feeder, store } = shipping
    await feeder.begin()
    shipping.start()
    await feeder.mustFeedTo(segmentBytes + 5000)
    // A whole segment does not wait.
    await shipping.untilShipped(segmentBytes)
    await shipping.until(() => store.calls.list > 1)
    assert.equal(shipping.shippedBytes, segmentBytes)
    assert.deepEqual(shipping.segmentsWithChunks(), [])
    await shipping.drain()
    assert.equal(shipping.shippedBytes, segmentBytes + 5000)
    await shipping.assertArchived(segmentBytes + 5000)
  })
})
