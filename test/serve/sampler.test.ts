/** What ten seconds of looking come to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Looked, Sampler, sampleOf } from '../../src/serve/sampler.ts'
import { asLsn, formatLsn } from '../../src/wal/lsn.ts'
import { deferred } from '../support/deferred.ts'
import { FakeClock } from '../support/fake-clock.ts'

function looked(lossSeconds: number | null, shipSeconds = 0, received: number | null = null): Looked {
  const none = { bytes: 0, seconds: 0 }
  const lsn = formatLsn(asLsn(received ?? 0))
  const positions = { server: lsn, received: lsn, written: lsn, synced: lsn, shipped: lsn }
  return {
    lossSeconds,
    lag: { receive: none, sync: none, ship: { bytes: 1, seconds: shipSeconds } },
    positions: received === null ? null : positions,
  }
}

type Ends = Parameters<typeof sampleOf>[1]

const ends = (atMs: number, received: number, shipped: number): Ends => ({
  atMs,
  received: asLsn(received),
  shipped: asLsn(shipped),
})

test('of lag the worst is kept', () => {
  const sample = sampleOf([looked(1, 2), looked(9, 8), looked(0, 0)], null, null)
  assert.deepEqual(sample, { loss: 9, receive: 0, sync: 0, ship: 8, received: null, shipped: null })
})

test('what is not known is not 0', () => {
  assert.equal(sampleOf([looked(null), looked(null)], null, null).loss, null)
  assert.equal(sampleOf([looked(null), looked(3)], null, null).loss, 3)
})

const rates: readonly (readonly [name: string, before: Ends, after: Ends, rate: number | null])[] = [
  ['the mean of what came', ends(0, 1000, 0), ends(10_000, 51_000, 0), 5000],
  ['by the time that went by, not by what was planned', ends(0, 0, 0), ends(40_000, 80_000, 0), 2000],
  ['nothing came', ends(0, 1000, 0), ends(10_000, 1000, 0), 0],
  ['positions that moved back, to another line of the server', ends(0, 9000, 0), ends(10_000, 1000, 0), 0],
  ['no position before', null, ends(10_000, 1000, 0), null],
]
for (const [name, before, after, rate] of rates) {
  test(`throughput: ${name}`, () => {
    assert.equal(sampleOf([looked(0)], before, after).received, rate)
  })
}

test('ten looks make a sample; the place at which a receiver begins is no throughput', async () => {
  const clock = new FakeClock()
  let at: number | null = null
  const sampler = new Sampler(async () => looked(at === null ? null : 1, 0, at), clock)
  for (let nth = 0; nth < 25; nth++) {
    clock.pass(1000)
    // Positions are known from the fourth look on, and then 1000 bytes come with each.
    at = nth < 3 ? null : 500_000 + nth * 1000
    await sampler.look()
  }
  const { recent, all } = sampler.history()
  assert.deepEqual(recent.series.received.last.slice(0, 2), [1000, 1000])
  assert.deepEqual(recent.series.loss.last.slice(0, 2), [1, 1])
  assert.deepEqual(all, recent, 'younger than an hour, both are the same')
})

test('it looks until it is ended', async () => {
  const end = new AbortController()
  const seen = deferred()
  const sampler = new Sampler(async () => {
    seen.resolve()
    return looked(0)
  }, new FakeClock())
  const running = sampler.run(end.signal)
  await seen.promise
  end.abort(new Error('ended'))
  await running
})
