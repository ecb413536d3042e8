/** Chunks that are merged, or give way to their whole segment, while a fetch reads them, over S3. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { S3Store } from '../../src/store/s3.ts'
import { setEnvironment } from '../support/environment.ts'
import type { S3Request } from '../support/s3/request.ts'
import { type S3Server, startS3Server } from '../support/s3-server.ts'
import { DataFolder } from './data-folder.ts'
import { chunkFolder, MadeArchive, nameOf } from './made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from './made-wal.ts'

const wal = new MadeWal().fillTo(2 * segmentBytes + 500_000, 'a')
const end = wal.end % segmentBytes
const name = nameOf(1, 2)
const cuts = [0, 100_000, 200_000, 300_000, end]

/** Chunks from cut to cut, and one that covers the first three. */
async function objects(): Promise<{ archive: MadeArchive; chunks: string[]; merged: string }> {
  const archive = new MadeArchive()
  archive.identity(wal)
  await archive.segment(wal, 1)
  const chunks: string[] = []
  for (const [n, from] of cuts.slice(0, -1).entries())
    chunks.push(await archive.chunk(wal, 2, from, cuts[n + 1] ?? end))
  return { archive, chunks, merged: await archive.chunk(wal, 2, 0, 300_000) }
}

async function setUp(t: TestContext): Promise<{ s3: S3Server; store: S3Store; data: DataFolder }> {
  const s3 = await startS3Server()
  const restore = setEnvironment(s3.environment)
  const store = new S3Store({ bucket: s3.bucket, endpoint: s3.endpoint })
  t.after(async () => {
    store.close()
    restore()
    await s3.stop()
  })
  return { s3, store, data: await DataFolder.make(t, systemIdentifier) }
}

/** Runs `change` when that chunk is asked for, before it is looked up: the listing is older then. */
function whenRead(s3: S3Server, key: string, change: () => void): Promise<S3Request> {
  return s3.arrival((request) => {
    if (request.operation !== 'GetObject' || request.key !== key) return false
    change()
    return true
  })
}

for (const n of [0, 1, 2]) {
  test(`a merge before chunk ${n} is read makes the fetch start over, and loses nothing`, async (t) => {
    const { archive, chunks, merged } = await objects()
    const { s3, store, data } = await setUp(t)
    for (const key of archive.store.keys) if (key !== merged) s3.objects.set(key, archive.store.peek(key))
    const merging = whenRead(s3, chunks[n] ?? '', () => {
      s3.objects.set(merged, archive.store.peek(merged))
      for (const key of chunks.slice(0, 3)) s3.objects.delete(key)
    })
    const { code, file, said } = await data.ask(store, name)
    assert.equal(code, 0, said)
    assert.ok(file?.equals(wal.segment(2)))
    await merging
    assert.ok(s3.log.some(({ operation, status }) => operation === 'GetObject' && status === 404))
  })
}

test('a segment that becomes whole, with its chunks deleted, is served whole', async (t) => {
  const { archive, chunks } = await objects()
  const { s3, store, data } = await setUp(t)
  for (const key of archive.store.keys) s3.objects.set(key, archive.store.peek(key))
  const full = wal.fork().fillTo(3 * segmentBytes, 'a')
  const whole = await archive.segment(full, 2)
  const completing = whenRead(s3, chunks.at(-1) ?? '', () => {
    s3.objects.set(whole, archive.store.peek(whole))
    for (const key of s3.objects.keys()) if (key.startsWith(chunkFolder(1, 2))) s3.objects.delete(key)
  })
  const { code, file, said } = await data.ask(store, name)
  assert.equal(code, 0, said)
  assert.ok(file?.equals(full.segment(2)))
  await completing
})

test('chunks that stay listed and can never be read are damage, not "absent"', async (t) => {
  const { archive, chunks } = await objects()
  const { s3, store, data } = await setUp(t)
  for (const key of archive.store.keys) s3.objects.set(key, archive.store.peek(key))
  s3.inject({ kind: 'error', status: 404, code: 'NoSuchKey' }, ({ operation, key }) => {
    return operation === 'GetObject' && key === chunks.at(-1)
  })
  assert.equal((await data.ask(store, name)).code, 201)
})
