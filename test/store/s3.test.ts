/** S3 as it is on a bad day: each fault ends with the code that tells the caller what to do. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { ErrorCode } from '../../src/kit/errors.ts'
import { keysOf, readAll } from '../contract/object-store.ts'
import { setEnvironment } from '../support/environment.ts'
import type { Fault } from '../support/s3/faults.ts'
import type { S3Operation } from '../support/s3/request.ts'
import { calls, failure, idle, mebibyte, moreThanOnePart, on, put, putIfAbsent, s3Setting } from './s3-setting.ts'

const aTime = '2024-01-01T00:00:00.000Z'

const faults: readonly (readonly [string, Fault, ErrorCode])[] = [
  ['is told to slow down', { kind: 'error', status: 503, code: 'SlowDown' }, 'STORE_UNREACHABLE'],
  ['meets an internal error', { kind: 'error', status: 500, code: 'InternalError' }, 'STORE_UNREACHABLE'],
  ['meets too many requests', { kind: 'error', status: 429, code: 'TooManyRequests' }, 'STORE_UNREACHABLE'],
  ['meets a gateway that fails', { kind: 'page', status: 502, body: '<html>Bad' }, 'STORE_UNREACHABLE'],
  ['is denied', { kind: 'error', status: 403, code: 'AccessDenied' }, 'STORE_DENIED'],
  ['is reset before the answer', { kind: 'noAnswer', how: 'reset' }, 'STORE_UNREACHABLE'],
  ['loses the answer', { kind: 'lostAnswer', how: 'reset' }, 'STORE_UNREACHABLE'],
  [
    'is answered by some other server',
    { kind: 'page', status: 200, body: '<html><body>Hi</body></html>' },
    'STORE_FAILED',
  ],
]
for (const [what, fault, code] of faults) {
  test(`an S3 call that ${what} says ${code}, and the next one works`, async (t) => {
    const { s3, store } = await s3Setting(t)
    for (const [operation, call] of calls) {
      s3.objects.set('prefix/present', 'x')
      s3.inject(fault, on(operation), 1)
      await failure(call(store), code)
      await call(store)
    }
  })
}

test('an S3 store that refuses connections is unreachable, and is found again', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.objects.set('prefix/present', 'x')
  await store.head('present', { signal: idle })
  await s3.refuse()
  for (const [, call] of calls) await failure(call(store), 'STORE_UNREACHABLE')
  await s3.accept()
  for (const [, call] of calls) await call(store)
})

test('a missing bucket is not taken for a missing key', async (t) => {
  const { s3, store } = await s3Setting(t)
  assert.equal(await store.head('a', { signal: idle }), null)
  s3.dropBucket(s3.bucket)
  for (const [, call] of calls) {
    const error = await failure(call(store), 'STORE_FAILED')
    assert.match(error.hint ?? '', /bucket/)
  }
})

test('HEAD’s word that a key is missing is held against a listing', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.objects.set('prefix/a', 'xyz')
  s3.inject({ kind: 'error', status: 404, code: 'NoSuchKey' }, on('HeadObject'))
  assert.equal((await store.head('a', { signal: idle }))?.bytes, 3)
  assert.equal(await store.head('b', { signal: idle }), null)
  s3.inject({ kind: 'error', status: 503, code: 'SlowDown' }, on('ListObjectsV2'))
  await failure(store.head('b', { signal: idle }), 'STORE_UNREACHABLE')
})

for (const how of ['reset', 'close'] as const) {
  test(`an object whose bytes end in a ${how} of the connection is not taken for whole`, async (t) => {
    const { s3, store } = await s3Setting(t)
    s3.objects.set('prefix/a', Buffer.alloc(mebibyte, 1))
    for (const from of [0, 1]) {
      for (const afterBytes of [0, 100_000, mebibyte - 2]) {
        s3.inject({ kind: 'cutBody', afterBytes, how }, on('GetObject'), 1)
        await failure(readAll(store, 'a', from), 'STORE_UNREACHABLE')
      }
    }
    assert.equal((await readAll(store, 'a')).length, mebibyte)
  })
}

test('an object whose bytes were altered on the way is not taken for whole', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.objects.set('prefix/a', Buffer.alloc(100_000))
  s3.inject({ kind: 'corrupt', what: 'answer' }, on('GetObject'), 1)
  await failure(readAll(store, 'a'), 'STORE_UNREACHABLE')
})

test('a provider that answers with another range than it was asked for is found out', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.objects.set('prefix/a', 'abcd')
  for (const [range, code] of [
    [undefined, 'STORE_FAILED'],
    ['bytes=2-', 'STORE_FAILED'],
    ['bytes=1-2', 'STORE_UNREACHABLE'],
  ] as const) {
    s3.inject({ kind: 'otherRange', range }, on('GetObject'), 1)
    await failure(readAll(store, 'a', 1), code)
  }
  assert.equal((await readAll(store, 'a', 1)).toString(), 'bcd')
})

test('a conflict of two conditional writes is told from a key that is taken', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.inject({ kind: 'error', status: 409, code: 'ConditionalRequestConflict' }, on('PutObject'), 1)
  await failure(store.put('a', Buffer.from('x'), putIfAbsent), 'STORE_UNREACHABLE')
})

test('under a key whose answer was lost, the whole object is found', async (t) => {
  const { s3, store } = await s3Setting(t)
  for (const [key, body, operation] of [
    ['small', Buffer.from('whole'), 'PutObject'],
    ['large', moreThanOnePart(), 'CompleteMultipartUpload'],
  ] as const) {
    s3.inject({ kind: 'lostAnswer', how: 'reset' }, on(operation), 1)
    await failure(store.put(key, body, putIfAbsent), 'STORE_UNREACHABLE')
    await failure(store.put(key, Buffer.from('other'), putIfAbsent), 'KEY_EXISTS')
  }
  assert.equal(s3.objects.get('prefix/small')?.toString(), 'whole')
  assert.equal(s3.objects.get('prefix/large')?.length, 17 * mebibyte)
})

test('a wrong secret, a wrong region, and no region at all are told apart', async (t) => {
  const { s3, store, open } = await s3Setting(t)
  const restore = setEnvironment({ AWS_SECRET_ACCESS_KEY: 'wrong', AWS_REGION: undefined })
  t.after(restore)
  await failure(store.head('a', { signal: idle }), 'STORE_DENIED')
  await failure(store.put('a', Buffer.from('x'), put), 'STORE_DENIED')
  setEnvironment({ AWS_SECRET_ACCESS_KEY: s3.secretAccessKey })
  const wrong = await failure(open({ region: 'eu-north-1' }).put('a', Buffer.from('x'), put), 'STORE_FAILED')
  assert.match(wrong.hint ?? '', /region/)
  const { S3Store } = await import('../../src/store/s3.ts')
  const nowhere = new S3Store({ bucket: 'a' })
  t.after(() => nowhere.close())
  const none = await failure(nowhere.head('a', { signal: idle }), 'BAD_INPUT')
  assert.match(none.hint ?? '', /AWS_REGION/)
})

test('where there are no credentials, the hint says what to set', async (t) => {
  const { store } = await s3Setting(t)
  t.after(setEnvironment({ AWS_ACCESS_KEY_ID: undefined }))
  const error = await failure(store.put('a', Buffer.from('x'), put), 'STORE_DENIED')
  assert.match(error.hint ?? '', /AWS_ACCESS_KEY_ID/)
})

test('a call for which the credentials do not come is given up', async (t) => {
  const { s3, open } = await s3Setting(t)
  const url = `${s3.endpoint}/credentials`
  t.after(setEnvironment({ AWS_ACCESS_KEY_ID: undefined, AWS_CONTAINER_CREDENTIALS_FULL_URI: url }))
  s3.inject({ kind: 'noAnswer', how: 'stall' })
  const store = open({ connectTimeoutMs: 1000, idleTimeoutMs: 1000 })
  await failure(store.put('a', Buffer.from('x'), put), 'STORE_UNREACHABLE')
})

test('a clock that is wrong is named, and the store’s time is learnt for the next call', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.clockSkewMs = 20 * 60 * 1000
  const error = await failure(store.put('a', Buffer.from('x'), put), 'STORE_DENIED')
  assert.match(error.hint ?? '', /clock/)
  assert.ok(error.retryable)
  await store.put('a', Buffer.from('x'), put)
})

test('a key that S3 would not delete is reported', async (t) => {
  const { s3, store } = await s3Setting(t)
  const body = '<DeleteResult><Error><Key>prefix/a</Key><Code>AccessDenied</Code></Error></DeleteResult>'
  s3.inject({ kind: 'page', status: 200, body }, on('DeleteObjects'), 1)
  await failure(store.deleteMany(['a'], { signal: idle }), 'STORE_DENIED')
  s3.inject({ kind: 'page', status: 200, body: body.replace('AccessDenied', 'SlowDown') }, on('DeleteObjects'), 1)
  await failure(store.deleteMany(['a'], { signal: idle }), 'STORE_UNREACHABLE')
})

test('a store that lists out of order is refused', async (t) => {
  const { s3, store } = await s3Setting(t)
  const entries = ['b', 'a'].map(
    (key) => `<Contents><Key>prefix/${key}</Key><Size>1</Size><LastModified>${aTime}</LastModified></Contents>`,
  )
  const body = `<ListBucketResult><IsTruncated>false</IsTruncated>${entries.join('')}</ListBucketResult>`
  s3.inject({ kind: 'page', status: 200, body }, on('ListObjectsV2'), 1)
  await failure(keysOf(store, { prefix: '' }), 'STORE_FAILED')
})

test('an iterable is read no further than a part ahead of what the store has', async (t) => {
  const { s3, store } = await s3Setting(t)
  let read = 0
  let ahead = 0
  async function* body(): AsyncGenerator<Uint8Array> {
    for (; read < 34 * mebibyte; read += mebibyte) {
      ahead = Math.max(ahead, read - s3.receivedBytes)
      await Promise.resolve()
      yield Buffer.alloc(mebibyte)
    }
  }
  await store.put('a', body(), putIfAbsent)
  assert.ok(ahead <= 17 * mebibyte, `${ahead} bytes ahead`)
  assert.equal(s3.count('UploadPart'), 3)
  assert.equal(s3.objects.get('prefix/a')?.length, 34 * mebibyte)
})

const uploadFaults: readonly (readonly [S3Operation, Fault, ErrorCode])[] = [
  ['CreateMultipartUpload', { kind: 'error', status: 503, code: 'SlowDown' }, 'STORE_UNREACHABLE'],
  ['UploadPart', { kind: 'error', status: 500, code: 'InternalError' }, 'STORE_UNREACHABLE'],
  ['CompleteMultipartUpload', { kind: 'error', status: 412, code: 'PreconditionFailed' }, 'KEY_EXISTS'],
  ['CompleteMultipartUpload', { kind: 'page', status: 200, body: '' }, 'STORE_UNREACHABLE'],
  ['CompleteMultipartUpload', { kind: 'page', status: 200, body: '<html>Hi</html>' }, 'STORE_FAILED'],
]
for (const [operation, fault, code] of uploadFaults) {
  const what = fault.kind === 'error' ? fault.code : 'a page that is not S3’s'
  test(`an upload in parts whose ${operation} meets ${what} says ${code} and leaves no parts`, async (t) => {
    const { s3, store } = await s3Setting(t)
    s3.inject(fault, on(operation), 1)
    await failure(store.put('a', moreThanOnePart(), putIfAbsent), code)
    assert.equal(s3.objects.uploads.size, 0)
    assert.equal(s3.objects.size, 0)
  })
}

test('an error that follows a status of 200 is noticed', async (t) => {
  const { s3, store } = await s3Setting(t)
  s3.inject({ kind: 'errorIn200', code: 'InternalError' }, on('CompleteMultipartUpload'), 1)
  await failure(store.put('a', moreThanOnePart(), putIfAbsent), 'STORE_UNREACHABLE')
})

test('an aborted upload in parts leaves no parts and no listener', async (t) => {
  const { s3, store } = await s3Setting(t)
  const stop = new AbortController()
  const reason = new Error('the second signal')
  s3.inject({ kind: 'noAnswer', how: 'stall' }, on('UploadPart'), 1)
  const arrived = s3.arrival(on('UploadPart'))
  const aborted = assert.rejects(
    store.put('a', moreThanOnePart(), { ifAbsent: true, signal: stop.signal }),
    (error) => error === reason,
  )
  await arrived
  stop.abort(reason)
  await aborted
  assert.equal(s3.objects.uploads.size, 0)
  assert.deepEqual(getEventListeners(stop.signal, 'abort'), [])
})

test('closing the store rejects what is under way and leaves no socket', async (t) => {
  const { s3, open } = await s3Setting(t)
  const store = open({ idleTimeoutMs: 60_000 })
  s3.inject({ kind: 'noAnswer', how: 'stall' })
  const arrived = s3.arrival(on('HeadObject'))
  const failed = failure(store.head('a', { signal: idle }), 'STORE_UNREACHABLE')
  await arrived
  store.close()
  await failed
  await s3.stop()
  // Handles are closed a little after the servers say that they are.
  while (process.getActiveResourcesInfo().some((name) => name.startsWith('TCP'))) await setImmediate()
})
