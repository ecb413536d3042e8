/** Is it getting worse, and where does it hang? */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holdUpOf } from '../../src/cli/hold-up.ts'
import { type Look, remember, trendOf } from '../../src/cli/trend.ts'
import type { Status } from '../../src/serve/status.ts'
import { before, lagOf, madeStatus, noon, storeDenied } from './made-status.ts'

const mib = 2 ** 20

function rate(received: number, shipped: number): Status['rate'] {
  return { receivedBytesPerSecond: received * mib, shippedBytesPerSecond: shipped * mib }
}

const behind = { lossSeconds: 40, lag: lagOf(0, 0, 60 * mib, 40) }

const oneLook: readonly (readonly [string, Partial<Status>, RegExp])[] = [
  ['a moment’s lag says nothing', { lossSeconds: 4.9, rate: rate(9, 1) }, /^no: 9\.0 MiB\/s come in, 1\.0 MiB\/s are/],
  ['more comes than is shipped', { ...behind, rate: rate(9, 1) }, /^yes: 9\.0 MiB\/s come in/],
  ['nothing is shipped', { ...behind, rate: rate(0, 0) }, /^yes: 0 B\/s come in, 0 B\/s are shipped/],
  ['it catches up', { ...behind, rate: rate(1, 2) }, /^no: .*; caught up in 1 min 0 s$/],
  ['neither', { ...behind, rate: rate(5, 5.01) }, /^no: 5\.0 MiB\/s come in, 5\.0 MiB\/s are shipped$/],
  [
    'WAL is waiting at the server',
    { ...behind, lag: lagOf(mib, 0, 0, 40), rate: rate(5, 5) },
    /^one look does not tell/,
  ],
  [
    'no server',
    { state: 'waiting', lossSeconds: 1, lag: lagOf(0, 0, 0, 0) },
    /^yes: nothing comes in from the server$/,
  ],
  [
    'no server, and a backlog',
    { ...behind, state: 'waiting', rate: rate(0, 2) },
    /^yes: .*; what is here is shipped at 2\.0 M/,
  ],
]
for (const [name, changes, expected] of oneLook) {
  test(`with one look: ${name}`, () => assert.match(trendOf(madeStatus(changes), []).text, expected))
}

function look(secondsBefore: number, lossSeconds: number | null): Look {
  return { atMs: Date.parse(before(secondsBefore)), startedAt: madeStatus().startedAt, lossSeconds }
}

const looked: readonly (readonly [string, readonly Look[], RegExp])[] = [
  ['worse', [look(20, 25), look(1, 39)], /^yes: 15 s more than 20 s ago; /],
  ['better', [look(20, 60), look(1, 41)], /^no: 20 s less than 20 s ago; /],
  ['the same', [look(20, 40.4), look(1, 39)], /^no: the same as 20 s ago; /],
  ['too short a time, the rates decide', [look(2, 20)], /^no: 24/],
  ['what was not known does not count', [look(20, null), look(10, 35)], /^yes: 5\.0 s more than 10 s ago/],
]
for (const [name, looks, expected] of looked) {
  test(`with looks before: ${name}`, () => assert.match(trendOf(madeStatus(behind), looks).text, expected))
}

test('looks are kept for 30 s, once each, and not beyond a restart of the receiver', () => {
  const kept = remember([look(31, 1), look(30, 2), look(5, 3), look(0, 4)], madeStatus({ lossSeconds: 7 }))
  assert.deepEqual(
    kept.map(({ lossSeconds }) => lossSeconds),
    [2, 3, 7],
  )
  assert.deepEqual(remember(kept, madeStatus({ startedAt: before(1) })).length, 1)
})

const holdUps: readonly (readonly [string, Partial<Status>, RegExp])[] = [
  [
    'a server that does not answer',
    { lossSeconds: 25, lag: lagOf(0, 0, 0, 0) },
    /^the way from the server: it has said nothing for 25 s/,
  ],
  ['nowhere while there is nothing to see', { lossSeconds: 4.9 }, /^nowhere$/],
  ['at the store', { lossSeconds: 40, lag: lagOf(1, 2, 3, 40) }, /^the store: 3 B wait to be shipped/],
  ['at the disk', { lossSeconds: 40, lag: lagOf(1, 3, 2, 40) }, /^the spool: 3 B wait to be synced/],
  [
    'before the receiver',
    { lossSeconds: 40, lag: lagOf(3, 2, 1, 40) },
    /^the way from the server: 3 B are not received/,
  ],
  ['what it complains of', { reasons: [storeDenied] }, /^the store: s3:.* \[STORE_DENIED\]$/],
  ['the server', { reasons: [{ code: 'SLOT_IN_USE', message: 'taken' }] }, /^the server: taken \[SLOT_IN_USE\]$/],
  ['anything else', { reasons: [{ code: 'NEW', message: 'strange' }] }, /^strange \[NEW\]$/],
]
for (const [name, changes, expected] of holdUps) {
  test(`where it hangs: ${name}`, () => assert.match(holdUpOf(madeStatus({ at: noon, ...changes })).text, expected))
}

test('every reason is told, each with its hint', () => {
  const { more = [] } = holdUpOf(madeStatus({ reasons: [storeDenied, { code: 'X', message: 'y' }] }))
  assert.deepEqual(
    more.map(({ text }) => text),
    [`hint: ${storeDenied.hint}`, 'y [X]'],
  )
})
