import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RateMeter } from '../../src/daemon/rate-meter.ts'
import { Positions } from '../../src/spool/positions.ts'
import { asLsn } from '../../src/wal/lsn.ts'
import { FakeClock } from '../support/fake-clock.ts'

const clock = new FakeClock()
const positions = new Positions(clock)
const meter = new RateMeter(positions, clock)

/** A second after the other: how much is received and shipped in each. */
function run(seconds: number, received: number, shipped: number): void {
  for (let second = 0; second < seconds; second++) {
    clock.pass(1000)
    positions.noteReceived(asLsn(positions.received + BigInt(received)))
    positions.noteSynced(positions.received)
    positions.noteShipped(asLsn(positions.shipped + BigInt(shipped)))
    meter.note()
  }
}

test('a rate is that of the last minute, or since the start', async (t) => {
  await t.test('before anything is known it is 0', () => {
    meter.note()
    assert.deepEqual(meter.rate, { receivedBytesPerSecond: 0, shippedBytesPerSecond: 0 })
  })
  await t.test('the place where a stream begins is no WAL that came', () => {
    positions.startAt(asLsn(2 ** 40), asLsn(2 ** 40))
    meter.note()
    clock.pass(5000)
    assert.deepEqual(meter.rate, { receivedBytesPerSecond: 0, shippedBytesPerSecond: 0 })
  })
  await t.test('since the start', () => {
    run(10, 3000, 1500)
    assert.deepEqual(meter.rate, { receivedBytesPerSecond: 2000, shippedBytesPerSecond: 1000 })
  })
  await t.test('over a minute, of which half was busy', () => {
    run(60, 0, 0)
    run(30, 1000, 500)
    assert.deepEqual(meter.rate, { receivedBytesPerSecond: 500, shippedBytesPerSecond: 250 })
  })
  await t.test('where positions go back, it is not negative', () => {
    positions.turnTo(asLsn(positions.shipped - 1000n))
    assert.deepEqual(meter.rate.receivedBytesPerSecond >= 0, true)
  })
})
