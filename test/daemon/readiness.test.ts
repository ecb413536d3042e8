import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GapName } from '../../src/archive/keys.ts'
import { type Readiness, reasonsAgainst } from '../../src/daemon/readiness.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { parseLsn } from '../../src/wal/lsn.ts'

const away = new WalferryError('STORE_UNREACHABLE', 'no answer', { hint: 'Wait.' })
const slot = { walStatus: 'reserved', safeBytes: 1000, retainedBytes: 0, askedAt: new Date(0) } as const
const gap: GapName = { timeline: 1, from: parseLsn('0/5000000'), to: parseLsn('0/7000000') }
const later: GapName = { timeline: 2, from: parseLsn('1/0'), to: parseLsn('1/1000000') }

const cases: readonly (readonly [name: string, change: Partial<Readiness>, codes: readonly string[]])[] = [
  ['WAL flows', {}, []],
  ['WAL flows, and neither slot nor archive could be asked', { slot: null, gaps: null }, []],
  ['the receiver connects', { state: 'connecting' }, ['NOT_STREAMING']],
  ['the reason why nothing is streamed is known', { state: 'waiting', problems: [away] }, ['STORE_UNREACHABLE']],
  ['the store is away while WAL is received', { problems: [away] }, ['STORE_UNREACHABLE']],
  ['the slot keeps more than max_wal_size', { slot: { ...slot, walStatus: 'extended' } }, []],
  ['the slot is about to lose WAL', { slot: { ...slot, walStatus: 'unreserved' } }, ['SLOT_UNRESERVED']],
  ['the slot has lost WAL', { state: 'waiting', slot: { ...slot, walStatus: 'lost' } }, ['NOT_STREAMING', 'SLOT_LOST']],
  ['a gap waits for somebody', { gaps: [gap] }, ['GAP_UNACKNOWLEDGED']],
  ['gaps wait for somebody', { gaps: [gap, later] }, ['GAP_UNACKNOWLEDGED']],
]

for (const [name, change, codes] of cases) {
  test(`where ${name}, it is ${codes.length === 0 ? 'ready' : 'not ready'}`, () => {
    const well: Readiness = { state: 'streaming', problems: [], slotName: 'walferry', slot, gaps: [] }
    assert.deepEqual(
      reasonsAgainst({ ...well, ...change }).map(({ code }) => code),
      codes,
    )
  })
}

test('a reason says what to do next, and which gap to acknowledge', () => {
  const well: Readiness = { state: 'streaming', problems: [away], slotName: 'walferry', slot, gaps: [gap] }
  assert.deepEqual(reasonsAgainst(well), [
    { code: 'STORE_UNREACHABLE', message: 'no answer', hint: 'Wait.' },
    {
      code: 'GAP_UNACKNOWLEDGED',
      message: 'WAL of timeline 1 is lost from 0/5000000 to 0/7000000',
      hint: 'No recovery can pass a gap: take a base backup. Then say that it is known: walferry acknowledge 1/0/5000000',
    },
  ])
  const [, several] = reasonsAgainst({ ...well, gaps: [gap, later] })
  assert.match(`${several?.message} ${several?.hint}`, /, and 1 more No .*walferry acknowledge --all$/)
})
