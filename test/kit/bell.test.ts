import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { Bell } from '../../src/kit/bell.ts'
import { seededRandom } from '../support/random.ts'

const farMs = 60_000
const stopped = new Error('stopped by the test')

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
}

test('a ring between looking and waiting is not lost', async () => {
  const bell = new Bell()
  const seen = bell.count
  bell.ring()
  await bell.after(seen, new AbortController().signal)
})

test('a waiter wakes with the next ring, not with one that it has seen', async () => {
  const bell = new Bell()
  bell.ring()
  let awake = false
  const waiting = bell.after(bell.count, new AbortController().signal).then(() => {
    awake = true
  })
  await new Promise(setImmediate)
  assert.equal(awake, false)
  bell.ring()
  await waiting
})

test('one ring wakes everybody, and leaves no listener and no timer', async () => {
  const bell = new Bell()
  const { signal } = new AbortController()
  const before = timers()
  const waiting = [1, 2, 3].map((n) => bell.after(bell.count, signal, n === 2 ? undefined : farMs))
  bell.ring()
  await Promise.all(waiting)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  assert.equal(timers(), before)
})

test('a waiter with a timeout resolves without a ring, and leaves nothing', async () => {
  const bell = new Bell()
  const { signal } = new AbortController()
  const before = timers()
  await bell.after(bell.count, signal, 5)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  assert.equal(timers(), before)
  bell.ring()
})

test('an abort rejects with the reason, leaves nothing, and the others wait on', async () => {
  const bell = new Bell()
  const controller = new AbortController()
  const before = timers()
  const aborted = bell.after(bell.count, controller.signal, farMs)
  const other = bell.after(bell.count, new AbortController().signal)
  controller.abort(stopped)
  await assert.rejects(aborted, stopped)
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  assert.equal(timers(), before)
  bell.ring()
  await other
})

test('waiting under an aborted signal rejects, also where the bell has rung', async () => {
  const bell = new Bell()
  const seen = bell.count
  bell.ring()
  await assert.rejects(bell.after(seen, AbortSignal.abort(stopped)), stopped)
})

test('whoever looks, then waits, sees every change, however rings and looks are interleaved', async (t) => {
  const random = seededRandom(t)
  const bell = new Bell()
  const { signal } = new AbortController()
  const last = 2000
  let value = 0
  const watch = async (): Promise<void> => {
    for (;;) {
      const seen = bell.count
      if (value === last) return
      if (random.below(3) === 0) await Promise.resolve()
      await bell.after(seen, signal)
    }
  }
  const watching = Promise.all([watch(), watch(), watch()])
  while (value < last) {
    value++
    bell.ring()
    if (random.below(2) === 0) await Promise.resolve()
  }
  await watching // would hang, and fail, if a ring was lost
})
