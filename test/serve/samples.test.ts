/** The ring of samples, and what a chart is given of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Sample, SampleRing, seriesNames } from '../../src/serve/samples.ts'
import { seededRandom } from '../support/random.ts'

const none: Sample = { loss: 0, receive: 0, sync: 0, ship: 0, received: 0, shipped: 0 }

/** With a sample every ten seconds, of this loss each. */
function ringOf(losses: readonly (number | null)[], capacity = 100): SampleRing {
  const ring = new SampleRing(10, capacity)
  losses.forEach((loss, nth) => ring.add(nth * 10, { ...none, loss }))
  return ring
}

const now = { atMs: 90, wallMs: 1_000_090 }

test('nothing was sampled: there are no columns', () => {
  const { columns, series } = ringOf([]).thin(1000, 10, now)
  assert.equal(columns, 0)
  assert.deepEqual(series.loss, { min: [], max: [], last: [] })
})

test('where there is room, each sample is a column of its own', () => {
  const thinned = ringOf([5, 1, 4, 2]).thin(1000, 10, { atMs: 35, wallMs: 135 })
  assert.deepEqual(thinned.series.loss, { min: [5, 1, 4, 2], max: [5, 1, 4, 2], last: [5, 1, 4, 2] })
  assert.deepEqual([thinned.startMs, thinned.stepMs, thinned.columns], [100, 10, 4])
})

test('where there is not, a column tells the least, the greatest and the last of its samples', () => {
  const thinned = ringOf([5, 1, 4, 2, 9, 3, 7, 7, 0, 8]).thin(1000, 4, now)
  assert.equal(thinned.stepMs, 30)
  assert.deepEqual(thinned.series.loss, { min: [1, 2, 0, 8], max: [5, 9, 7, 8], last: [4, 3, 0, 8] })
})

test('what was not known is left out of its column, and a column of nothing is null', () => {
  const thinned = ringOf([null, 1, null, null, null, null, null, null, null, 8]).thin(1000, 5, now)
  assert.deepEqual(thinned.series.loss.last, [1, null, null, 8])
  assert.deepEqual(thinned.series.ship.last, [0, 0, 0, 0], 'the other series do not mind')
})

test('a time without samples, as of a process that was stopped, is columns of nothing', () => {
  const ring = new SampleRing(10, 100)
  for (const atMs of [0, 10, 60, 70]) ring.add(atMs, { ...none, loss: atMs })
  assert.deepEqual(ring.thin(1000, 10, { atMs: 79, wallMs: 79 }).series.loss.last, [
    0,
    10,
    null,
    null,
    null,
    null,
    60,
    70,
  ])
})

test('only the samples of the span are told', () => {
  const thinned = ringOf([5, 1, 4, 2, 9, 3, 7, 7, 0, 8]).thin(25, 10, now)
  assert.deepEqual(thinned.series.loss.last, [7, 0, 8])
  assert.equal(thinned.startMs, 1_000_070)
})

test('when it is full, the newest take the place of the oldest', () => {
  const ring = ringOf(
    Array.from({ length: 25 }, (_, nth) => nth),
    10,
  )
  assert.equal(ring.count, 10)
  const { last } = ring.thin(1000, 20, { atMs: 249, wallMs: 249 }).series.loss
  assert.deepEqual(last, [15, 16, 17, 18, 19, 20, 21, 22, 23, 24])
})

test('a column keeps its borders while time goes on, so that a chart moves and does not flicker', () => {
  const ring = new SampleRing(10, 1000)
  for (let nth = 0; nth < 500; nth++) ring.add(nth * 10, { ...none, loss: nth })
  const before = ring.thin(2000, 50, { atMs: 4990, wallMs: 4990 })
  ring.add(5000, { ...none, loss: 500 })
  const after = ring.thin(2000, 50, { atMs: 5000, wallMs: 5000 })
  assert.equal(before.startMs % before.stepMs, 0)
  assert.equal(after.stepMs, before.stepMs)
  const shift = (after.startMs - before.startMs) / before.stepMs
  assert.deepEqual(after.series.loss.max.slice(1, 30), before.series.loss.max.slice(1 + shift, 30 + shift))
})

test('thinned at random, no spike is lost, and there are never more columns than asked for', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 200; round++) {
    const ring = new SampleRing(10, 1 + random.below(300))
    let atMs = 0
    const added: { atMs: number; loss: number }[] = []
    for (let nth = random.below(400); nth > 0; nth--) {
      atMs += 10 + random.below(3)
      const loss = random.below(1000)
      ring.add(atMs, { ...none, loss })
      added.push({ atMs, loss })
    }
    const spanMs = random.below(5000)
    const columns = 2 + random.below(100)
    const thinned = ring.thin(spanMs, columns, { atMs, wallMs: atMs })
    const inside = added.slice(-ring.count).filter((one) => one.atMs >= atMs - spanMs)
    const losses = inside.map(({ loss }) => loss)
    const { min, max } = thinned.series.loss
    assert.ok(thinned.columns <= columns, `${thinned.columns} of ${columns}`)
    assert.equal(Math.max(...max.map((one) => one ?? -Infinity)), Math.max(...losses))
    assert.equal(Math.min(...min.map((one) => one ?? Infinity)), Math.min(...losses))
    for (const name of seriesNames) assert.equal(thinned.series[name].last.length, thinned.columns)
  }
})
