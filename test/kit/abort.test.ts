import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { orAbort, reasonOf, sleep, withDeadline } from '../../src/kit/abort.ts'
import { deferred } from '../support/deferred.ts'

const farMs = 60_000
const stopped = new Error('stopped by the test')
const tooLate = (): Error => new Error('too late')

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
}

/** Runs `work` under a fresh controller, and holds that it leaves neither a listener nor a timer. */
async function leavesNothing(work: (controller: AbortController) => Promise<void>): Promise<void> {
  const before = timers()
  const controller = new AbortController()
  await work(controller)
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0, 'no listener is left')
  assert.equal(timers(), before, 'no timer is left')
}

test('sleep resolves after its time, and not before', () =>
  leavesNothing(async ({ signal }) => {
    const startedMs = performance.now()
    await sleep(20, signal)
    // A timer may fire up to 1 ms early by the other clock.
    assert.ok(performance.now() - startedMs >= 19)
  }))

test('an aborted sleep rejects at once with the reason', () =>
  leavesNothing(async (controller) => {
    const sleeping = sleep(farMs, controller.signal)
    controller.abort(stopped)
    await assert.rejects(sleeping, stopped)
  }))

test('a sleep under a signal that is already aborted rejects', () =>
  leavesNothing(async (controller) => {
    controller.abort(stopped)
    await assert.rejects(sleep(0, controller.signal), stopped)
  }))

test('a reason that is no error becomes one', () => {
  assert.equal(reasonOf(AbortSignal.abort('enough')).message, 'enough')
  assert.equal(reasonOf(AbortSignal.abort(stopped)), stopped)
  assert.equal(reasonOf(AbortSignal.abort()).name, 'AbortError')
  assert.equal(reasonOf(AbortSignal.abort(null)).message, 'aborted')
})

test('withDeadline gives what the work gives', () =>
  leavesNothing(async ({ signal }) => {
    assert.equal(await withDeadline(farMs, signal, tooLate, async () => 42), 42)
  }))

test("withDeadline throws the work's own error as it is", () =>
  leavesNothing(async ({ signal }) => {
    const own = new Error('of the work')
    await assert.rejects(
      withDeadline(farMs, signal, tooLate, async () => {
        throw own
      }),
      own,
    )
  }))

test('work that is late is aborted, and the error says so, whatever the work makes of it', () =>
  leavesNothing(async ({ signal }) => {
    const late = withDeadline(5, signal, tooLate, async (inner) => {
      await sleep(farMs, inner).catch(() => undefined)
      throw new Error('ECANCELED, said a library')
    })
    await assert.rejects(late, /^Error: too late$/)
    assert.equal(signal.aborted, false, "the caller's signal is untouched")
  }))

test("the caller's abort reaches the work, and its reason comes out", () =>
  leavesNothing(async (controller) => {
    const working = withDeadline(farMs, controller.signal, tooLate, (inner) => sleep(farMs, inner))
    controller.abort(stopped)
    await assert.rejects(working, stopped)
  }))

test('work is not begun under a signal that is already aborted', () =>
  leavesNothing(async (controller) => {
    controller.abort(stopped)
    let begun = false
    const late = withDeadline(farMs, controller.signal, tooLate, async () => {
      begun = true
    })
    await assert.rejects(late, stopped)
    assert.equal(begun, false)
  }))

test('orAbort passes on a result and an error', () =>
  leavesNothing(async ({ signal }) => {
    assert.equal(await orAbort(Promise.resolve(42), signal), 42)
    await assert.rejects(orAbort(Promise.reject(stopped), signal), stopped)
  }))

test("orAbort rejects on abort though the promise goes on, and a later failure of that one is nobody's", () =>
  leavesNothing(async (controller) => {
    const going = deferred()
    const waiting = orAbort(going.promise, controller.signal)
    controller.abort(stopped)
    await assert.rejects(waiting, stopped)
    going.reject(new Error('later')) // unhandled, it would fail this test
    await new Promise(setImmediate)
  }))

test('orAbort under a signal that is already aborted rejects, and minds the promise', () =>
  leavesNothing(async (controller) => {
    controller.abort(stopped)
    await assert.rejects(orAbort(Promise.reject(new Error('unheard')), controller.signal), stopped)
    await new Promise(setImmediate)
  }))
