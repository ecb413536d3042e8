import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Encryption, parseEncryption } from '../../src/store/encryption.ts'
import { readAll } from '../contract/object-store.ts'
import { setEnvironment } from '../support/environment.ts'
import { calls, failure, idle, moreThanOnePart, put, putIfAbsent, s3Setting } from './s3-setting.ts'

const arn = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab'

test('an encryption is a method, and a key only of the key management', () => {
  const table: readonly (readonly [string, Encryption | null])[] = [
    ['AES256', { algorithm: 'AES256' }],
    ['aws:kms', { algorithm: 'aws:kms' }],
    ['aws:kms:alias/wal', { algorithm: 'aws:kms', keyId: 'alias/wal' }],
    [`aws:kms:${arn}`, { algorithm: 'aws:kms', keyId: arn }],
    ['aws:kms:', null],
    ['aws:kms:a b', null],
    ['aes256', null],
    ['AES256:key', null],
    ['', null],
  ]
  for (const [text, encryption] of table) {
    if (encryption === null) assert.throws(() => parseEncryption(text), text)
    else assert.deepEqual(parseEncryption(text), encryption)
  }
})

test('every object is put with its encryption and storage class, whole or in parts, and nothing else is', async (t) => {
  const options = { encryption: { algorithm: 'aws:kms', keyId: arn }, storageClass: 'STANDARD_IA' } as const
  const { s3, store } = await s3Setting(t, options)
  await store.put('whole', Buffer.from('x'), putIfAbsent)
  await store.put('parts', moreThanOnePart(), putIfAbsent)
  for (const key of ['whole', 'parts']) {
    const { headers } = s3.objects.object(`prefix/${key}`) ?? assert.fail(key)
    assert.equal(headers['x-amz-server-side-encryption'], 'aws:kms')
    assert.equal(headers['x-amz-server-side-encryption-aws-kms-key-id'], arn)
    assert.equal(headers['x-amz-storage-class'], 'STANDARD_IA')
  }
  // The server refuses these headers on any other call.
  s3.objects.set('prefix/present', 'x')
  for (const [, call] of calls) await call(store)
})

test('without settings an object is put as the bucket has it', async (t) => {
  const { s3, store } = await s3Setting(t)
  await store.put('a', Buffer.from('x'), put)
  const names = Object.keys(s3.objects.object('prefix/a')?.headers ?? {})
  assert.deepEqual(
    names.filter((name) => name.startsWith('x-amz-')),
    [],
  )
})

test('a service that passes over the wish for encryption is found out, and keeps no parts', async (t) => {
  const { s3, store } = await s3Setting(t, { encryption: { algorithm: 'AES256' } }, { encrypts: false })
  const whole = await failure(store.put('a', Buffer.from('x'), put), 'STORE_FAILED')
  assert.match(whole.message, /s3:\/\/walferry\/prefix\/a was to be encrypted with AES256, and was not/)
  await failure(store.put('b', moreThanOnePart(), put), 'STORE_FAILED')
  assert.equal(s3.objects.uploads.size, 0)
  assert.equal(s3.objects.has('prefix/b'), false)
})

test('a storage class that the service does not have is its error', async (t) => {
  const { store } = await s3Setting(t, { storageClass: 'COLDER' })
  const error = await failure(store.put('a', Buffer.from('x'), put), 'STORE_FAILED')
  assert.match(error.message, /InvalidStorageClass/)
})

const tlsFolder = join(import.meta.dirname, '..', '..', '..', 'test', 'fixtures', 'tls')
const pem = (name: string): Buffer => readFileSync(join(tlsFolder, name))

test('an endpoint of https is spoken to if the authority that is named has signed for it, and not else', async (t) => {
  const tls = { cert: pem('server.crt'), key: pem('server.key') }
  const { s3, store, open } = await s3Setting(t, { authorities: pem('root.crt').toString() }, { tls })
  await store.put('a', Buffer.from('x'), putIfAbsent)
  assert.equal((await readAll(store, 'a')).toString(), 'x')
  const asked = s3.log.length
  // What switches the check off for all of Node.js does not switch this one off.
  t.after(setEnvironment({ NODE_TLS_REJECT_UNAUTHORIZED: '0' }))
  const { hostname, port } = new URL(s3.endpoint)
  assert.equal(hostname, 'localhost')
  for (const [what, options] of [
    ['another authority', { authorities: pem('other-root.crt').toString() }],
    ['another name', { endpoint: `https://127.0.0.1:${port}` }],
  ] as const) {
    const error = await failure(open(options).head('a', { signal: idle }), 'STORE_FAILED')
    assert.match(error.hint ?? '', /certificate.*--s3-ca-file/, what)
  }
  assert.equal(s3.log.length, asked)
})

test('an endpoint of https that none of the usual authorities has signed for is refused', async (t) => {
  const tls = { cert: pem('server.crt'), key: pem('server.key') }
  const { s3, store } = await s3Setting(t, {}, { tls })
  const arrived = s3.log.length
  await failure(store.put('a', Buffer.from('x'), put), 'STORE_FAILED')
  assert.equal(s3.log.length, arrived)
  assert.equal(s3.count('PutObject'), 0)
})

test('the signature covers what is put, but where TLS does, and a checksum goes with it', async (t) => {
  const tls = { cert: pem('server.crt'), key: pem('server.key') }
  for (const [server, calculation] of [
    [{}, undefined],
    [{ tls }, undefined],
    [{ tls }, 'when_required'],
  ] as const) {
    t.after(setEnvironment({ AWS_REQUEST_CHECKSUM_CALCULATION: calculation }))
    const { s3, store } = await s3Setting(t, { authorities: pem('root.crt').toString() }, server)
    const puts: [operation: string, sha256: unknown, hasCrc: boolean][] = []
    s3.inject({ kind: 'slow', latencyMs: 0 }, ({ operation, headers }) => {
      if (/^(PutObject|UploadPart)$/.test(operation)) {
        puts.push([operation, headers['x-amz-content-sha256'], headers['x-amz-checksum-crc32'] !== undefined])
      }
      return false
    })
    await store.put('a', Buffer.from('x'), put)
    await store.put('b', moreThanOnePart(), put)
    const sha256OfX = '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881'
    const isSummed = calculation === undefined
    const isLeftOut = 'tls' in server && isSummed
    assert.deepEqual(puts[0], ['PutObject', isLeftOut ? 'UNSIGNED-PAYLOAD' : sha256OfX, isSummed])
    assert.deepEqual([...new Set(puts.map(([operation]) => operation))], ['PutObject', 'UploadPart'])
    for (const [, sha256, hasCrc] of puts) {
      assert.equal(hasCrc, isSummed)
      assert.equal(sha256 === 'UNSIGNED-PAYLOAD', isLeftOut)
    }
  }
})
