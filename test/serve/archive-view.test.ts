/** When the page's question about the archive costs a look at the store, and what is answered meanwhile. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ToldListing } from '../../src/audit/told-listing.ts'
import { reasonOf } from '../../src/kit/abort.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { ArchiveView } from '../../src/serve/archive-view.ts'
import { deferred } from '../support/deferred.ts'
import { FakeClock } from '../support/fake-clock.ts'

const listing: ToldListing = { store: '/archive', backups: [], damaged: [], windows: [], gaps: [], timelines: [] }
const away = new WalferryError('STORE_UNREACHABLE', 'it is away', { retryable: true, hint: 'Wait.' })

class Looks {
  readonly clock = new FakeClock()
  readonly end = new AbortController()
  count = 0
  #waiting = deferred<ToldListing>()
  readonly view = new ArchiveView(
    async (signal) => {
      this.count++
      this.#waiting = deferred<ToldListing>()
      signal.addEventListener('abort', () => this.#waiting.reject(reasonOf(signal)), { once: true })
      return await this.#waiting.promise
    },
    this.clock,
    this.end.signal,
  )

  /** The look that is under way ends, after this time. */
  async finish(ms: number, how: ToldListing | Error = listing): Promise<void> {
    this.clock.pass(ms)
    if (how instanceof Error) this.#waiting.reject(how)
    else this.#waiting.resolve(how)
    await this.view.settled()
  }
}

test('nobody asks: nobody looks', () => {
  const looks = new Looks()
  looks.clock.pass(3_600_000)
  assert.equal(looks.count, 0)
})

test('the first answer does not wait: it says that a look is under way', async () => {
  const looks = new Looks()
  assert.deepEqual(looks.view.answer(), { at: null, listing: null, isLooking: true, problem: null })
  await looks.finish(100)
  assert.deepEqual(looks.view.answer(), { at: '2026-01-31T12:00:00.000Z', listing, isLooking: false, problem: null })
})

test('many ask at once: one look', async () => {
  const looks = new Looks()
  for (let nth = 0; nth < 10; nth++) looks.view.answer()
  assert.equal(looks.count, 1)
  await looks.finish(10)
})

test('what was found is good for a minute', async () => {
  const looks = new Looks()
  looks.view.answer()
  await looks.finish(0)
  looks.clock.pass(59_999)
  looks.view.answer()
  assert.equal(looks.count, 1)
  looks.clock.pass(1)
  assert.deepEqual(looks.view.answer(), { at: '2026-01-31T12:00:00.000Z', listing, isLooking: true, problem: null })
  assert.equal(looks.count, 2)
  await looks.finish(0)
})

test('a look that takes long is taken at most a twentieth of the time', async () => {
  const looks = new Looks()
  looks.view.answer()
  await looks.finish(30_000)
  looks.clock.pass(599_999)
  looks.view.answer()
  assert.equal(looks.count, 1)
  looks.clock.pass(1)
  looks.view.answer()
  assert.equal(looks.count, 2)
  await looks.finish(0)
})

test('an outage: the last one known, its age, and the error; looked again after ten seconds', async () => {
  const looks = new Looks()
  looks.view.answer()
  await looks.finish(0)
  looks.clock.pass(60_000)
  looks.view.answer()
  await looks.finish(500, away)
  const problem = { code: 'STORE_UNREACHABLE', message: 'it is away', hint: 'Wait.' }
  const stale = { at: '2026-01-31T12:00:00.000Z', listing, isLooking: false, problem }
  assert.deepEqual(looks.view.answer(), stale)
  looks.clock.pass(10_000)
  assert.deepEqual(looks.view.answer(), { ...stale, isLooking: true })
  await looks.finish(0)
  assert.deepEqual(looks.view.answer().problem, null)
  assert.equal(looks.view.answer().at, '2026-01-31T12:01:10.500Z')
})

test('once the receiver ends, the look ends, and no other begins', async () => {
  const looks = new Looks()
  looks.view.answer()
  looks.end.abort(new Error('stopped'))
  await looks.view.settled()
  looks.clock.pass(3_600_000)
  assert.equal(looks.view.answer().isLooking, false)
  assert.equal(looks.count, 1)
})
