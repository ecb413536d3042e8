import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ack } from '../../src/receive/ack.ts'
import { Positions } from '../../src/spool/positions.ts'
import { asLsn, type Lsn, lsnZero } from '../../src/wal/lsn.ts'
import { FakeClock } from '../support/fake-clock.ts'

const timeoutMs = 30_000
const quiet = (): void => undefined

interface Scene {
  readonly clock: FakeClock
  readonly ack: Ack
  readonly errors: string[]
  /** Moves the shipped position. */
  readonly ship: (upTo: Lsn) => void
}

function scene(ack: 'spool' | 'store'): Scene {
  const clock = new FakeClock()
  const positions = new Positions(clock)
  positions.startAt(asLsn(1000), asLsn(1000))
  const errors: string[] = []
  const log = { error: (message: string) => void errors.push(message), warn: quiet, info: quiet, debug: quiet }
  return {
    clock,
    errors,
    ack: new Ack({ ack, timeoutMs, positions, clock, log }),
    ship: (upTo) => positions.noteShipped(upTo),
  }
}

test('the spool acknowledges what is synced, whatever the store does', () => {
  const { ack, clock } = scene('spool')
  for (let n = 0; n < 100; n++) ack.replyRequested(true)
  clock.pass(10 * timeoutMs)
  assert.equal(ack.flushed(asLsn(5000)), asLsn(5000))
})

test('the store acknowledges what is shipped, and never more than this stream has synced', () => {
  const { ack, ship } = scene('store')
  assert.equal(ack.flushed(asLsn(5000)), asLsn(1000))
  ship(asLsn(4000))
  assert.equal(ack.flushed(asLsn(5000)), asLsn(4000))
  assert.equal(ack.flushed(asLsn(3000)), asLsn(3000))
})

test('shipping that stands still ends what is acknowledged, told once, until it goes on', () => {
  const { ack, clock, ship, errors } = scene('store')
  ship(asLsn(2000))
  assert.equal(ack.flushed(asLsn(5000)), asLsn(2000))
  clock.pass(timeoutMs - 1)
  assert.equal(ack.flushed(asLsn(6000)), asLsn(2000))
  clock.pass(1)
  assert.equal(ack.flushed(asLsn(7000)), lsnZero)
  clock.pass(timeoutMs)
  assert.equal(ack.flushed(asLsn(7000)), lsnZero)
  assert.equal(errors.length, 1)
  ship(asLsn(2001))
  assert.equal(ack.flushed(asLsn(7000)), asLsn(2001))
})

test('an idle server with everything shipped is acknowledged for ever', () => {
  const { ack, clock, ship, errors } = scene('store')
  ship(asLsn(5000))
  for (let n = 0; n < 5; n++) {
    assert.equal(ack.flushed(asLsn(5000)), asLsn(5000))
    clock.pass(timeoutMs)
  }
  assert.deepEqual(errors, [])
})

test('a flood of requests, while all is written, is a server that shuts down', () => {
  const calm = scene('store')
  for (let n = 0; n < 100; n++) {
    calm.ack.replyRequested(true)
    calm.clock.pass(100)
  }
  assert.equal(calm.ack.flushed(asLsn(5000)), asLsn(1000))
  const busy = scene('store')
  for (let n = 0; n < 100; n++) busy.ack.replyRequested(false)
  assert.equal(busy.ack.flushed(asLsn(5000)), asLsn(1000))
  const ending = scene('store')
  for (let n = 0; n < 21; n++) ending.ack.replyRequested(true)
  assert.equal(ending.ack.flushed(asLsn(5000)), lsnZero)
})
