import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keepLooking } from '../../src/daemon/keep-looking.ts'
import type { Log } from '../../src/kit/log.ts'

const ignore = (): void => undefined

test('a look that fails is told with its stack, begins anew, and disturbs nobody', async () => {
  const told: string[] = []
  const log: Log = {
    error: (message, fields) => told.push(`${message} ${String(fields?.['stack'])}`),
    warn: ignore,
    info: ignore,
    debug: ignore,
  }
  const stop = new AbortController()
  let looks = 0
  const look = async (): Promise<void> => {
    looks++
    if (looks === 3) stop.abort()
    // Also when it is stopped: then it is no news.
    throw new Error(`fault ${looks}`)
  }
  await keepLooking('slot', look, log, stop.signal, 0)
  assert.equal(looks, 3)
  assert.equal(told.length, 2)
  assert.match(told[0] ?? '', /^what is told of the slot may be old: fault 1 Error: fault 1\n +at /)
})
