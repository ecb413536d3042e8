/**
 * The S3 server of the tests is as strict as Amazon's: what a client gets wrong must not pass here and fail there.
 * Driven by the plain AWS SDK, in ways that walferry's store never takes.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { setEnvironment } from './environment.ts'
import { type S3Server, type S3ServerOptions, startS3Server } from './s3-server.ts'

const Bucket = 'walferry'

async function start(
  t: TestContext,
  options: S3ServerOptions = {},
): Promise<{ s3: S3Server; client: S3Client; clientWith: (more: S3ClientConfig) => S3Client }> {
  const s3 = await startS3Server(options)
  setEnvironment(s3.environment)
  const clients: S3Client[] = []
  t.after(async () => {
    for (const client of clients) client.destroy()
    await s3.stop()
  })
  const clientWith = (more: S3ClientConfig): S3Client => {
    const client = new S3Client({ endpoint: s3.endpoint, forcePathStyle: true, maxAttempts: 1, ...more })
    clients.push(client)
    return client
  }
  return { s3, client: clientWith({}), clientWith }
}

/** The error code of S3 that a call ends with; for an answer without a body, the status. */
async function refusal(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => assert.fail('was not refused'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof Error)
  return error.name
}

test('signatures are checked: the secret, the key, the region, the clock, and that there is one', async (t) => {
  const { s3, client, clientWith } = await start(t)
  const put = new PutObjectCommand({ Bucket, Key: 'a b+c/ü%2F=&', Body: 'x', Metadata: { note: '  two  spaces ' } })
  await client.send(put)
  assert.deepEqual(s3.objects.keys(), ['a b+c/ü%2F=&'])
  const { accessKeyId, secretAccessKey } = s3
  const wrongSecret = { accessKeyId, secretAccessKey: 'wrong' }
  assert.equal(await refusal(clientWith({ credentials: wrongSecret }).send(put)), 'SignatureDoesNotMatch')
  const wrongKey = { accessKeyId: 'AKIAOTHER', secretAccessKey }
  assert.equal(await refusal(clientWith({ credentials: wrongKey }).send(put)), 'InvalidAccessKeyId')
  assert.equal(await refusal(clientWith({ region: 'eu-north-1' }).send(put)), 'AuthorizationHeaderMalformed')
  s3.clockSkewMs = -20 * 60 * 1000
  assert.equal(await refusal(clientWith({}).send(put)), 'RequestTimeTooSkewed')
  assert.equal((await fetch(`${s3.endpoint}/${Bucket}/a`)).status, 403)
})

test('bodies are held against what was said of them', async (t) => {
  const { s3, client, clientWith } = await start(t)
  const bytes = randomBytes(100_000)
  const Key = 'a'
  const wrongCrc = new PutObjectCommand({ Bucket, Key, Body: bytes, ChecksumCRC32: 'AAAAAA==' })
  assert.equal(await refusal(client.send(wrongCrc)), 'BadDigest')
  const wrongMd5 = new PutObjectCommand({ Bucket, Key, Body: bytes, ContentMD5: Buffer.alloc(16).toString('base64') })
  assert.equal(await refusal(client.send(wrongMd5)), 'BadDigest')
  const tampering = clientWith({})
  tampering.middlewareStack.add(
    (next) => (args) => {
      Object.assign(args.request ?? {}, { body: Buffer.from('tampered') })
      return next(args)
    },
    { step: 'finalizeRequest', priority: 'low' },
  )
  const original = new PutObjectCommand({ Bucket, Key, Body: Buffer.from('original') })
  assert.equal(await refusal(tampering.send(original)), 'XAmzContentSHA256Mismatch')
  assert.equal(s3.objects.size, 0)
})

test('a body that comes in chunks with a trailer is unwrapped', async (t) => {
  const { s3, client } = await start(t)
  const bytes = randomBytes(200_000)
  const Body = Readable.from([bytes.subarray(0, 1), bytes.subarray(1, 150_000), bytes.subarray(150_000)])
  await client.send(new PutObjectCommand({ Bucket, Key: 'a', Body, ContentLength: bytes.length }))
  assert.ok(s3.objects.get('a')?.equals(bytes))
})

test('an upload that breaks off is not stored', async (t) => {
  const { s3 } = await start(t)
  const { port, host } = new URL(s3.endpoint)
  const arrived = s3.arrival(() => true)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(`PUT /${Bucket}/a HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000\r\n\r\nonly the beginning`)
  await arrived
  socket.destroy()
  await once(socket, 'close')
  assert.equal(s3.objects.size, 0)
})

test('conditions on writes are honoured, refused or ignored, as the server was told', async (t) => {
  for (const [conditionalWrites, wanted] of [
    ['honoured', 'PreconditionFailed'],
    ['refused', 'NotImplemented'],
    ['ignored', undefined],
  ] as const) {
    const { s3, client } = await start(t, { conditionalWrites })
    const { etag } = s3.objects.set('a', 'old')
    for (const condition of [{ IfNoneMatch: '*' }, { IfMatch: '"0"' }]) {
      const write = client.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'new', ...condition }))
      if (wanted === undefined) await write
      else assert.equal(await refusal(write), wanted)
    }
    assert.equal(s3.objects.get('a')?.toString(), wanted === undefined ? 'new' : 'old')
    if (wanted === 'PreconditionFailed') {
      await client.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'new', IfMatch: etag }))
    }
  }
})

test('ranges, conditions and sums of GET are as they should be', async (t) => {
  const { s3, client } = await start(t)
  s3.objects.set('a', '0123456789')
  const get = async (more: object): Promise<string> => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: 'a', ...more }))
    assert.ok(Body instanceof Readable)
    return (await buffer(Body)).toString()
  }
  assert.equal(await get({ Range: 'bytes=2-4' }), '234')
  assert.equal(await get({ Range: 'bytes=8-99' }), '89')
  assert.equal(await get({ Range: 'bytes=-3' }), '789')
  assert.equal(await refusal(get({ Range: 'bytes=10-' })), 'InvalidRange')
  assert.equal(await refusal(get({ IfMatch: '"0"' })), 'PreconditionFailed')
  assert.equal(await refusal(get({ Key: 'b' })), 'NoSuchKey')
  const { ChecksumCRC32 } = await client.send(new HeadObjectCommand({ Bucket, Key: 'a', ChecksumMode: 'ENABLED' }))
  assert.equal(ChecksumCRC32, 'poTHxg==')
  s3.inject({ kind: 'corrupt', what: 'answer' })
  await assert.rejects(get({}))
})

test('listings have pages, prefixes, delimiters and an encoding', async (t) => {
  const { s3, client } = await start(t)
  for (const key of ['p/1/a', 'p/1/b', 'p/2/a', 'p/z', 'p/ü', 'q']) s3.objects.set(key, 'x')
  const folders = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'p/', Delimiter: '/' }))
  assert.deepEqual(
    folders.CommonPrefixes?.map((common) => common.Prefix),
    ['p/1/', 'p/2/'],
  )
  assert.deepEqual(
    folders.Contents?.map((object) => object.Key),
    ['p/z', 'p/ü'],
  )
  const pages: string[][] = []
  let token: string | undefined
  do {
    const input = { Bucket, MaxKeys: 2, Delimiter: '/', Prefix: 'p/', ContinuationToken: token, StartAfter: 'p/1/a' }
    const page = await client.send(new ListObjectsV2Command(input))
    const common = page.CommonPrefixes?.map((each) => each.Prefix ?? '') ?? []
    pages.push([...common, ...(page.Contents?.map((object) => object.Key ?? '') ?? [])])
    token = page.NextContinuationToken
  } while (token !== undefined)
  assert.deepEqual(pages, [
    ['p/1/', 'p/2/'],
    ['p/z', 'p/ü'],
  ])
  const encoded = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'p/ü', EncodingType: 'url' }))
  assert.equal(encoded.Contents?.[0]?.Key, 'p%2F%C3%BC')
})

test('an upload in parts is checked part by part', async (t) => {
  const { s3, client } = await start(t)
  const target = { Bucket, Key: 'a' }
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target))
  const part = async (PartNumber: number, Body: Buffer): Promise<{ PartNumber: number; ETag: string }> => {
    const { ETag = '' } = await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber, Body }))
    return { PartNumber, ETag }
  }
  const complete = (Parts: { PartNumber: number; ETag: string }[]): Promise<unknown> =>
    client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }))
  const large = await part(1, randomBytes(5 * 1024 * 1024))
  const small = await part(2, randomBytes(10))
  const last = await part(3, randomBytes(10))
  assert.equal(await refusal(complete([small, large])), 'InvalidPartOrder')
  assert.equal(await refusal(complete([large, small, last])), 'EntityTooSmall')
  assert.equal(await refusal(complete([large, { PartNumber: 2, ETag: last.ETag }])), 'InvalidPart')
  assert.equal((await client.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads?.[0]?.UploadId, UploadId)
  await complete([large, last])
  assert.equal(s3.objects.get('a')?.length, 5 * 1024 * 1024 + 10)
  assert.match(s3.objects.object('a')?.etag ?? '', /-2"$/)
  assert.equal(await refusal(client.send(new AbortMultipartUploadCommand({ ...target, UploadId }))), 'NoSuchUpload')
})

test('buckets are told apart', async (t) => {
  const { s3, client } = await start(t)
  await client.send(new CreateBucketCommand({ Bucket: 'other' }))
  assert.equal(await refusal(client.send(new CreateBucketCommand({ Bucket: 'other' }))), 'BucketAlreadyOwnedByYou')
  await client.send(new HeadBucketCommand({ Bucket: 'other' }))
  assert.equal(await refusal(client.send(new HeadBucketCommand({ Bucket: 'none' }))), 'NotFound')
  s3.objects.set('a', 'x')
  await client.send(new CopyObjectCommand({ Bucket: 'other', Key: 'b', CopySource: `${Bucket}/a` }))
  assert.deepEqual(s3.bucketNamed('other').keys(), ['b'])
  const Delete = { Quiet: true, Objects: [{ Key: 'b' }, { Key: 'none' }] }
  assert.equal((await client.send(new DeleteObjectsCommand({ Bucket: 'other', Delete }))).Deleted, undefined)
  assert.deepEqual(s3.objects.keys(), ['a'])
})

test('altered bytes of a stored object are the store’s own secret', async (t) => {
  const { s3, client } = await start(t)
  s3.inject({ kind: 'corrupt', what: 'stored' }, (request) => request.operation === 'PutObject', 1)
  await client.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'abc' }))
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: 'a' }))
  assert.ok(Body instanceof Readable)
  assert.notEqual((await buffer(Body)).toString(), 'abc')
})
