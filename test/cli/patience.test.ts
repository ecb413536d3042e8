import assert from 'node:assert/strict'
import { test } from 'node:test'
import { patienceOf } from '../../src/cli/patience.ts'
import { WalferryError } from '../../src/kit/errors.ts'

function away(what: string): WalferryError {
  return new WalferryError('STORE_UNREACHABLE', `${what} is away`, { hint: `see to ${what}`, retryable: true })
}

test('of failures in a row the first is told, once for all downloads that meet it', () => {
  const told: unknown[][] = []
  const { forMs, onRetry } = patienceOf(2000, (...said) => told.push(said))
  assert.equal(forMs, 2000)
  // Four downloads at once, each with a second failure; then another one.
  for (const failures of [0, 0, 0, 1, 1, 0, 1, 1]) onRetry(away('the store'), failures)
  onRetry(away('the disk'), 1)
  onRetry(away('the disk'), 0)
  onRetry(away('the store'), 0)
  assert.deepEqual(
    told,
    ['the store', 'the disk', 'the store'].map((what) => [`${what} is away; trying again for 2 s`, `see to ${what}`]),
  )
})
