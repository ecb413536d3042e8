/** Writes that must not replace anything, on services that do not all keep the second writer away. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError, WalferryError } from '../../src/kit/errors.ts'
import { probeConditionalPut } from '../../src/store/conditional-put.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { IfAbsent, type NotHonoured, type Write } from '../../src/store/s3-if-absent.ts'
import type { ConditionalWrites } from '../support/s3/operations.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { tempFolder } from '../support/temp.ts'
import { failure, idle, mebibyte, moreThanOnePart, on, put, putIfAbsent, s3Setting } from './s3-setting.ts'

type Service = 'honours' | 'refuses' | 'ignores'

/** What is asked of a service that has that key, or has it not, as one line. */
async function traffic(ifAbsent: IfAbsent, service: Service, size: Write['size'], taken: boolean): Promise<string> {
  const asked: string[] = []
  let isTaken = taken
  await ifAbsent
    .write({
      size,
      look: async () => {
        asked.push('look')
        if (isTaken) throw new WalferryError('KEY_EXISTS', 'taken')
      },
      send: async (withCondition) => {
        asked.push(withCondition ? 'send if absent' : 'send')
        if (withCondition && service === 'refuses') {
          throw new WalferryError('STORE_FAILED', 'no', { fields: { status: 501 } })
        }
        if (withCondition && service === 'honours' && isTaken) throw new WalferryError('KEY_EXISTS', 'taken')
        isTaken = true
      },
    })
    .catch((error: unknown) => {
      assert.ok(isError(error, 'KEY_EXISTS'), String(error))
      asked.push('taken')
    })
  return asked.join(', ')
}

const table: readonly (readonly [
  isAmazon: boolean,
  Service,
  writes: readonly (readonly [Write['size'], 'new' | 'taken', string])[],
  found: string,
])[] = [
  [
    true,
    'honours',
    [
      ['small', 'new', 'send if absent'],
      ['large', 'taken', 'send if absent, taken'],
      ['parts', 'taken', 'send if absent, taken'],
    ],
    'honoured',
  ],
  [
    false,
    'honours',
    [
      ['large', 'new', 'look, send if absent'],
      ['small', 'taken', 'look, taken'],
      ['small', 'new', 'look, send if absent, send if absent'],
      ['small', 'new', 'send if absent'],
      ['large', 'taken', 'send if absent, taken'],
      ['parts', 'new', 'look, send if absent'],
      ['parts', 'taken', 'look, taken'],
    ],
    'honoured',
  ],
  [
    false,
    'refuses',
    [
      ['parts', 'new', 'look, send if absent, send'],
      ['large', 'new', 'look, send if absent, send'],
      ['small', 'new', 'look, send'],
      ['small', 'taken', 'look, taken'],
      ['parts', 'new', 'look, send'],
    ],
    'refused',
  ],
  [
    false,
    'ignores',
    [
      ['large', 'taken', 'look, taken'],
      ['small', 'new', 'look, send if absent, send if absent'],
      ['small', 'new', 'look, send'],
      ['parts', 'taken', 'look, taken'],
    ],
    'ignored',
  ],
]
for (const [isAmazon, service, writes, found] of table) {
  const name = isAmazon ? 'Amazon’s S3' : 'a service of one’s own'
  test(`${name} that ${service} conditions is asked no more than it takes to be sure`, async () => {
    const told: NotHonoured[] = []
    const ifAbsent = new IfAbsent(isAmazon, (notHonoured) => told.push(notHonoured))
    for (const [size, state, asked] of writes) {
      assert.equal(await traffic(ifAbsent, service, size, state === 'taken'), asked, `${size}, ${state}`)
    }
    assert.equal(ifAbsent.found, found)
    assert.deepEqual(told, found === 'honoured' ? [] : [found])
  })
}

test('what goes wrong while conditions are proved changes nothing for the write', async () => {
  const ifAbsent = new IfAbsent(false, assert.fail)
  let sent = 0
  const send = async (): Promise<void> => {
    if (++sent === 2) throw new WalferryError('STORE_UNREACHABLE', 'away', { retryable: true })
  }
  await ifAbsent.write({ look: async () => undefined, send, size: 'small' })
  assert.equal(sent, 2)
  assert.equal(ifAbsent.found, 'unknown')
})

const providers: readonly (readonly [ConditionalWrites, string])[] = [
  ['honoured', 'honoured'],
  ['ignored for parts', 'honoured'],
  ['refused', 'refused'],
  ['ignored', 'ignored'],
]
for (const [conditionalWrites, found] of providers) {
  test(`nothing is replaced in S3 where conditions are ${conditionalWrites}, and that is found out once`, async (t) => {
    const told: string[] = []
    const options = { onNotHonoured: (notHonoured: NotHonoured) => void told.push(notHonoured) }
    const { s3, store } = await s3Setting(t, options, { conditionalWrites })
    assert.equal(store.conditionalPut, 'unknown')
    s3.objects.set('prefix/small', 'old')
    s3.objects.set('prefix/large', 'old')
    for (let round = 0; round < 2; round++) {
      await failure(store.put('small', Buffer.from('new'), putIfAbsent), 'KEY_EXISTS')
      await failure(store.put('large', Buffer.alloc(mebibyte), putIfAbsent), 'KEY_EXISTS')
      await failure(store.put('large', moreThanOnePart(), putIfAbsent), 'KEY_EXISTS')
      await store.put(`a${round}`, Buffer.from('new'), putIfAbsent)
      await failure(store.put(`a${round}`, Buffer.from('newer'), putIfAbsent), 'KEY_EXISTS')
    }
    await store.put('b', moreThanOnePart(), putIfAbsent)
    assert.equal(s3.objects.get('prefix/small')?.toString(), 'old')
    assert.equal(s3.objects.get('prefix/large')?.toString(), 'old')
    assert.equal(s3.objects.get('prefix/a0')?.toString(), 'new')
    assert.equal(s3.objects.get('prefix/b')?.length, 17 * mebibyte)
    assert.equal(s3.objects.uploads.size, 0)
    assert.equal(store.conditionalPut, found)
    assert.deepEqual(told, found === 'honoured' ? [] : [found])
    await store.put('small', Buffer.from('new'), put)
    assert.equal(s3.objects.get('prefix/small')?.toString(), 'new')
  })

  test(`a probe finds that conditions are ${found} where they are ${conditionalWrites}, and leaves nothing`, async (t) => {
    const { s3, store } = await s3Setting(t, {}, { conditionalWrites })
    s3.objects.set('prefix/probe', 'left by a probe that was killed')
    assert.equal(await probeConditionalPut(store, 'probe', idle), found)
    assert.equal(s3.objects.size, 0)
  })
}

test('a probe of a folder finds that it keeps the second writer away', async (t) => {
  const store = new DirectoryStore(await tempFolder(t))
  assert.equal(await probeConditionalPut(store, 'probe', idle), 'honoured')
  assert.equal(await store.head('probe', { signal: idle }), null)
})

test('a probe finds out a store that takes the same key twice without a word', async () => {
  class Careless extends MemoryStore {
    override put(key: string, body: Uint8Array, options: { signal: AbortSignal }): Promise<void> {
      return super.put(key, body, { ...options, ifAbsent: false })
    }
  }
  const store = new Careless()
  assert.equal(await probeConditionalPut(store, 'probe', idle), 'ignored')
  assert.deepEqual(store.keys, [])
})

test('a probe that is aborted leaves nothing', async () => {
  const store = new MemoryStore()
  const abort = new AbortController()
  store.before = (operation) => {
    // The object of the first one is there by now.
    if (operation === 'put' && store.calls.put === 2) abort.abort(new Error('enough'))
  }
  await assert.rejects(probeConditionalPut(store, 'probe', abort.signal), /enough/)
  assert.deepEqual(store.keys, [])
})

test('a probe that meets an outage says so', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.inject({ kind: 'error', status: 503, code: 'SlowDown' }, on('PutObject'))
  await failure(probeConditionalPut(store, 'probe', idle), 'STORE_UNREACHABLE')
})
