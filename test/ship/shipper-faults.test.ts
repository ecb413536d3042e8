import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { chunkKey, parseChunkKey, segmentKey } from '../../src/archive/keys.ts'
import { isError, WalferryError } from '../../src/kit/errors.ts'
import { at, begin, bytesOf, nameOf, segmentBytes } from '../spool/feeder.ts'
import { deferred } from '../support/deferred.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { encoded, FaultyStore, scanUpTo, Shipping, unreachable } from './shipping.ts'

/** A spool and a store as a killed receiver leaves them. */
async function killed(t: test.TestContext, fed: number): Promise<{ folder: string; store: FaultyStore }> {
  const folder = await tempFolder(t)
  const before = new Shipping(t, { folder })
  await before.feeder.begin()
  before.start()
  for (let bytes = 5000; bytes < fed; bytes += 100_000) {
    await before.feeder.mustFeedTo(bytes)
    await before.untilShipped(bytes)
  }
  await before.feeder.mustFeedTo(fed)
  before.cut()
  await before.ended.catch(() => undefined)
  await before.feeder.spool.close()
  return { folder, store: before.store }
}

describe('a shipper whose store fails', () => {
  test('at any operation, any number of times, ships everything in the end', async (t) => {
    const random = seededRandom(t)
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder, store } = shipping
    let failures = 0
    const maybe = (): void => {
      if (failures < 8 && random.below(4) === 0) {
        failures++
        throw unreachable()
      }
    }
    store.before = maybe
    // The answer is lost, the object is there.
    store.stored = maybe
    await feeder.begin()
    shipping.start()
    const end = 3 * segmentBytes + 777
    while (feeder.fed < end) {
      await feeder.mustFeedTo(Math.min(end, feeder.fed + 1 + random.below(400_000)))
      for (let turns = 30; turns > 0; turns--) await new Promise(setImmediate)
    }
    await shipping.untilShipped(end)
    store.before = () => undefined
    store.stored = () => undefined
    // A drain waits for no chunk whose deletion has just been refused.
    await shipping.until(() => shipping.segmentsWithChunks().length === 1)
    await shipping.drain()
    await shipping.assertArchived(end)
    assert.deepEqual(shipping.segmentsWithChunks(), [nameOf(3)])
    assert.ok(failures > 0)
  })

  test('says what is wrong while it is, once, and keeps everything in the spool', async (t) => {
    const folder = await tempFolder(t)
    const shipping = new Shipping(t, { folder })
    const { feeder, store } = shipping
    let away = true
    let refused = 0
    store.before = (operation) => {
      if (!away || operation !== 'put') return
      refused++
      throw unreachable()
    }
    await feeder.begin()
    shipping.start()
    await feeder.mustFeedTo(6 * segmentBytes + 10)
    await shipping.until(() => refused > 4)
    assert.ok(isError(shipping.shipper.problem, 'STORE_UNREACHABLE'))
    assert.equal(shipping.shippedBytes, 0)
    assert.equal((await readdir(folder)).length, 7)
    // Uploads that fail together are told, and waited for, together.
    assert.ok(shipping.said.length <= 4, shipping.said.join('\n'))
    away = false
    await shipping.untilShipped(6 * segmentBytes + 10)
    assert.equal(shipping.shipper.problem, null)
    await shipping.drain()
    await shipping.assertArchived(6 * segmentBytes + 10)
    assert.ok(shipping.said.includes('shipping works again'))
  })

  test('by hanging is left at once when it is cut, and nothing goes on', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder, store } = shipping
    const hung = deferred()
    let under = 0
    store.before = async (operation) => {
      if (operation !== 'put') return
      under++
      await hung.promise
      under--
    }
    await feeder.begin()
    shipping.start()
    await feeder.mustFeedTo(segmentBytes + 10)
    await shipping.until(() => under > 0)
    shipping.cut()
    hung.resolve()
    await assert.rejects(shipping.ended, /cut/)
    assert.equal(under, 0)
    assert.equal(shipping.shippedBytes, 0)
    assert.deepEqual(store.keys, [])
  })

  test('to delete does not keep a drain from ending', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder, store } = shipping
    store.before = (operation) => {
      if (operation === 'deleteMany') throw new WalferryError('STORE_DENIED', 'injected')
    }
    await feeder.begin()
    shipping.start()
    await feeder.mustFeedTo(1000)
    await shipping.untilShipped(1000)
    await feeder.mustFeedTo(segmentBytes)
    await shipping.untilShipped(segmentBytes)
    await shipping.until(() => store.calls.deleteMany > 0)
    await shipping.drain()
    assert.ok(isError(shipping.shipper.problem, 'STORE_DENIED'))
    await shipping.assertArchived(segmentBytes)
  })

  test('with a denial tells it as an error, and goes on once it is mended', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder, store } = shipping
    let denials = 3
    store.before = () => {
      if (denials-- > 0) throw new WalferryError('STORE_DENIED', 'injected')
    }
    await feeder.begin()
    shipping.start()
    await feeder.mustFeedTo(10)
    await shipping.untilShipped(10)
    assert.equal(shipping.shipper.problem, null)
  })
})

describe('a shipper that finds something under its keys', () => {
  const planted = [
    { what: 'an open segment', key: chunkKey(nameOf(0), 0, 1000, 'lz4'), from: 0, to: 1000, fed: 1000 },
    { what: 'a whole segment', key: segmentKey(nameOf(0), 'lz4'), from: 0, to: segmentBytes, fed: segmentBytes + 1 },
    {
      what: 'a whole segment of WAL-G',
      key: segmentKey(nameOf(0), 'none'),
      from: 0,
      to: segmentBytes,
      fed: segmentBytes + 1,
    },
  ]

  for (const { what, key, from, to, fed } of planted) {
    test(`takes equal content for its own: ${what}`, async (t) => {
      const shipping = new Shipping(t, { folder: await tempFolder(t) })
      const { feeder, store } = shipping
      store.set(key, await encoded(key, bytesOf(from, to)))
      await feeder.begin()
      shipping.start()
      await feeder.mustFeedTo(fed)
      await shipping.untilShipped(fed)
      await shipping.drain()
      await shipping.assertArchived(fed)
      // Not stored a second time under another name.
      assert.equal(store.keys.filter((one) => one.includes(nameOf(0))).length, key.includes(nameOf(0)) ? 1 : 0)
    })

    test(`halts at other content, and overwrites nothing: ${what}`, async (t) => {
      const shipping = new Shipping(t, { folder: await tempFolder(t) })
      const { feeder, store } = shipping
      const other = bytesOf(from, to)
      other[to - from - 1] = (other[to - from - 1] ?? 0) ^ 1
      const object = await encoded(key, other)
      store.set(key, object)
      await feeder.begin()
      shipping.start()
      await feeder.mustFeedTo(fed)
      await assert.rejects(shipping.ended, { code: 'ARCHIVE_CONFLICT' })
      assert.ok(isError(shipping.shipper.problem, 'ARCHIVE_CONFLICT'))
      assert.ok(object.equals(store.peek(key)))
      assert.equal(shipping.shippedBytes, 0)
      // The spool keeps its copy, and takes more.
      await feeder.mustFeedTo(fed + 1000)
      assert.equal(feeder.spool.segments()[0]?.name, nameOf(0))
      // Nothing that could pass for the missing part was put behind it.
      assert.ok(shipping.readableBytes() <= to, String(store.keys))
    })
  }

  test('stays halted, whatever still succeeds beside it', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder, store } = shipping
    const slow = deferred()
    store.set(segmentKey(nameOf(0), 'lz4'), await encoded('x.lz4', Buffer.alloc(segmentBytes)))
    store.before = async (operation, key) => {
      if (operation === 'put' && key === segmentKey(nameOf(1), 'lz4')) await slow.promise
    }
    await feeder.begin()
    await feeder.mustFeedTo(2 * segmentBytes)
    shipping.start()
    await shipping.until(() => shipping.shipper.problem !== null)
    slow.resolve()
    await assert.rejects(shipping.ended, { code: 'ARCHIVE_CONFLICT' })
    assert.ok(isError(shipping.shipper.problem, 'ARCHIVE_CONFLICT'))
    assert.equal(shipping.said.length, 1)
  })

  test('halts at damage, which is not other content', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder, store } = shipping
    const key = segmentKey(nameOf(0), 'lz4')
    store.set(key, (await encoded(key, bytesOf(0, segmentBytes))).subarray(0, 5000))
    await feeder.begin()
    shipping.start()
    await feeder.mustFeedTo(segmentBytes)
    await assert.rejects(shipping.ended, { code: 'ARCHIVE_DAMAGED' })
  })
})

describe('a shipper that starts again', () => {
  test('compares what is there, ships the rest, and tidies up', async (t) => {
    const fed = segmentBytes + 300_000
    const { folder, store } = await killed(t, fed)
    const shipping = new Shipping(t, { folder, store, scan: scanUpTo(fed) })
    shipping.feeder.positions.startAt(at(fed), begin)
    shipping.start()
    // Before, and without, any server.
    await shipping.untilShipped(fed)
    await shipping.until(() => !shipping.segmentsWithChunks().includes(nameOf(0)))
    await shipping.drain()
    await shipping.assertArchived(fed)
  })

  test('waits with a tail of which the store has more than the spool, until it can be compared', async (t) => {
    const { folder, store } = await killed(t, 300_000)
    const shipping = new Shipping(t, { folder, store, scan: scanUpTo(100_000) })
    const { feeder } = shipping
    const chunks = store.keys.length
    assert.ok(chunks > 0)
    feeder.positions.startAt(at(100_000), begin)
    shipping.start()
    await feeder.begin()
    await feeder.mustFeedTo(150_000)
    await shipping.until(() => store.calls.list > 0)
    assert.equal(store.keys.length, chunks)
    await feeder.mustFeedTo(400_000)
    await shipping.untilShipped(400_000)
    await shipping.drain()
    await shipping.assertArchived(400_000)
  })

  test('halts at a tail that is not its own', async (t) => {
    const { folder, store } = await killed(t, 300_000)
    const key = store.keys.findLast((one) => parseChunkKey(one) !== null) ?? ''
    const chunk = parseChunkKey(key)
    assert.ok(chunk)
    const other = bytesOf(chunk.start, chunk.end)
    other[0] = (other[0] ?? 0) ^ 0x80
    const object = await encoded(key, other)
    store.set(key, object)
    const keys = [...store.keys]
    const shipping = new Shipping(t, { folder, store, scan: scanUpTo(300_000) })
    shipping.feeder.positions.startAt(at(300_000), begin)
    shipping.start()
    await assert.rejects(shipping.ended, { code: 'ARCHIVE_CONFLICT' })
    assert.deepEqual(store.keys, keys)
    assert.ok(object.equals(store.peek(key)))
    assert.equal(shipping.shippedBytes, 0)
  })

  test('with an open segment that the archive has whole by now stores no tail of it', async (t) => {
    const fed = 200_000
    for (const equal of [true, false]) {
      const folder = await tempFolder(t)
      const before = new Shipping(t, { folder })
      await before.feeder.begin()
      await before.feeder.mustFeedTo(fed)
      await before.feeder.spool.close()
      // Another receiver took over, and this one comes back.
      const store = new FaultyStore()
      const key = segmentKey(nameOf(0), 'lz4')
      const whole = bytesOf(0, segmentBytes)
      if (!equal) whole[fed - 1] = (whole[fed - 1] ?? 0) ^ 1
      store.set(key, await encoded(key, whole))
      const shipping = new Shipping(t, { folder, store, scan: scanUpTo(fed) })
      shipping.feeder.positions.startAt(at(fed), begin)
      shipping.start()
      if (equal) {
        await shipping.untilShipped(fed)
        assert.equal(shipping.shippedBytes, fed)
        await shipping.drain()
      } else await assert.rejects(shipping.ended, { code: 'ARCHIVE_CONFLICT' })
      assert.deepEqual(store.keys, [key])
    }
  })
})
