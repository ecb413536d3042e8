/**
 * S3 that is slow, or silent: whatever hangs ends in bounded time, and what only takes long is not cut.
 *
 * Tests that only wait run side by side, with a time-out for silence of 1 s, which a busy neighbour does not use up.
 * Those that compute the sums of large bodies run alone.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sleep } from '../../src/kit/abort.ts'
import { keysOf, readAll } from '../contract/object-store.ts'
import type { S3Request } from '../support/s3/request.ts'
import { calls, failure, idle, mebibyte, moreThanOnePart, on, put, putIfAbsent, s3Setting } from './s3-setting.ts'

const short = { connectTimeoutMs: 2000, idleTimeoutMs: 1000 }

describe('in S3,', { concurrency: true }, () => {
  for (const [operation, call] of calls) {
    for (const [kind, what] of [
      ['noAnswer', 'is swallowed'],
      ['lostAnswer', 'is done without an answer'],
    ] as const) {
      it(`a ${operation} that ${what} is given up`, async (t) => {
        const { s3, store } = await s3Setting(t, short)
        s3.objects.set('prefix/present', 'x')
        s3.inject({ kind, how: 'stall' }, on(operation), 1)
        await failure(call(store), 'STORE_UNREACHABLE')
        if (operation !== 'DeleteObjects') await call(store)
      })
    }
  }

  for (const afterBytes of [0, 100_000, mebibyte - 1]) {
    it(`an object whose bytes stall after ${afterBytes} is given up`, async (t) => {
      const { s3, store } = await s3Setting(t, short)
      s3.objects.set('prefix/a', Buffer.alloc(mebibyte))
      s3.inject({ kind: 'cutBody', afterBytes, how: 'stall' }, on('GetObject'), 1)
      const error = await failure(readAll(store, 'a'), 'STORE_UNREACHABLE')
      assert.match(error.message, /stalled/)
    })
  }

  it('an object whose bytes trickle, though they never stop, is given up', async (t) => {
    const { s3, store } = await s3Setting(t, { ...short, minBytesPerSecond: 4 * mebibyte })
    s3.objects.set('prefix/a', Buffer.alloc(mebibyte))
    s3.inject({ kind: 'slow', bytesPerSecond: 50_000 }, on('GetObject'))
    await failure(readAll(store, 'a'), 'STORE_UNREACHABLE')
  })

  it('a page of a listing that stalls is given up', async (t) => {
    const { s3, store } = await s3Setting(t, short)
    for (let index = 0; index < 1500; index++) s3.objects.set(`prefix/${10_000 + index}`, 'x')
    let pages = 0
    const secondPage = (request: S3Request): boolean => on('ListObjectsV2')(request) && ++pages === 2
    s3.inject({ kind: 'cutBody', afterBytes: 5000, how: 'stall' }, secondPage)
    await failure(keysOf(store, { prefix: '' }), 'STORE_UNREACHABLE')
  })

  it('an address that does not answer is given up', async (t) => {
    const { open } = await s3Setting(t, short)
    // TEST-NET-1 (RFC 5737): a router drops it, or says that it cannot be reached.
    const store = open({ endpoint: 'http://192.0.2.1:9' })
    await failure(store.head('a', { signal: idle }), 'STORE_UNREACHABLE')
  })

  it('a consumer that takes its time is not cut', async (t) => {
    const { s3, store } = await s3Setting(t, { ...short, minBytesPerSecond: 16 * mebibyte })
    const bytes = 8 * mebibyte // more than the sockets hold, so that the connection does stand still meanwhile
    s3.objects.set('prefix/a', Buffer.alloc(bytes))
    let got = 0
    for await (const chunk of await store.get('a', { signal: idle })) {
      // The time is what is tested here: longer than the store may be silent, and than the deadline, 1.8 s.
      if (got === 0) await sleep(2200, idle)
      got += chunk.length
    }
    assert.equal(got, bytes)
  })

  it('an object that takes long is not cut', async (t) => {
    const { s3, store } = await s3Setting(t, { ...short, minBytesPerSecond: 10_000 })
    s3.objects.set('prefix/a', Buffer.alloc(150_000))
    s3.inject({ kind: 'slow', bytesPerSecond: 75_000 }, on('GetObject'))
    assert.equal((await readAll(store, 'a')).length, 150_000)
  })
})

describe('in S3, with a large body,', () => {
  for (const operation of ['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload'] as const) {
    it(`an upload in parts whose ${operation} gets no answer ends`, async (t) => {
      const { s3, store } = await s3Setting(t, { ...short, idleTimeoutMs: 2000 })
      s3.inject({ kind: 'noAnswer', how: 'stall' }, on(operation), 1)
      await failure(store.put('a', moreThanOnePart(), putIfAbsent), 'STORE_UNREACHABLE')
      assert.equal(s3.objects.uploads.size, 0)
    })
  }

  // What is under way in the kernel's buffers, some 8 MiB here, looks like silence to the sender: hence the sizes.
  const idleTimeoutMs = 700
  const body = Buffer.alloc(24 * mebibyte)

  it('a PUT whose bytes trickle is given up', async (t) => {
    const { s3, store } = await s3Setting(t, { ...short, idleTimeoutMs, minBytesPerSecond: 64 * mebibyte })
    s3.inject({ kind: 'slow', bytesPerSecond: 4 * mebibyte }, on('PutObject'))
    await failure(store.put('a', body, put), 'STORE_UNREACHABLE')
    assert.equal(s3.objects.size, 0)
  })

  it('a PUT that takes long is not cut', async (t) => {
    const { s3, store } = await s3Setting(t, { ...short, idleTimeoutMs: 6000, minBytesPerSecond: mebibyte })
    s3.inject({ kind: 'slow', bytesPerSecond: 6 * mebibyte }, on('PutObject'))
    await store.put('a', Buffer.alloc(48 * mebibyte), put)
  })
})
