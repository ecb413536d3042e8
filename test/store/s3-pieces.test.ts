/** A long put into S3: several pieces on their way at once, and each of them tried again. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { seededRandom } from '../support/random.ts'
import type { S3Operation } from '../support/s3/request.ts'
import { failure, idle, mebibyte, on, s3Setting } from './s3-setting.ts'

const long = { piecesAtOnce: 3, retryForMs: 5000 }
const put = { ifAbsent: false, signal: idle, long }

/** `count` MiB, each of them other bytes. */
async function* bytesOf(count: number): AsyncGenerator<Uint8Array> {
  await Promise.resolve()
  for (let n = 0; n < count; n++) yield Buffer.alloc(mebibyte, n + 1)
}

async function whole(count: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of bytesOf(count)) pieces.push(piece)
  return Buffer.concat(pieces)
}

test('pieces go side by side, some of them twice, and the object is whole', async (t) => {
  const { s3, store } = await s3Setting(t)
  const random = seededRandom(t)
  s3.inject(
    { kind: 'error', status: 503, code: 'SlowDown' },
    (one) => on('UploadPart')(one) && random.below(3) === 0,
    3,
  )
  await store.put('a', bytesOf(70), put)
  assert.ok(s3.objects.get('prefix/a')?.equals(await whole(70)))
  assert.equal(s3.objects.uploads.size, 0)
})

test('further pieces are made and sent while one gets no answer, but not without end', async (t) => {
  const { s3, store } = await s3Setting(t)
  const stop = new AbortController()
  s3.inject({ kind: 'noAnswer', how: 'stall' }, on('UploadPart'))
  const made = { count: 0 }
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of bytesOf(200)) {
      made.count++
      yield piece
    }
  }
  const arrived = [1, 2, 3].map((number) => s3.arrival((one) => one.query.get('partNumber') === String(number)))
  const putting = assert.rejects(store.put('a', counted(), { ...put, signal: stop.signal }), /enough/)
  await Promise.all(arrived)
  // Three on their way, one that is full, and the bytes that showed that it is.
  while (made.count < 65) await setImmediate()
  for (let turn = 0; turn < 100; turn++) await setImmediate()
  assert.equal(made.count, 65)
  stop.abort(new Error('enough'))
  await putting
})

for (const operation of ['PutObject', 'CreateMultipartUpload', 'CompleteMultipartUpload'] as const) {
  test(`a long put whose ${operation} fails once is tried again`, async (t) => {
    const { s3, store } = await s3Setting(t)
    const failed = s3.inject({ kind: 'error', status: 500, code: 'InternalError' }, on(operation), 1)
    const count = operation === 'PutObject' ? 3 : 17
    await store.put('a', bytesOf(count), put)
    assert.equal(failed.hits, 1)
    assert.ok(s3.objects.get('prefix/a')?.equals(await whole(count)))
  })
}

const finals: readonly (readonly [S3Operation, number])[] = [
  ['PutObject', 3],
  ['UploadPart', 70],
]
for (const [operation, count] of finals) {
  test(`a long put whose ${operation} is denied fails at once, and leaves nothing`, async (t) => {
    const { s3, store } = await s3Setting(t)
    s3.inject({ kind: 'error', status: 403, code: 'AccessDenied' }, on(operation), 1)
    await failure(store.put('a', bytesOf(count), put), 'STORE_DENIED')
    assert.equal(s3.objects.size, 0)
    assert.equal(s3.objects.uploads.size, 0)
  })
}

test('an aborted long put, and one whose bytes fail, leave no parts and no listener', async (t) => {
  const { s3, store } = await s3Setting(t)
  const reason = new Error('no more')
  const stop = new AbortController()
  s3.inject({ kind: 'noAnswer', how: 'stall' }, on('UploadPart'), 1)
  const arrived = s3.arrival(on('UploadPart'))
  const aborted = assert.rejects(store.put('a', bytesOf(70), { ...put, signal: stop.signal }), reason)
  await arrived
  stop.abort(reason)
  await aborted
  assert.deepEqual(getEventListeners(stop.signal, 'abort'), [])

  async function* broken(): AsyncGenerator<Uint8Array> {
    yield* bytesOf(40)
    throw reason
  }
  await assert.rejects(store.put('b', broken(), put), reason)
  assert.equal(s3.objects.uploads.size, 0)
  assert.equal(s3.objects.size, 0)
})
