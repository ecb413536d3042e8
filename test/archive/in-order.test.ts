import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { inOrder } from '../../src/archive/in-order.ts'
import { seededRandom } from '../support/random.ts'

test('results come in the order of the items, and never more than allowed are under way', async (t) => {
  const random = seededRandom(t)
  for (const inFlight of [1, 2, 5, 100]) {
    let underWay = 0
    let most = 0
    const results: number[] = []
    const work = async (item: number): Promise<number> => {
      most = Math.max(most, ++underWay)
      for (let turns = random.below(4); turns > 0; turns--) await setImmediate()
      underWay--
      return item * 2
    }
    const items = Array.from({ length: 40 }, (_, item) => item)
    for await (const result of inOrder(items, inFlight, work)) results.push(result)
    assert.deepEqual(
      results,
      items.map((item) => item * 2),
    )
    assert.ok(most <= inFlight, `${most} at once, allowed ${inFlight}`)
    assert.ok(inFlight > 40 || most === inFlight)
  }
})

async function* slow(): AsyncGenerator<number> {
  yield 1
  for (let turns = 0; turns < 5; turns++) await setImmediate()
  yield 2
}

test('a failure while the source is still waited for is thrown where it is due, not as an unhandled rejection', async () => {
  const results = inOrder(slow(), 3, (item) =>
    item === 1 ? Promise.reject(new Error('first failed')) : Promise.resolve(item),
  )
  await assert.rejects(results.next(), { message: 'first failed' })
})

test('whoever stops early closes the source and waits for what was begun', async () => {
  let closed = false
  let finished = 0
  async function* source(): AsyncGenerator<number> {
    try {
      for (let item = 0; ; item++) yield item
    } finally {
      closed = true
    }
  }
  const work = async (item: number): Promise<number> => {
    await setImmediate()
    finished++
    return item
  }
  for await (const result of inOrder(source(), 3, work)) {
    if (result === 1) break
  }
  assert.equal(closed, true)
  const before = finished
  await setImmediate()
  assert.equal(finished, before)
})
