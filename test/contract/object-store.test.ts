/** Runs the contract of stores on each of them; on an S3 store outside as well, where the environment names one. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { DirectoryStore } from '../../src/store/directory.ts'
import { S3Store, type S3StoreOptions } from '../../src/store/s3.ts'
import { plainAccess } from '../../src/store/s3-plain-access.ts'
import { S3Reader } from '../../src/store/s3-reader.ts'
import { setEnvironment } from '../support/environment.ts'
import { startS3Server } from '../support/s3-server.ts'
import { keysOf, objectStoreContract } from './object-store.ts'

objectStoreContract('in a folder', async () => {
  const root = await mkdtemp(join(tmpdir(), 'walferry-store-'))
  return {
    store: new DirectoryStore(root),
    fill: async (keys) => {
      const paths = keys.map((key) => join(root, key))
      for (const folder of new Set(paths.map(dirname))) await mkdir(folder, { recursive: true })
      await Promise.all(paths.map((path) => writeFile(path, 'x')))
    },
    cleanup: () => rm(root, { recursive: true }),
  }
})

const stores = [
  ['in S3', (options: S3StoreOptions) => new S3Store(options)],
  ['in S3, read without the SDK', plainReader],
] as const

for (const [name, open] of stores) {
  objectStoreContract(name, async () => {
    const s3 = await startS3Server()
    const restore = setEnvironment(s3.environment)
    const store = open({ bucket: s3.bucket, prefix: 'some/prefix', endpoint: s3.endpoint })
    return {
      store,
      fill: async (keys) => {
        for (const key of keys) s3.objects.set(`some/prefix/${key}`, 'x')
        // What is beside the prefix, and a console's mark of a folder, must not be seen.
        for (const key of ['some/prefix/', 'some/prefix', 'some/prefix0', 'some/prefiw']) s3.objects.set(key, 'x')
      },
      serverBytes: () => s3.objects.bytes,
      cleanup: async () => {
        store.close()
        await s3.stop()
        restore()
      },
    }
  })
}

/** With the keys alone: whatever else a machine's environment says would be left to the SDK. */
function plainReader(options: S3StoreOptions): S3Reader {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env
  const access = plainAccess(options, { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN })
  assert.ok(access !== null, 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set')
  return new S3Reader(options, access)
}

const endpoint = process.env['WALFERRY_TEST_S3_ENDPOINT']
const bucket = process.env['WALFERRY_TEST_S3_BUCKET']
if (endpoint === undefined || bucket === undefined) {
  test('the object store in an S3 store outside', {
    skip: 'set WALFERRY_TEST_S3_ENDPOINT and WALFERRY_TEST_S3_BUCKET, and credentials in AWS_*, to test one',
  })
} else {
  for (const [name, open] of stores) {
    objectStoreContract(`${name}, ${bucket} at ${endpoint}`, async () => {
      const store = open({ bucket, endpoint, prefix: `walferry-test-${randomUUID()}` })
      return {
        store,
        cleanup: async () => {
          await store.deleteMany(await keysOf(store, { prefix: '' }), { signal: new AbortController().signal })
          store.close()
        },
      }
    })
  }
}
