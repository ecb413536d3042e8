import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { type TestContext, test } from 'node:test'
import { acknowledgeGap, putGap } from '../../src/archive/gaps.ts'
import { type GapName, gapKey } from '../../src/archive/keys.ts'
import { GapWatch } from '../../src/daemon/gap-watch.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { FaultyStore, unreachable } from '../ship/shipping.ts'
import { deadline } from '../support/postgres.ts'

const minuteMs = 60_000
const one: GapName = { timeline: 1, from: parseLsn('0/5000000'), to: parseLsn('0/7000000') }
const other: GapName = { timeline: 2, from: parseLsn('1/0'), to: parseLsn('1/1000000') }

async function note(store: FaultyStore, gap: GapName): Promise<void> {
  await putGap(store, { ...gap, reason: 'Gone.', noticedAt: new Date(0) }, { signal: deadline() })
}

const quiet = (): void => undefined

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await setImmediate()
}

/** A watch whose minutes pass when the test says so. */
function watching(t: TestContext, store: FaultyStore): { watch: GapWatch; pass: (ms: number) => Promise<void> } {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const watch = new GapWatch(store, { error: quiet, warn: quiet, info: quiet, debug: quiet })
  const end = new AbortController()
  const running = watch.run(end.signal)
  t.after(async () => {
    end.abort(new Error('the test is over'))
    await running
  })
  const pass = async (ms: number): Promise<void> => {
    await settle()
    t.mock.timers.tick(ms)
    await settle()
  }
  return { watch, pass }
}

test('a gap is known until somebody has acknowledged it, in whatever process', async (t) => {
  const store = new FaultyStore()
  await note(store, one)
  await note(store, other)
  const { watch, pass } = watching(t, store)
  assert.equal(watch.gaps, null, 'the archive has not answered yet')
  await pass(0)
  assert.deepEqual(watch.gaps, [one, other])
  await acknowledgeGap(store, one, { signal: deadline(), now: new Date(0) })
  await pass(minuteMs)
  assert.deepEqual(watch.gaps, [other])
})

test('an archive without gaps is asked once, and again when there may be a new one', async (t) => {
  const store = new FaultyStore()
  let requests = 0
  store.before = () => void requests++
  const { watch, pass } = watching(t, store)
  await pass(0)
  assert.deepEqual(watch.gaps, [])
  const first = requests
  for (let minute = 0; minute < 100; minute++) await pass(minuteMs)
  assert.equal(requests, first)
  await note(store, one)
  watch.lookSoon()
  await pass(0)
  assert.deepEqual(watch.gaps, [one])
})

test('a store that is away does not make a gap forgotten, and is asked again', async (t) => {
  const store = new FaultyStore()
  await note(store, one)
  const { watch, pass } = watching(t, store)
  await pass(0)
  store.before = () => {
    throw unreachable()
  }
  await acknowledgeGap(store, one, { signal: deadline(), now: new Date(0) }).catch(() => undefined)
  await pass(minuteMs)
  assert.deepEqual(watch.gaps, [one])
  store.before = () => undefined
  await acknowledgeGap(store, one, { signal: deadline(), now: new Date(0) })
  await pass(minuteMs)
  assert.deepEqual(watch.gaps, [])
})

test('a note that cannot be read stays visible', async (t) => {
  const store = new FaultyStore()
  store.set(gapKey(one), Buffer.from('{"timeline":1'))
  const { watch, pass } = watching(t, store)
  await pass(0)
  assert.deepEqual(watch.gaps, [one])
})

test('a gap that we have noted ourselves counts at once, also while no listing shows it', async (t) => {
  const store = new FaultyStore()
  const { watch, pass } = watching(t, store)
  await pass(0)
  watch.noted(one)
  assert.deepEqual(watch.gaps, [one])
  await pass(minuteMs)
  assert.deepEqual(watch.gaps, [one], 'the listing does not have it yet')
  await note(store, one)
  await pass(minuteMs)
  assert.deepEqual(watch.gaps, [one], 'once')
  await acknowledgeGap(store, one, { signal: deadline(), now: new Date(0) })
  await pass(minuteMs)
  assert.deepEqual(watch.gaps, [])
})
