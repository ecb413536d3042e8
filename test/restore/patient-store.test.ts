import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WalferryError } from '../../src/kit/errors.ts'
import { PatientStore } from '../../src/restore/patient-store.ts'
import type { GetOptions } from '../../src/store/object-store.ts'
import { collect } from '../archive/streams.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'

function away(): WalferryError {
  return new WalferryError('STORE_UNREACHABLE', 'the store is away', { retryable: true })
}

/** Breaks the connection once behind each of these positions. */
class BreakingStore extends MemoryStore {
  readonly #breaks: number[]

  constructor(breaks: readonly number[]) {
    super()
    this.#breaks = breaks.toSorted((a, b) => a - b)
  }

  override async get(key: string, options: GetOptions): Promise<AsyncIterable<Uint8Array>> {
    const whole = await super.get(key, options)
    const end = this.#breaks.shift()
    return end === undefined ? whole : until(whole, end - (options.from ?? 0))
  }
}

async function* until(pieces: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let left = bytes
  for await (const piece of pieces) {
    yield piece.subarray(0, left)
    left -= piece.length
    if (left <= 0) throw away()
  }
}

test('an object is read on from where the connection broke, as often as it breaks', async (t) => {
  const random = seededRandom(t)
  const content = random.bytes(50_000)
  const store = new BreakingStore([1000, 1001, 20_000, 49_999])
  store.pieceBytes = 700
  store.set('a', content)
  let retries = 0
  const patient = new PatientStore(store, { forMs: 60_000, onRetry: () => retries++ })
  assert.deepEqual(await collect(await patient.get('a', { signal: deadline() })), content)
  assert.equal(retries, 4)
})

test('a store that is away is asked again, until it has been away for too long', async () => {
  const store = new MemoryStore()
  store.set('a', Buffer.from('a'))
  let failures = 2
  store.before = () => {
    if (failures-- > 0) throw away()
  }
  const inARow: number[] = []
  const patient = new PatientStore(store, { forMs: 60_000, onRetry: (_, before) => inARow.push(before) })
  const options = { signal: deadline() }
  assert.equal((await patient.head('a', options))?.bytes, 1)
  assert.deepEqual(inARow, [0, 1])
  failures = 1
  assert.equal((await collect(await patient.get('a', options))).toString(), 'a')
  failures = Number.POSITIVE_INFINITY
  const hasty = new PatientStore(store, { forMs: 0, onRetry: () => assert.fail('it was tried again') })
  await assert.rejects(hasty.head('a', options), /the store is away/)
})

test('a listing goes on behind the last key that it has given', async () => {
  const store = new MemoryStore()
  const keys = Array.from({ length: 2500 }, (_, n) => `x/${String(n).padStart(4, '0')}`)
  for (const key of keys) store.set(key)
  let pages = 0
  store.before = () => {
    if (++pages === 2) throw away()
  }
  const patient = new PatientStore(store, { forMs: 60_000, onRetry: () => undefined })
  const listed: string[] = []
  for await (const { key } of patient.list({ prefix: 'x/', limit: 2400, signal: deadline() })) listed.push(key)
  assert.deepEqual(listed, keys.slice(0, 2400))
})

test('what another attempt would not mend is not tried again', async () => {
  const patient = new PatientStore(new MemoryStore(), {
    forMs: 60_000,
    onRetry: () => assert.fail('it was tried again'),
  })
  await assert.rejects(patient.get('a', { signal: deadline() }), { code: 'KEY_MISSING' })
})
