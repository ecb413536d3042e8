import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sighting } from '../../src/ship/sighting.ts'
import { deferred } from '../support/deferred.ts'
import { FakeClock } from '../support/fake-clock.ts'

const { signal } = new AbortController()

/** A sighting whose questions a test answers, and what came of them. */
function setUp(answer: () => boolean | Promise<boolean>): {
  readonly sighting: Sighting
  readonly clock: FakeClock
  readonly seen: { asked: number; absent: number }
} {
  const clock = new FakeClock()
  const seen = { asked: 0, absent: 0 }
  const sighting = new Sighting({
    isStillOurs: async () => {
      seen.asked++
      return await answer()
    },
    url: 'memory://test',
    onAbsent: () => seen.absent++,
    clock,
  })
  return { sighting, clock, seen }
}

test('an archive that was seen lately is not looked for again, and for an age of 0 always', async () => {
  const { sighting, clock, seen } = setUp(() => true)
  await sighting.confirm(5000, signal)
  clock.pass(4999)
  await sighting.confirm(5000, signal)
  assert.equal(seen.asked, 1)
  await sighting.confirm(0, signal)
  assert.equal(seen.asked, 2)
  clock.pass(5000)
  await sighting.confirm(5000, signal)
  assert.equal(seen.asked, 3)
})

test('what was seen before something failed does not hold', async () => {
  const { sighting, seen } = setUp(() => true)
  await sighting.confirm(5000, signal)
  sighting.doubt()
  await sighting.confirm(Infinity, signal)
  assert.equal(seen.asked, 2)
})

test('nor does a look that had begun before it', async () => {
  const held = deferred()
  const { sighting, seen } = setUp(async () => {
    await held.promise
    return true
  })
  const looking = sighting.confirm(5000, signal)
  sighting.doubt()
  held.resolve()
  await looking
  await sighting.confirm(Infinity, signal)
  assert.equal(seen.asked, 2)
})

test('an archive that is not in its place is told, each time, until it is back', async () => {
  let isThere = true
  const { sighting, seen } = setUp(() => isThere)
  await sighting.confirm(5000, signal)
  isThere = false
  await sighting.confirm(5000, signal)
  for (const absent of [1, 2]) {
    await assert.rejects(sighting.confirm(0, signal), { code: 'STORE_UNREACHABLE', message: /memory:\/\/test/ })
    assert.equal(seen.absent, absent)
  }
  assert.equal(sighting.doubts, 2)
  await assert.rejects(sighting.confirm(Infinity, signal), { code: 'STORE_UNREACHABLE' })
  isThere = true
  await sighting.confirm(Infinity, signal)
  assert.equal(seen.asked, 5)
})
