/** Reading S3 without the SDK's client: an object, or what the SDK would have said. */
import assert from 'node:assert/strict'
import { describe, it, test, type TestContext } from 'node:test'
import type { ErrorCode } from '../../src/kit/errors.ts'
import { plainAccess } from '../../src/store/s3-plain-access.ts'
import { takenAnswer } from '../../src/store/s3-plain-get.ts'
import { S3Reader } from '../../src/store/s3-reader.ts'
import type { S3StoreOptions } from '../../src/store/s3.ts'
import { readAll } from '../contract/object-store.ts'
import { setEnvironment } from '../support/environment.ts'
import type { Fault } from '../support/s3/faults.ts'
import { failure, idle, mebibyte, on, type S3Setting, s3Setting } from './s3-setting.ts'

type ReaderSetting = S3Setting & { readonly reader: S3Reader }

async function readerSetting(t: TestContext, options: Partial<S3StoreOptions> = {}): Promise<ReaderSetting> {
  const setting = await s3Setting(t, options)
  const { s3 } = setting
  const place = { bucket: s3.bucket, prefix: 'prefix', endpoint: s3.endpoint, ...options }
  const access = plainAccess(place, s3.environment)
  assert.ok(access !== null)
  const reader = new S3Reader(place, access)
  t.after(() => reader.close())
  return { ...setting, reader }
}

test('an object is read with one request, and whole', async (t) => {
  const { s3, store, reader } = await readerSetting(t)
  const bytes = Buffer.from(Array.from({ length: mebibyte }, (_, at) => at % 251))
  await store.put('folder/with.a-key_0', bytes, { ifAbsent: false, signal: idle })
  assert.deepEqual(await readAll(reader, 'folder/with.a-key_0'), bytes)
  assert.equal(s3.count('GetObject'), 1)
})

test('an empty object, and one whose checksum the store does not know, are read with one request', async (t) => {
  const { s3, reader } = await readerSetting(t)
  s3.objects.set('prefix/empty', '')
  assert.equal((await readAll(reader, 'empty')).length, 0)
  s3.objects.set('prefix/unknown', 'xyz')
  assert.equal((await readAll(reader, 'unknown')).toString(), 'xyz')
  assert.equal(s3.count('GetObject'), 2)
})

const faults: readonly (readonly [what: string, fault: Fault, code: ErrorCode])[] = [
  ['slows down', { kind: 'error', status: 503, code: 'SlowDown' }, 'STORE_UNREACHABLE'],
  ['denies it', { kind: 'error', status: 403, code: 'AccessDenied' }, 'STORE_DENIED'],
  ['says that the key is not there', { kind: 'error', status: 404, code: 'NoSuchKey' }, 'KEY_MISSING'],
  ['says that the bucket is not there', { kind: 'error', status: 404, code: 'NoSuchBucket' }, 'STORE_FAILED'],
  ['is elsewhere', { kind: 'error', status: 301, code: 'PermanentRedirect' }, 'STORE_FAILED'],
  ['is a gateway that fails', { kind: 'page', status: 502, body: '<html>Bad' }, 'STORE_UNREACHABLE'],
  ['is some other server', { kind: 'page', status: 200, body: '<html><body>Hi</body></html>' }, 'STORE_FAILED'],
  ['is another one that says 404', { kind: 'page', status: 404, body: '<html>Not here' }, 'STORE_FAILED'],
  ['resets the connection', { kind: 'noAnswer', how: 'reset' }, 'STORE_UNREACHABLE'],
]
for (const [what, fault, code] of faults) {
  test(`a store that ${what}: the reader says ${code}, and what the SDK's store says`, async (t) => {
    const { s3, store, reader } = await readerSetting(t)
    s3.objects.set('prefix/a', 'x')
    s3.inject(fault, on('GetObject'))
    const [ours, theirs] = [await failure(readAll(reader, 'a'), code), await failure(readAll(store, 'a'), code)]
    assert.deepEqual([ours.hint, ours.retryable], [theirs.hint, theirs.retryable])
    assert.equal(ours.message, theirs.message)
  })

  test(`a store that ${what} once, and not when it is asked again, is read`, async (t) => {
    const { s3, reader } = await readerSetting(t)
    s3.objects.set('prefix/a', 'x')
    s3.inject(fault, on('GetObject'), 1)
    // What did not arrive is for the caller to try again, as with every store.
    if (fault.kind === 'noAnswer') await failure(readAll(reader, 'a'), code)
    assert.equal((await readAll(reader, 'a')).toString(), 'x')
  })
}

for (const [what, wrong, code, hint] of [
  ['secret', { AWS_SECRET_ACCESS_KEY: 'wrong' }, 'STORE_DENIED', /credentials/],
  ['region', {}, 'STORE_FAILED', /region/],
] as const) {
  test(`a wrong ${what} is told with the hint that the SDK's store gives`, async (t) => {
    const { s3 } = await s3Setting(t)
    t.after(setEnvironment(wrong))
    const region = what === 'region' ? 'eu-north-1' : 'us-east-1'
    const place = { bucket: s3.bucket, endpoint: s3.endpoint, region }
    const access = plainAccess(place, { ...s3.environment, ...wrong })
    assert.ok(access !== null)
    const reader = new S3Reader(place, access)
    t.after(() => reader.close())
    s3.objects.set('a', 'x')
    assert.match((await failure(readAll(reader, 'a'), code)).hint ?? '', hint)
  })
}

for (const how of ['reset', 'close'] as const) {
  test(`an object whose bytes end in a ${how} of the connection is not taken for whole`, async (t) => {
    const { s3, reader } = await readerSetting(t)
    s3.objects.set('prefix/a', Buffer.alloc(mebibyte, 1))
    for (const afterBytes of [0, 100_000, mebibyte - 2]) {
      s3.inject({ kind: 'cutBody', afterBytes, how }, on('GetObject'), 1)
      await failure(readAll(reader, 'a'), 'STORE_UNREACHABLE')
    }
    assert.equal((await readAll(reader, 'a')).length, mebibyte)
  })
}

test('an object whose bytes were altered on the way is not taken for whole', async (t) => {
  const { s3, store, reader } = await readerSetting(t)
  await store.put('a', Buffer.alloc(100_000), { ifAbsent: false, signal: idle })
  s3.inject({ kind: 'corrupt', what: 'answer' }, on('GetObject'), 1)
  await failure(readAll(reader, 'a'), 'STORE_UNREACHABLE')
  assert.equal((await readAll(reader, 'a')).length, 100_000)
})

describe('a reader of S3,', { concurrency: true }, () => {
  const short = { connectTimeoutMs: 2000, idleTimeoutMs: 1000 }

  it('where no answer comes, gives up, and does not wait for the SDK to find the same', async (t) => {
    const { s3, reader } = await readerSetting(t, short)
    s3.inject({ kind: 'noAnswer', how: 'stall' }, on('GetObject'), 1)
    s3.objects.set('prefix/a', 'x')
    await failure(readAll(reader, 'a'), 'STORE_UNREACHABLE')
    assert.equal((await readAll(reader, 'a')).toString(), 'x')
    assert.equal(s3.count('GetObject'), 2)
  })

  it('where the bytes stall, gives up', async (t) => {
    const { s3, reader } = await readerSetting(t, short)
    s3.objects.set('prefix/a', Buffer.alloc(mebibyte))
    s3.inject({ kind: 'cutBody', afterBytes: 100_000, how: 'stall' }, on('GetObject'), 1)
    assert.match((await failure(readAll(reader, 'a'), 'STORE_UNREACHABLE')).message, /stalled/)
  })

  it('that is aborted rejects with the reason', async (t) => {
    const { s3, reader } = await readerSetting(t)
    const stop = new AbortController()
    const reason = new Error('a signal')
    s3.inject({ kind: 'noAnswer', how: 'stall' }, on('GetObject'), 1)
    const arrived = s3.arrival(on('GetObject'))
    const aborted = assert.rejects(reader.get('a', { signal: stop.signal }), (error) => error === reason)
    await arrived
    stop.abort(reason)
    await aborted
  })

  it('that is closed rejects what is under way', async (t) => {
    const { s3, reader } = await readerSetting(t)
    s3.inject({ kind: 'noAnswer', how: 'stall' }, on('GetObject'), 1)
    const arrived = s3.arrival(on('GetObject'))
    const failed = failure(readAll(reader, 'a'), 'STORE_UNREACHABLE')
    await arrived
    reader.close()
    await failed
  })
})

const object = { etag: '"e"', 'content-length': '3' }

for (const [what, status, headers, taken] of [
  ['an object', 200, object, { bytes: 3, crc32: null }],
  ['one with its checksum', 200, { ...object, ...sum('crc32', 'NhCmhg==') }, { bytes: 3, crc32: 'NhCmhg==' }],
  ['one that was put in parts', 200, { ...object, ...sum('crc32', 'NhCmhg==-2') }, { bytes: 3, crc32: null }],
  ['one with a checksum of another kind', 200, { ...object, ...sum('crc64nvme', 'AAAAAAAAAAA=') }, null],
  ['one with two', 200, { ...object, ...sum('crc32', 'NhCmhg=='), ...sum('sha256', 'abc=') }, null],
  ['a part of one', 206, object, null],
  ['an error', 404, object, null],
  ['one that has not changed', 304, object, null],
  ['a page without an ETag', 200, { 'content-length': '3' }, null],
  ['an answer of unknown length', 200, { etag: '"e"' }, null],
  ['one whose length is no number', 200, { ...object, 'content-length': '3, 3' }, null],
] as const) {
  test(`of the answers, ${what} is ${taken === null ? 'left to the SDK' : 'taken'}`, () => {
    assert.deepEqual(takenAnswer(status, headers), taken)
  })
}

function sum(kind: string, value: string): Record<string, string> {
  return { [`x-amz-checksum-${kind}`]: value, 'x-amz-checksum-type': 'FULL_OBJECT' }
}
