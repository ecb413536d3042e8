import assert from 'node:assert/strict'
import { test } from 'node:test'
import { acknowledgeGaps, unacknowledgedGaps } from '../../src/audit/acknowledge.ts'
import { isAcknowledged, listGaps, putGap } from '../../src/archive/gaps.ts'
import { type GapName, gapKey } from '../../src/archive/keys.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'

const first: GapName = { timeline: 1, from: parseLsn('0/5000000'), to: parseLsn('0/7000000') }
const second: GapName = { timeline: 2, from: parseLsn('1/0'), to: parseLsn('1/1000000') }
const noticedAt = new Date('2026-01-31T12:00:00Z')
const now = new Date('2026-02-01T08:00:00Z')

async function archiveWith(...gaps: readonly GapName[]): Promise<MemoryStore> {
  const store = new MemoryStore()
  for (const gap of gaps) await putGap(store, { ...gap, reason: 'Gone.', noticedAt }, { signal: deadline() })
  return store
}

function options(): { signal: AbortSignal; now: Date } {
  return { signal: deadline(), now }
}

test('a gap waits until it is acknowledged, by the name of where it begins', async () => {
  const store = await archiveWith(first, second)
  assert.deepEqual(await unacknowledgedGaps(store, options()), [first, second])
  assert.deepEqual(await acknowledgeGaps(store, ['1/0/5000000'], options()), [{ gap: first, wasBefore: false }])
  assert.deepEqual(await unacknowledgedGaps(store, options()), [second])
  assert.deepEqual(await listGaps(store, options()), [first, second], 'the note stays')
})

test('the note keeps what it said, and says when somebody acknowledged it', async () => {
  const store = await archiveWith(first)
  await acknowledgeGaps(store, 'all', options())
  assert.deepEqual(JSON.parse(store.peek(gapKey(first)).toString()), {
    timeline: 1,
    from: '0/5000000',
    to: '0/7000000',
    reason: 'Gone.',
    noticedAt: noticedAt.toISOString(),
    acknowledged: true,
    acknowledgedAt: now.toISOString(),
  })
})

test('once more changes nothing', async () => {
  const store = await archiveWith(first)
  await acknowledgeGaps(store, ['1/0/5000000'], options())
  const note = store.peek(gapKey(first)).toString()
  const later = { ...options(), now: new Date('2027-01-01T00:00:00Z') }
  assert.deepEqual(await acknowledgeGaps(store, ['1/0/5000000'], later), [{ gap: first, wasBefore: true }])
  assert.deepEqual(await acknowledgeGaps(store, 'all', later), [])
  assert.equal(store.peek(gapKey(first)).toString(), note)
})

test('a note that a receiver finds there stays acknowledged', async () => {
  const store = await archiveWith(first)
  await acknowledgeGaps(store, 'all', options())
  await putGap(store, { ...first, reason: 'Gone.', noticedAt: now }, options())
  assert.equal(await isAcknowledged(store, first, options()), true)
})

test('where one name is wrong, nothing is acknowledged', async () => {
  const store = await archiveWith(first, second)
  for (const wrong of ['1/0/5000001', '3/0/5000000', '0/5000000', '']) {
    await assert.rejects(acknowledgeGaps(store, ['1/0/5000000', wrong], options()), { code: 'BAD_INPUT' })
  }
  assert.deepEqual(await unacknowledgedGaps(store, options()), [first, second])
})

test('a note that cannot be read waits for a person, who acknowledges it like the others', async () => {
  const store = await archiveWith(first, second)
  store.set(gapKey(first), Buffer.from('{'))
  assert.deepEqual(await unacknowledgedGaps(store, options()), [first, second])
  assert.deepEqual(await acknowledgeGaps(store, 'all', options()), [
    { gap: first, wasBefore: false },
    { gap: second, wasBefore: false },
  ])
  assert.deepEqual(await unacknowledgedGaps(store, options()), [])
  assert.deepEqual(JSON.parse(store.peek(gapKey(first)).toString()), {
    timeline: 1,
    from: '0/5000000',
    to: '0/7000000',
    reason: 'The note could not be read any more.',
    noticedAt: now.toISOString(),
    acknowledged: true,
    acknowledgedAt: now.toISOString(),
  })
})
