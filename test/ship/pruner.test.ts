/** What is proved in the archive leaves the spool beside the uploads. */
import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { WalferryError } from '../../src/kit/errors.ts'
import { Spool } from '../../src/spool/spool.ts'
import type { Segment } from '../../src/wal/segment.ts'
import { nameOf, segmentBytes } from '../spool/feeder.ts'
import { deferred } from '../support/deferred.ts'
import { tempFolder } from '../support/temp.ts'
import { Shipping } from './shipping.ts'

/** Each removal waits until `before` lets it go on. */
function holdRemovals(t: TestContext, spool: Spool, before: () => Promise<void>): { callCount(): number } {
  return t.mock.method(spool, 'remove', async (segment: Segment) => {
    await before()
    await Spool.prototype.remove.call(spool, segment)
  }).mock
}

function namesIn(spool: Spool): string[] {
  return spool.segments().map(({ name }) => name)
}

async function turns(): Promise<void> {
  for (let n = 0; n < 50; n++) await new Promise(setImmediate)
}

describe('what is removed from the spool', () => {
  test('keeps no upload waiting, and is removed once', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder } = shipping
    const release = deferred()
    const removals = holdRemovals(t, feeder.spool, () => release.promise)
    await feeder.begin()
    shipping.start()
    // Twice as many as are uploaded at once, and one more that a start would need.
    await feeder.mustFeedTo(9 * segmentBytes)
    await shipping.untilShipped(9 * segmentBytes)
    await shipping.until(() => removals.callCount() > 0 && shipping.shipper.inFlight === 0)
    assert.equal(removals.callCount(), 1)
    release.resolve()
    await shipping.drain()
    assert.deepEqual(namesIn(feeder.spool), [nameOf(8)])
    assert.equal(removals.callCount(), 8)
  })

  for (const how of ['a cut', 'a halt']) {
    test(`is waited for by ${how}, behind which nothing more is removed`, async (t) => {
      const shipping = new Shipping(t, { folder: await tempFolder(t) })
      const { feeder, store, shipper } = shipping
      const release = deferred()
      const removals = holdRemovals(t, feeder.spool, () => release.promise)
      await feeder.begin()
      shipping.start()
      await feeder.mustFeedTo(6 * segmentBytes)
      await shipping.untilShipped(6 * segmentBytes)
      await shipping.until(() => removals.callCount() > 0 && shipper.inFlight === 0)
      if (how === 'a cut') shipping.cut()
      else {
        store.stored = () => {
          throw new WalferryError('ARCHIVE_CONFLICT', 'injected')
        }
        await feeder.mustFeedTo(6 * segmentBytes + 1000)
        await shipping.until(() => shipper.problem !== null)
      }
      let hasEnded = false
      void shipping.ended.catch(() => undefined).then(() => (hasEnded = true))
      await turns()
      assert.equal(hasEnded, false, 'the spool could be closed, and opened by others, while it is removed from')
      release.resolve()
      await assert.rejects(shipping.ended)
      assert.equal(removals.callCount(), 1)
      assert.equal(feeder.spool.segments().filter(({ whole }) => whole).length, 5)
    })
  }

  test('is tried again where that fails, which keeps nothing from being shipped', async (t) => {
    const shipping = new Shipping(t, { folder: await tempFolder(t) })
    const { feeder, shipper } = shipping
    let isBroken = true
    holdRemovals(t, feeder.spool, () =>
      isBroken ? Promise.reject(new WalferryError('SPOOL_FAILED', 'injected')) : Promise.resolve(),
    )
    await feeder.begin()
    shipping.start()
    await feeder.mustFeedTo(3 * segmentBytes)
    await shipping.until(() => shipping.said.some((one) => one.startsWith('cannot free the spool: injected')))
    await feeder.mustFeedTo(6 * segmentBytes)
    await shipping.untilShipped(6 * segmentBytes)
    assert.equal(shipper.problem, null)
    assert.equal(namesIn(feeder.spool).length, 6)
    isBroken = false
    await shipping.until(() => feeder.spool.segments().length === 1)
    await shipping.drain()
  })

  test('was seen in the archive after it was put there, also what is left of a segment', async (t) => {
    let isOurs = true
    const shipping = new Shipping(t, {
      folder: await tempFolder(t),
      shipIntervalMs: 60_000,
      isStillOurs: () => isOurs,
    })
    const { feeder, store, archive } = shipping
    await feeder.begin()
    shipping.start()
    await feeder.mustFeedTo(300_000)
    store.stored = () => {
      isOurs = false
    }
    // WAL in between is lost: the first segment will not grow, and what there is of it is shipped at once.
    await feeder.begin(2)
    await feeder.mustFeedTo(2 * segmentBytes + 1000)
    await shipping.until(() => shipping.said.some((one) => one.startsWith('cannot free the spool')))
    assert.ok(namesIn(feeder.spool).includes(nameOf(0)))
    store.stored = () => undefined
    isOurs = true
    await shipping.until(() => !namesIn(feeder.spool).includes(nameOf(0)))
    const [chunk] = await archive.listChunks(nameOf(0), { signal: new AbortController().signal })
    assert.deepEqual([chunk?.start, chunk?.end], [0, 300_000])
    shipping.cut()
  })
})
