/** Many whole segments at once: what is asked of the archive before a put and after it is asked for several together. */
import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { chunkKey, historyKey, parseChunkKey, segmentKey, tailFolder } from '../../src/archive/keys.ts'
import { isError, WalferryError } from '../../src/kit/errors.ts'
import { at, begin, bytesOf, nameOf, segmentBytes } from '../spool/feeder.ts'
import { deferred } from '../support/deferred.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { tempFolder } from '../support/temp.ts'
import { encoded, type FaultyStore, scanUpTo, Shipping, type ShippingOptions, unreachable } from './shipping.ts'

/** A shipper before a spool with so many whole segments. */
async function backlogOf(
  t: TestContext,
  segments: number,
  options: Partial<ShippingOptions> = {},
): Promise<{ readonly shipping: Shipping; readonly store: FaultyStore }> {
  const shipping = new Shipping(t, { ...options, folder: options.folder ?? (await tempFolder(t)) })
  await shipping.feeder.begin()
  await shipping.feeder.mustFeedTo(segments * segmentBytes)
  return { shipping, store: shipping.store }
}

function wholeKey(n: number, codec: 'lz4' | 'none' = 'lz4'): string {
  return segmentKey(nameOf(n), codec)
}

function chunkOf(n: number): string {
  return chunkKey(nameOf(n), 0, 1000, 'lz4')
}

function contentOf(n: number): Buffer {
  return bytesOf(n * segmentBytes, (n + 1) * segmentBytes)
}

/** Chunks of another receiver, of the first 1000 bytes of each. */
async function plantChunks(store: FaultyStore, ...numbers: readonly number[]): Promise<void> {
  for (const n of numbers) store.set(chunkOf(n), await encoded(chunkOf(n), contentOf(n).subarray(0, 1000)))
}

function spoolOf(shipping: Shipping): string[] {
  return shipping.feeder.spool.segments().map(({ name }) => name)
}

describe('a backlog', () => {
  test('costs a put and a look for each segment, and few requests more for all', async (t) => {
    // Nothing is asked anew because time has passed.
    let asked = 0
    const isStillOurs = (): boolean => ++asked > 0
    const { shipping, store } = await backlogOf(t, 48, { clock: new FakeClock(), uploadConcurrency: 4, isStillOurs })
    // A put takes longer than what goes before and behind it.
    store.before = async (operation) => {
      for (let turns = operation === 'put' ? 30 : 3; turns > 0; turns--) await new Promise(setImmediate)
    }
    shipping.start()
    await shipping.untilShipped(48 * segmentBytes)
    await shipping.drain()
    assert.equal(store.calls.put, 48)
    assert.ok(asked <= 48 + 4, `it asked ${asked} times whether the archive is in its place`)
    assert.ok(store.calls.findAmong <= 10, `it looked ${store.calls.findAmong} times`)
    assert.ok(store.calls.list <= 24, `it listed ${store.calls.list} times`)
    assert.equal(store.calls.deleteMany, 0)
    await shipping.assertArchived(48 * segmentBytes)
  })

  test('that the archive has already, under whichever extension, is compared, and not put', async (t) => {
    const { shipping, store } = await backlogOf(t, 20)
    for (let n = 0; n < 20; n++) {
      const key = wholeKey(n, n % 2 === 0 ? 'lz4' : 'none')
      if (n !== 7) store.set(key, await encoded(key, contentOf(n)))
    }
    shipping.start()
    await shipping.untilShipped(20 * segmentBytes)
    await shipping.drain()
    assert.equal(store.calls.put, 1)
    assert.ok(store.keys.includes(wholeKey(7)))
    await shipping.assertArchived(20 * segmentBytes)
  })

  test('is looked for anew after a failure: somebody else may have stored it meanwhile', async (t) => {
    const { shipping, store } = await backlogOf(t, 8, { uploadConcurrency: 2 })
    let isAway = true
    store.before = (operation) => {
      if (isAway && operation === 'put') throw unreachable()
    }
    shipping.start()
    await shipping.until(() => shipping.said.length > 0 && shipping.shipper.inFlight === 0)
    for (let n = 0; n < 8; n++) store.set(wholeKey(n, 'none'), contentOf(n))
    isAway = false
    await shipping.untilShipped(8 * segmentBytes)
    await shipping.drain()
    assert.deepEqual(
      store.keys.filter((key) => key.endsWith('.lz4')),
      [],
    )
  })

  test('is looked for anew where something failed while it was looked for', async (t) => {
    const { shipping, store } = await backlogOf(t, 18, { uploadConcurrency: 2 })
    const asked = deferred()
    const failing = deferred()
    const answering = deferred()
    let fails = true
    store.before = async (operation, key) => {
      if (!fails || operation !== 'put' || key !== wholeKey(15)) return
      await failing.promise
      fails = false
      throw unreachable()
    }
    const find = store.findAmong.bind(store)
    let isFirst = true
    store.findAmong = async (beginning, ends, options) => {
      const found = await find(beginning, ends, options)
      if (!isFirst || !ends.some((end) => beginning + end === wholeKey(16))) return found
      isFirst = false
      asked.resolve()
      await answering.promise
      return found
    }
    shipping.start()
    await asked.promise
    failing.resolve()
    await shipping.until(() => shipping.said.length > 0)
    store.set(wholeKey(16, 'none'), contentOf(16))
    answering.resolve()
    await shipping.untilShipped(18 * segmentBytes)
    await shipping.drain()
    assert.ok(!store.keys.includes(wholeKey(16)))
    await shipping.assertArchived(18 * segmentBytes)
  })

  test('that nobody can be asked for is not put', async (t) => {
    const { shipping, store } = await backlogOf(t, 8)
    let isAway = true
    store.before = (operation) => {
      if (isAway && operation === 'findAmong') throw unreachable()
    }
    shipping.start()
    await shipping.until(() => shipping.said.some((one) => one.startsWith(`cannot look for ${nameOf(0)} and 7 more`)))
    assert.equal(store.calls.put, 0)
    isAway = false
    await shipping.untilShipped(8 * segmentBytes)
    await shipping.drain()
    assert.equal(shipping.shipper.problem, null)
    await shipping.assertArchived(8 * segmentBytes)
  })

  test('waits ever longer for a store that answers and takes nothing', async (t) => {
    const { shipping, store } = await backlogOf(t, 8, { uploadConcurrency: 2 })
    store.before = (operation) => {
      if (operation === 'put') throw new WalferryError('STORE_DENIED', 'injected')
    }
    shipping.start()
    await shipping.until(() => shipping.said.length >= 3)
    // Two uploads at once, and three times.
    assert.ok(store.calls.put <= 6, `${store.calls.put} attempts`)
    assert.ok(!shipping.said.includes('shipping works again'))
  })

  test('that lies where the archive is gone meanwhile is not stored, and stays', async (t) => {
    let isAway = false
    const { shipping, store } = await backlogOf(t, 6, { uploadConcurrency: 2, isStillOurs: () => !isAway })
    store.stored = (key) => {
      if (key !== wholeKey(2)) return
      isAway = true
      store.delete(key)
    }
    shipping.start()
    await shipping.until(() => shipping.said.length > 0)
    assert.ok(shipping.shippedBytes <= 2 * segmentBytes)
    assert.ok(spoolOf(shipping).includes(nameOf(2)))
    store.stored = () => undefined
    isAway = false
    await shipping.untilShipped(6 * segmentBytes)
    await shipping.drain()
    await shipping.assertArchived(6 * segmentBytes)
  })

  test('that lies where the archive is gone is a problem, whatever else still lands there', async (t) => {
    let isAway = false
    const { shipping, store } = await backlogOf(t, 0, { isStillOurs: () => !isAway })
    shipping.start()
    await shipping.feeder.mustFeedTo(1000)
    await shipping.untilShipped(1000)
    const chunk = deferred()
    store.before = async (operation, key) => {
      if (operation === 'put' && key.startsWith(tailFolder(nameOf(0)))) await chunk.promise
    }
    store.stored = (key) => {
      if (key === wholeKey(0)) isAway = true
    }
    await shipping.feeder.mustFeedTo(segmentBytes)
    await shipping.until(() => shipping.shipper.problem !== null)
    assert.equal(shipping.shipper.inFlight, 1)
    chunk.resolve()
    await shipping.until(() => shipping.shipper.inFlight === 0)
    assert.ok(isError(shipping.shipper.problem, 'STORE_UNREACHABLE'))
    assert.ok(!shipping.said.includes('shipping works again'), shipping.said.join('; '))
    isAway = false
    await shipping.untilShipped(segmentBytes)
    await shipping.drain()
    assert.equal(shipping.shipper.problem, null)
  })

  test('of a new timeline has its history file in the archive, and not where that was not', async (t) => {
    let isAway = false
    const shipping = new Shipping(t, { folder: await tempFolder(t), isStillOurs: () => !isAway })
    const { feeder, store } = shipping
    await feeder.spool.keepHistory(2, Buffer.from('1\t0/300000\tno reason\n'))
    await feeder.spool.beginStream(2, begin, feeder)
    feeder.positions.startAt(begin, begin)
    const key = historyKey(2, 'lz4')
    let isFirst = true
    store.stored = (stored) => {
      if (stored !== key || !isFirst) return
      isFirst = false
      isAway = true
      store.delete(key)
    }
    shipping.start()
    await feeder.mustFeedTo(2 * segmentBytes)
    await shipping.until(() => shipping.said.some((one) => one.includes('00000002.history')))
    assert.ok(!store.keys.includes(key))
    isAway = false
    await shipping.untilShipped(2 * segmentBytes)
    await shipping.drain()
    assert.ok(store.keys.includes(key))
  })

  test('leaves no problem behind where a deletion is refused while an upload mends it', async (t) => {
    const { shipping, store } = await backlogOf(t, 2)
    await plantChunks(store, 0)
    const chunk = deferred()
    let isRefused = true
    let isAway = true
    store.before = async (operation, key) => {
      if (operation === 'deleteMany' && isRefused) {
        isRefused = false
        throw new WalferryError('STORE_DENIED', 'injected')
      }
      if (operation !== 'put' || !key.startsWith(tailFolder(nameOf(2)))) return
      if (isAway) {
        isAway = false
        throw unreachable()
      }
      await chunk.promise
    }
    shipping.start()
    await shipping.untilShipped(2 * segmentBytes)
    await shipping.until(() => !isRefused)
    await shipping.feeder.mustFeedTo(2 * segmentBytes + 1000)
    await shipping.until(() => !isAway && shipping.shipper.problem !== null)
    chunk.resolve()
    await shipping.untilShipped(2 * segmentBytes + 1000)
    await shipping.until(() => shipping.shipper.problem === null)
    await shipping.drain()
  })

  test('moves the shipped position before chunks are listed, and leaves the spool after it', async (t) => {
    const { shipping, store } = await backlogOf(t, 4)
    const held = deferred()
    store.before = async (operation) => {
      if (operation === 'list') await held.promise
    }
    shipping.start()
    await shipping.untilShipped(4 * segmentBytes)
    assert.equal(spoolOf(shipping).length, 4)
    held.resolve()
    await shipping.until(() => spoolOf(shipping).length === 1)
    await shipping.drain()
  })

  test('that comes one by one is looked for, put and listed at once', async (t) => {
    const { shipping, store } = await backlogOf(t, 1, { clock: new FakeClock(), shipIntervalMs: 60_000 })
    shipping.start()
    for (let n = 1; n <= 4; n++) {
      await shipping.feeder.mustFeedTo(n * segmentBytes)
      await shipping.until(() => store.calls.list === n && shipping.shipper.inFlight === 0)
      assert.equal(shipping.shippedBytes, n * segmentBytes)
      assert.deepEqual({ ...store.calls }, { put: n, get: 0, head: 0, findAmong: n, list: n, deleteMany: 0 })
    }
  })
})

describe('the chunks of stored segments', () => {
  test('are deleted, also where an upload never ends', async (t) => {
    const { shipping, store } = await backlogOf(t, 6, { uploadConcurrency: 2 })
    await plantChunks(store, 0, 2, 3)
    const held = deferred()
    store.before = async (operation, key) => {
      if (operation === 'put' && key === wholeKey(1)) await held.promise
    }
    shipping.start()
    await shipping.until(() => shipping.segmentsWithChunks().length === 0)
    assert.equal(shipping.shippedBytes, segmentBytes)
    held.resolve()
    await shipping.untilShipped(6 * segmentBytes)
    await shipping.drain()
    await shipping.assertArchived(6 * segmentBytes)
  })

  test('stay as long as their segment is not stored', async (t) => {
    const { shipping, store } = await backlogOf(t, 4, { uploadConcurrency: 2 })
    await plantChunks(store, 0, 1, 2)
    // Nothing that may be refused, as long as nobody asks for this segment.
    const foreign = `${tailFolder(nameOf(1))}foreign`
    store.set(foreign)
    const put = deferred()
    store.before = async (operation, key) => {
      if (operation === 'put' && key === wholeKey(1)) await put.promise
    }
    shipping.start()
    await shipping.until(() => shipping.segmentsWithChunks().length === 1)
    assert.deepEqual(shipping.segmentsWithChunks(), [nameOf(1)])
    store.delete(foreign)
    put.resolve()
    await shipping.untilShipped(4 * segmentBytes)
    await shipping.drain()
    assert.deepEqual(shipping.segmentsWithChunks(), [])
  })

  test('that cannot be deleted keep only their own segment', async (t) => {
    const { shipping, store } = await backlogOf(t, 40)
    await plantChunks(store, 1, 2, 30)
    let isDenied = true
    store.before = (operation, key) => {
      if (isDenied && operation === 'get' && key === chunkOf(1)) throw new WalferryError('STORE_DENIED', 'injected')
    }
    shipping.start()
    await shipping.untilShipped(40 * segmentBytes)
    // The newest stays, as always.
    await shipping.until(() => spoolOf(shipping).length === 2)
    assert.deepEqual(spoolOf(shipping), [nameOf(1), nameOf(39)])
    assert.deepEqual(shipping.segmentsWithChunks(), [nameOf(1)])
    assert.ok(shipping.said.some((one) => one.startsWith(`cannot delete the chunks of ${nameOf(1)}`)))
    isDenied = false
    await shipping.until(() => shipping.segmentsWithChunks().length === 0)
    await shipping.drain()
    assert.equal(shipping.shipper.problem, null)
    await shipping.assertArchived(40 * segmentBytes)
  })

  test('that a store refuses to delete hold up no upload, and are tried ever more seldom', async (t) => {
    const { shipping, store } = await backlogOf(t, 60, { uploadConcurrency: 2 })
    const refused = Array.from({ length: 20 }, (_, n) => n)
    await plantChunks(store, ...refused)
    let refusals = 0
    store.before = (operation) => {
      if (operation !== 'deleteMany') return
      refusals++
      throw new WalferryError('STORE_DENIED', 'injected')
    }
    shipping.start()
    await shipping.untilShipped(60 * segmentBytes)
    assert.equal(store.calls.put, 60)
    // All but those leave the spool, and the newest.
    await shipping.until(() => spoolOf(shipping).length === 21)
    const before = refusals
    assert.ok(before <= 2 * 20, `${before} refusals`)
    await shipping.until(() => refusals > before)
    assert.deepEqual(spoolOf(shipping), [...refused, 59].map(nameOf))
    assert.ok(isError(shipping.shipper.problem, 'STORE_DENIED'))
    assert.ok(!shipping.said.some((one) => one.endsWith('works again')))
    await shipping.drain()
    assert.deepEqual(shipping.segmentsWithChunks(), refused.map(nameOf))
    await shipping.assertArchived(60 * segmentBytes)
  })

  test('that a merge has replaced and that cannot be deleted hold up no chunk, and go with their segment', async (t) => {
    const { shipping, store } = await backlogOf(t, 0)
    let isDenied = true
    store.before = (operation) => {
      if (isDenied && operation === 'deleteMany') throw new WalferryError('STORE_DENIED', 'injected')
    }
    shipping.start()
    for (let bytes = 1000; bytes <= 30_000; bytes += 1000) {
      await shipping.feeder.mustFeedTo(bytes)
      await shipping.untilShipped(bytes)
    }
    assert.ok(store.calls.deleteMany > 0)
    // Each chunk once, and what they are merged into.
    assert.ok(store.calls.put <= 30 + 5, `${store.calls.put} puts`)
    assert.ok(shipping.said.every((one) => one.startsWith(`cannot delete merged chunks of ${nameOf(0)}`)))
    assert.equal(shipping.shipper.problem, null)
    isDenied = false
    await shipping.feeder.mustFeedTo(2 * segmentBytes)
    await shipping.untilShipped(2 * segmentBytes)
    await shipping.until(() => shipping.segmentsWithChunks().length === 0)
    await shipping.drain()
    assert.equal(shipping.shipper.problem, null)
    await shipping.assertArchived(2 * segmentBytes)
  })

  test('stay where what they were merged into is not in the archive', async (t) => {
    let isAway = false
    const { shipping, store } = await backlogOf(t, 0, { isStillOurs: () => !isAway })
    let before: readonly string[] = []
    store.stored = (key) => {
      if (before.length > 0 || parseChunkKey(key)?.end !== 8000 || parseChunkKey(key)?.start !== 0) return
      before = store.keys.filter((one) => one !== key)
      // It went elsewhere.
      store.delete(key)
      isAway = true
    }
    shipping.start()
    for (let bytes = 1000; bytes <= 8000; bytes += 1000) {
      await shipping.feeder.mustFeedTo(bytes)
      await shipping.untilShipped(bytes)
    }
    await shipping.until(() => shipping.said.some((one) => one.includes('(merge)')))
    assert.equal(before.length, 8)
    assert.deepEqual(store.keys, before)
    isAway = false
    await shipping.until(() => shipping.shipper.problem === null && shipping.shipper.inFlight === 0)
    await shipping.drain()
    await shipping.assertArchived(8000)
  })

  test('are not asked for any more once it has halted', async (t) => {
    const { shipping, store } = await backlogOf(t, 4, { uploadConcurrency: 4 })
    store.set(chunkOf(0), await encoded(chunkOf(0), Buffer.alloc(1000)))
    await plantChunks(store, 1, 2, 3)
    const puts = deferred()
    store.stored = () =>
      store.keys.filter((key) => key.startsWith('wal_005/')).length === 4 ? puts.resolve() : puts.promise
    shipping.start()
    await assert.rejects(shipping.ended, { code: 'ARCHIVE_CONFLICT' })
    assert.equal(store.calls.get, 1)
    assert.deepEqual(shipping.segmentsWithChunks(), [0, 1, 2, 3].map(nameOf))
  })

  test('halt it where they hold other WAL, though others cannot be looked at', async (t) => {
    const { shipping, store } = await backlogOf(t, 4)
    await plantChunks(store, 0)
    store.set(chunkOf(1), await encoded(chunkOf(1), Buffer.alloc(1000)))
    store.before = (operation, key) => {
      if (operation === 'get' && key === chunkOf(0)) throw unreachable()
    }
    const uploading = deferred()
    const { before } = store
    store.before = async (operation, key) => {
      await before(operation, key)
      if (operation === 'list' && key === tailFolder(nameOf(0)).slice(0, -2)) await uploading.promise
      if (operation === 'put' && key.startsWith(tailFolder(nameOf(4)))) throw unreachable()
    }
    await shipping.feeder.mustFeedTo(4 * segmentBytes + 1000)
    shipping.start()
    await shipping.until(() => isError(shipping.shipper.problem, 'STORE_UNREACHABLE'))
    uploading.resolve()
    await assert.rejects(shipping.ended, { code: 'ARCHIVE_CONFLICT' })
    assert.ok(isError(shipping.shipper.problem, 'ARCHIVE_CONFLICT'))
    assert.ok(store.keys.includes(chunkOf(0)) && store.keys.includes(chunkOf(1)))
    assert.ok([nameOf(0), nameOf(1)].every((name) => spoolOf(shipping).includes(name)))
  })

  test('halt it where something else lies among them, and stay', async (t) => {
    const { shipping, store } = await backlogOf(t, 3)
    await plantChunks(store, 1)
    store.set(`${tailFolder(nameOf(1))}foreign`)
    shipping.start()
    await assert.rejects(shipping.ended, { code: 'ARCHIVE_DAMAGED' })
    assert.ok(store.keys.includes(chunkOf(1)))
    assert.ok(spoolOf(shipping).includes(nameOf(1)))
  })

  test('that were left by a crash are deleted by the next start', async (t) => {
    const folder = await tempFolder(t)
    const { shipping, store } = await backlogOf(t, 3, { folder })
    await plantChunks(store, 0, 2)
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
