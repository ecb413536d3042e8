import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type LossFacts, lossSeconds } from '../../src/daemon/loss.ts'

const cases: readonly (readonly [name: string, facts: Partial<LossFacts>, expected: number | null])[] = [
  ['all is in the store of an idle server, which last spoke long ago', { restorableAgeMs: 25_000 }, 0],
  ['the oldest byte that is not in the store is 2.5 s old', { unshippedAgeMs: 2500 }, 2.5],
  ['what is restorable lies further back than that byte', { unshippedAgeMs: 2500, restorableAgeMs: 9000 }, 2.5],
  ['nobody streams, and all was in the store a minute ago', { isStreaming: false, restorableAgeMs: 60_000 }, 60],
  [
    'nobody streams, and the store lacks what came before, too',
    { isStreaming: false, unshippedAgeMs: 61_000, restorableAgeMs: 62_000 },
    62,
  ],
  ['nobody streams, and the store never had all', { isStreaming: false, unshippedAgeMs: 5000 }, 5],
  ['nobody streams, and nothing is known of the store', { isStreaming: false }, null],
  ['no server has ever spoken', { isStreaming: false, hasServerSpoken: false }, null],
  ['a stream has begun, and the server has not spoken', { hasServerSpoken: false }, null],
  [
    'no server has ever spoken, and WAL waits in the spool since an hour',
    { isStreaming: false, hasServerSpoken: false, unshippedAgeMs: 3_600_000 },
    3600,
  ],
  [
    'a stream has begun, the server has not spoken, and WAL waits in the spool since an hour',
    { hasServerSpoken: false, unshippedAgeMs: 3_600_000 },
    3600,
  ],
  ['the server was asked a moment ago, and has not answered yet', { owedMs: 4999, lastWordAgeMs: 14_000 }, 0],
  ['the server does not answer', { owedMs: 5000, lastWordAgeMs: 15_000 }, 15],
  [
    'the server does not answer, and older WAL waits',
    { owedMs: 5000, lastWordAgeMs: 15_000, unshippedAgeMs: 60_000 },
    60,
  ],
  [
    'the server does not answer, and younger WAL waits',
    { owedMs: 5000, lastWordAgeMs: 15_000, unshippedAgeMs: 1000 },
    15,
  ],
  [
    'nobody streams any more from a server that did not answer',
    { isStreaming: false, owedMs: 9000, restorableAgeMs: 7000 },
    7,
  ],
  [
    'a stream has begun, and no server has ever answered',
    { hasServerSpoken: false, owedMs: 9000, lastWordAgeMs: null },
    null,
  ],
]

for (const [name, facts, expected] of cases) {
  test(`what would be lost where ${name}: ${expected ?? 'not known'}`, () => {
    const idle: LossFacts = {
      isStreaming: true,
      hasServerSpoken: true,
      unshippedAgeMs: null,
      restorableAgeMs: null,
      owedMs: null,
      lastWordAgeMs: 9000,
    }
    assert.equal(lossSeconds({ ...idle, ...facts }), expected)
  })
}
