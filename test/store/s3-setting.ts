/** What the tests of the S3 store share: a server and a store for each test, and how a failure is looked at. */
import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import type { TestContext } from 'node:test'
import { orAbort, withDeadline } from '../../src/kit/abort.ts'
import { type ErrorCode, isError, type WalferryError } from '../../src/kit/errors.ts'
import { S3Store, type S3StoreOptions } from '../../src/store/s3.ts'
import { keysOf, readAll } from '../contract/object-store.ts'
import { setEnvironment } from '../support/environment.ts'
import type { S3Operation, S3Request } from '../support/s3/request.ts'
import { type S3Server, type S3ServerOptions, startS3Server } from '../support/s3-server.ts'

export const mebibyte = 1024 * 1024
export const idle = new AbortController().signal
setMaxListeners(0, idle) // many calls share it at once
export const put = { ifAbsent: false, signal: idle }
export const putIfAbsent = { ifAbsent: true, signal: idle }

/** How late a call may end here, on a busy machine, too; the tests that wait for a time-out set one of 6 s at most. */
const boundMs = 60_000

export interface S3Setting {
  readonly s3: S3Server
  readonly store: S3Store
  /** Another store on the same server. */
  readonly open: (options: Partial<S3StoreOptions>) => S3Store
}

/**
 * A server and a store, for one test. Keys begin with `prefix/` in the bucket. Sets the environment, the same for every
 * such server, and leaves it so: a test file is a process of its own, and its tests may run side by side.
 */
export async function s3Setting(
  test: TestContext,
  options: Partial<S3StoreOptions> = {},
  serverOptions: S3ServerOptions = {},
): Promise<S3Setting> {
  const s3 = await startS3Server(serverOptions)
  setEnvironment(s3.environment)
  const stores: S3Store[] = []
  test.after(async () => {
    for (const store of stores) store.close()
    await s3.stop()
  })
  const open = (more: Partial<S3StoreOptions>): S3Store => {
    const fixed = { bucket: s3.bucket, prefix: 'prefix', endpoint: s3.endpoint }
    const store = new S3Store({ ...fixed, ...options, ...more })
    stores.push(store)
    return store
  }
  return { s3, store: open({}), open }
}

/** One call of each kind. They need an object `present`. */
export const calls: readonly (readonly [S3Operation, (store: S3Store) => Promise<unknown>])[] = [
  ['PutObject', (store) => store.put('a', Buffer.alloc(100_000), put)],
  ['GetObject', (store) => readAll(store, 'present')],
  ['HeadObject', (store) => store.head('present', { signal: idle })],
  ['ListObjectsV2', (store) => keysOf(store, { prefix: '' })],
  ['DeleteObjects', (store) => store.deleteMany(['present'], { signal: idle })],
]

export function on(operation: S3Operation): (request: S3Request) => boolean {
  return (request) => request.operation === operation
}

/** 17 MiB: more than is put in one piece. */
export async function* moreThanOnePart(): AsyncGenerator<Uint8Array> {
  await Promise.resolve()
  for (let count = 0; count < 17; count++) yield Buffer.alloc(mebibyte)
}

/** What a call rejects with: in bounded time, and with that code. */
export async function failure(promise: Promise<unknown>, code: ErrorCode): Promise<WalferryError> {
  const late = (): Error => new Error(`nothing within ${boundMs} ms; expected ${code}`)
  const error = await withDeadline(boundMs, idle, late, (signal) => orAbort(promise, signal)).then(
    () => assert.fail(`resolved; expected ${code}`),
    (thrown: unknown) => thrown,
  )
  assert.ok(isError(error), String(error))
  assert.equal(error.code, code, `${error.message}; cause ${String(error.cause)}`)
  // Whoever retries by `retryable` must go on through an outage, and not for ever on what only a person can mend.
  if (code === 'STORE_UNREACHABLE') assert.ok(error.retryable)
  if (code === 'STORE_FAILED' || code === 'KEY_EXISTS' || code === 'KEY_MISSING') assert.ok(!error.retryable)
  return error
}
