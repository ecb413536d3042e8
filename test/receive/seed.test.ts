import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { chunkKey, segmentKey } from '../../src/archive/keys.ts'
import { seedSpool } from '../../src/receive/seed.ts'
import { assertFiles, at, bytesOf, Feeder, nameOf, segmentBytes } from '../spool/feeder.ts'
import { Shipping } from '../ship/shipping.ts'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'

const tailBytes = 300_000

/** An archive with the tail of the first segment, in some chunks. */
async function archived(t: test.TestContext): Promise<Shipping> {
  const shipping = new Shipping(t, { folder: await tempFolder(t) })
  await shipping.feeder.begin()
  shipping.start()
  for (let bytes = 50_000; bytes <= tailBytes; bytes += 50_000) {
    await shipping.feeder.mustFeedTo(bytes)
    await shipping.untilShipped(bytes)
  }
  await shipping.drain()
  return shipping
}

function seed(feeder: Feeder, { archive }: Shipping, bytes = tailBytes): Promise<void> {
  return seedSpool(feeder.spool, feeder.folder, archive, { timeline: 1, lsn: at(bytes) }, deadline())
}

describe("a spool that gets the archive's tail", () => {
  test('holds it, durable, and compares with it what is streamed', async (t) => {
    const shipping = await archived(t)
    const folder = await tempFolder(t)
    // What a crash of an earlier seeding left.
    await writeFile(join(folder, 'tail-from-archive'), Buffer.alloc(2 * segmentBytes, 'x'))
    const feeder = new Feeder(folder)
    await seed(feeder, shipping)
    await assertFiles(folder, tailBytes)
    assert.deepEqual(feeder.spool.end, { timeline: 1, lsn: at(tailBytes) })
    assert.equal(feeder.positions.synced, at(tailBytes))

    await feeder.begin()
    const other = bytesOf(0, tailBytes)
    other[tailBytes - 1] = (other[tailBytes - 1] ?? 0) ^ 1
    feeder.spool.append(other)
    feeder.spool.batchEnd()
    await feeder.spool.settle()
    assert.equal(feeder.failure?.code, 'SPOOL_CONFLICT')
    await feeder.begin()
    await feeder.mustFeedTo(segmentBytes)
    await assertFiles(folder, segmentBytes)
    await feeder.spool.close()
  })

  test('goes on from a shorter beginning of its own, and refuses another one', async (t) => {
    const shipping = await archived(t)
    for (const isSame of [true, false]) {
      const folder = await tempFolder(t)
      const feeder = new Feeder(folder)
      await feeder.begin()
      const own = bytesOf(0, 1000)
      if (!isSame) own[500] = (own[500] ?? 0) ^ 1
      feeder.spool.append(own)
      feeder.spool.batchEnd()
      await feeder.spool.settle()
      if (isSame) {
        await seed(feeder, shipping)
        await assertFiles(folder, tailBytes)
      } else {
        await assert.rejects(seed(feeder, shipping), { code: 'SPOOL_CONFLICT' })
        assert.deepEqual(await readdir(folder), [`${nameOf(0)}.partial`])
      }
      await feeder.spool.close()
    }
  })

  test('is left as it was where the tail has changed meanwhile', async (t) => {
    const shipping = await archived(t)
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    const changed = { code: 'STORE_FAILED', retryable: true }
    // It is shorter than what was seen.
    await assert.rejects(seed(feeder, shipping, tailBytes + 1), changed)
    // It is whole.
    shipping.store.set(segmentKey(nameOf(0), 'none'), bytesOf(0, segmentBytes))
    await assert.rejects(seed(feeder, shipping), changed)
    assert.deepEqual(await readdir(folder), [])
    assert.equal(feeder.spool.end, null)
    // A damaged one is no tail.
    shipping.store.delete(segmentKey(nameOf(0), 'none'))
    shipping.store.set(chunkKey(nameOf(0), 0, 50_000, 'lz4'), Buffer.from('04224d18000000', 'hex'))
    await assert.rejects(seed(feeder, shipping), { code: 'ARCHIVE_DAMAGED' })
    assert.deepEqual(await readdir(folder), [])
    await feeder.spool.close()
  })

  test('says what is wrong with its disk', async (t) => {
    const shipping = await archived(t)
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    const place = { timeline: 1, lsn: at(tailBytes) }
    const seeding = seedSpool(feeder.spool, join(folder, 'away'), shipping.archive, place, deadline())
    await assert.rejects(seeding, { code: 'SPOOL_FAILED', retryable: true })
    await feeder.spool.close()
  })

  test('needs nothing at a segment boundary', async (t) => {
    const shipping = await archived(t)
    const folder = await tempFolder(t)
    const feeder = new Feeder(folder)
    const before = { ...shipping.store.calls }
    await seed(feeder, shipping, 0)
    assert.deepEqual(shipping.store.calls, before)
    assert.deepEqual(await readdir(folder), [])
    await feeder.spool.close()
  })
})
