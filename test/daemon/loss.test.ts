import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type LossFacts, lossSeconds } from '../../src/daemon/loss.ts'

const now = 1_000_000

const cases: readonly (readonly [name: string, facts: Partial<LossFacts>, expected: number | null])[] = [
  ['all is in the store of an idle server, which last spoke long ago', { restorableMs: now - 25_000 }, 0],
  ['the oldest byte that is not in the store is 2.5 s old', { unshippedSinceMs: now - 2500 }, 2.5],
  [
    'what is restorable lies further back than that byte',
    { unshippedSinceMs: now - 2500, restorableMs: now - 9000 },
    2.5,
  ],
  ['a byte was sent by a server whose clock is ahead', { unshippedSinceMs: now + 400 }, 0],
  ['nobody streams, and all was in the store a minute ago', { isStreaming: false, restorableMs: now - 60_000 }, 60],
  [
    'nobody streams, and the store lacks what came before, too',
    { isStreaming: false, unshippedSinceMs: now - 61_000, restorableMs: now - 62_000 },
    62,
  ],
  ['nobody streams, and the store never had all', { isStreaming: false, unshippedSinceMs: now - 5000 }, 5],
  ['nobody streams, and nothing is known of the store', { isStreaming: false }, null],
  ['no server has ever spoken', { isStreaming: false, serverNowMs: null, restorableMs: null }, null],
  ['a stream has begun, and the server has not spoken', { serverNowMs: null }, null],
]

for (const [name, facts, expected] of cases) {
  test(`what would be lost where ${name}: ${expected ?? 'not known'}`, () => {
    const idle: LossFacts = { isStreaming: true, serverNowMs: now, unshippedSinceMs: null, restorableMs: null }
    assert.equal(lossSeconds({ ...idle, ...facts }), expected)
  })
}
