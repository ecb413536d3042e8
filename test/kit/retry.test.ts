import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WalferryError } from '../../src/kit/errors.ts'
import { type Backoff, backoffMs, retry } from '../../src/kit/retry.ts'

const quick: Backoff = { firstMs: 1, maxMs: 2 }
const { signal } = new AbortController()

function passing(): WalferryError {
  return new WalferryError('STORE_UNREACHABLE', 'away', { retryable: true })
}

test('a wait doubles from the first up to the greatest, and half of it is random', () => {
  const backoff: Backoff = { firstMs: 100, maxMs: 5000 }
  const fulls = [100, 200, 400, 800, 1600, 3200, 5000, 5000]
  for (const [retryNumber, full] of fulls.entries()) {
    assert.equal(backoffMs(backoff, retryNumber, 0), full / 2)
    assert.equal(backoffMs(backoff, retryNumber, 0.5), full * 0.75)
    const longest = backoffMs(backoff, retryNumber, 1 - Number.EPSILON)
    assert.ok(longest <= full && longest > full * 0.999)
  }
})

test('the wait stays finite after any number of retries', () => {
  assert.equal(backoffMs({ firstMs: 100, maxMs: 5000 }, 100_000, 0), 2500)
  assert.equal(backoffMs({ firstMs: 1, maxMs: Number.MAX_VALUE }, 5000, 0), 2 ** 29)
})

test('what can be retried is, until it succeeds', async () => {
  const told: (readonly [string, number])[] = []
  let calls = 0
  const run = async (): Promise<string> => {
    calls++
    if (calls < 4) throw passing()
    return 'done'
  }
  const onRetry = (error: WalferryError, n: number): void => {
    told.push([error.code, n])
  }
  assert.equal(await retry(run, { signal, backoff: quick, onRetry }), 'done')
  assert.deepEqual(told, [
    ['STORE_UNREACHABLE', 0],
    ['STORE_UNREACHABLE', 1],
    ['STORE_UNREACHABLE', 2],
  ])
})

for (const [name, error] of [
  ['an error of ours that no retry mends', new WalferryError('STORE_DENIED', 'no')],
  ['an error that is none of ours', new TypeError('a fault of the program')],
] as const) {
  test(`${name} is thrown at once, as it is`, async () => {
    let calls = 0
    const run = async (): Promise<never> => {
      calls++
      throw error
    }
    await assert.rejects(retry(run, { signal, backoff: quick }), error)
    assert.equal(calls, 1)
  })
}

test('it gives up, with the last error, before it would wait past its time', async () => {
  const thrown: WalferryError[] = []
  const run = async (): Promise<never> => {
    const error = passing()
    thrown.push(error)
    throw error
  }
  const startedMs = performance.now()
  const backoff: Backoff = { firstMs: 8, maxMs: 8 }
  await assert.rejects(retry(run, { signal, backoff, forMs: 60 }), (error: unknown) => error === thrown.at(-1))
  assert.ok(thrown.length > 2, `tried ${thrown.length} times`)
  assert.ok(performance.now() - startedMs < 1000)
})

test('a first wait that does not fit in the time is not begun', async () => {
  const backoff: Backoff = { firstMs: 60_000, maxMs: 60_000 }
  await assert.rejects(
    retry(async () => Promise.reject(passing()), { signal, backoff, forMs: 100 }),
    passing(),
  )
})

test('an abort ends the wait between two tries, with its reason', async () => {
  const controller = new AbortController()
  const stopped = new Error('stopped by the test')
  const backoff: Backoff = { firstMs: 60_000, maxMs: 60_000 }
  const onRetry = (): void => controller.abort(stopped)
  const retrying = retry(async () => Promise.reject(passing()), { signal: controller.signal, backoff, onRetry })
  await assert.rejects(retrying, stopped)
})

test('a try that fails because of an abort is told by the reason of the abort', async () => {
  const controller = new AbortController()
  const stopped = new Error('stopped by the test')
  const run = async (): Promise<never> => {
    controller.abort(stopped)
    throw passing()
  }
  await assert.rejects(retry(run, { signal: controller.signal, backoff: quick }), stopped)
})
