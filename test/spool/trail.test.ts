import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Trail } from '../../src/spool/trail.ts'
import { asLsn } from '../../src/wal/lsn.ts'
import { collectGarbage } from '../support/garbage.ts'
import { seededRandom } from '../support/random.ts'

const dayMs = 86_400_000

test('a byte was sent with the last sample at or before it', () => {
  const trail = new Trail()
  trail.note(asLsn(100), 1000)
  trail.note(asLsn(200), 2000)
  assert.equal(trail.timeOf(asLsn(99)), null)
  assert.equal(trail.timeOf(asLsn(100)), 1000)
  assert.equal(trail.timeOf(asLsn(199)), 1000)
  assert.equal(trail.timeOf(asLsn(200)), 2000)
  assert.equal(trail.timeOf(asLsn(1_000_000)), 2000)
})

test('an empty trail knows nothing', () => {
  const trail = new Trail()
  assert.equal(trail.timeOf(asLsn(0)), null)
  trail.forgetBefore(asLsn(100))
  assert.equal(trail.timeOf(asLsn(100)), null)
})

test('a position that goes back changes nothing', () => {
  const trail = new Trail()
  trail.note(asLsn(200), 1000)
  trail.note(asLsn(100), 5000)
  assert.equal(trail.timeOf(asLsn(100)), null)
  assert.equal(trail.timeOf(asLsn(200)), 1000)
})

test('the newest position told again has the newer time: until then no byte of it had come', () => {
  const trail = new Trail()
  trail.note(asLsn(100), 500)
  trail.note(asLsn(200), 1000)
  trail.note(asLsn(200), 5000)
  assert.equal(trail.timeOf(asLsn(199)), 500)
  assert.equal(trail.timeOf(asLsn(200)), 5000)
})

test('samples that lie close together are one, with the earlier time', () => {
  const trail = new Trail()
  trail.note(asLsn(100), 1000)
  trail.note(asLsn(200), 1019)
  trail.note(asLsn(300), 1020)
  assert.equal(trail.timeOf(asLsn(299)), 1000)
  assert.equal(trail.timeOf(asLsn(300)), 1020)
})

test('bytes that others take the place of are forgotten, and the ones before stay', () => {
  const trail = new Trail()
  for (let n = 0; n < 10; n++) trail.note(asLsn(n * 10), n * 1000)
  trail.forgetFrom(asLsn(50))
  assert.equal(trail.timeOf(asLsn(49)), 4000)
  trail.note(asLsn(50), 20_000)
  assert.equal(trail.timeOf(asLsn(50)), 20_000)
})

test('what is forgotten is unknown, and the rest stays', () => {
  const trail = new Trail()
  for (let n = 0; n < 100; n++) trail.note(asLsn(n * 10), n * 1000)
  trail.forgetBefore(asLsn(505))
  assert.equal(trail.timeOf(asLsn(505)), 50_000, 'the sample that covers the position is kept')
  assert.equal(trail.timeOf(asLsn(990)), 99_000)
  assert.equal(trail.timeOf(asLsn(499)), null)
})

test('a day of bytes that nobody takes away: no byte seems younger than it is, nor much older', () => {
  const trail = new Trail()
  const everyMs = 20
  const count = dayMs / everyMs
  for (let n = 0; n < count; n++) trail.note(asLsn(n * 1000), n * everyMs)
  const memory = trail.timeOf(asLsn(0))
  assert.equal(memory, 0, 'the oldest byte is still known')
  let oldest = 0
  for (let n = 0; n < count; n += 997) {
    const told = trail.timeOf(asLsn(n * 1000 + 500)) ?? -1
    const older = n * everyMs - told
    assert.ok(older >= 0, `byte ${n} seems ${-older} ms younger than it is`)
    oldest = Math.max(oldest, older)
  }
  // Two thousand samples in a day are 42 s each; thinning may have just doubled that.
  assert.ok(oldest < 3 * 60_000, `a byte seems ${oldest} ms older than it is`)
})

test('memory stays bounded, however long nobody takes anything away', () => {
  const trail = new Trail()
  const before = heapAfterGc()
  for (let n = 0; n < 2_000_000; n++) trail.note(asLsn(n), n * 1000)
  const grown = heapAfterGc() - before
  assert.ok(grown < 2_000_000, `${grown} bytes`)
  assert.equal(trail.timeOf(asLsn(0)), 0)
})

function heapAfterGc(): number {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

test('after an outage the trail is fine again once what was old is gone', () => {
  const trail = new Trail()
  for (let n = 0; n < 100_000; n++) trail.note(asLsn(n), n * 1000)
  trail.forgetBefore(asLsn(99_999))
  const nowMs = 200_000_000
  trail.note(asLsn(200_000), nowMs)
  trail.note(asLsn(200_001), nowMs + 20)
  assert.equal(trail.timeOf(asLsn(200_001)), nowMs + 20)
})

test('whatever is noted and forgotten, a byte never seems younger than it is', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 20; round++) {
    const trail = new Trail()
    const sent: { readonly from: number; readonly atMs: number }[] = []
    let at = 0
    let nowMs = 0
    let forgotten = 0
    for (let n = 0; n < 6000; n++) {
      at += 1 + random.below(100)
      nowMs += random.below(random.pick([5, 50, 5000]))
      trail.note(asLsn(at), nowMs)
      sent.push({ from: at, atMs: nowMs })
      if (random.below(500) !== 0) continue
      forgotten = random.pick(sent).from
      trail.forgetBefore(asLsn(forgotten))
    }
    for (const { from, atMs } of sent.filter((one) => one.from >= forgotten)) {
      const told = trail.timeOf(asLsn(from))
      assert.ok(
        told === null || told <= atMs,
        `round ${round}: byte ${from} was sent at ${atMs}, and seems sent at ${told}`,
      )
    }
    assert.notEqual(trail.timeOf(asLsn(at)), null)
  }
})
