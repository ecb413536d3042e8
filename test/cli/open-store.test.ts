import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gather, readConfig } from '../../src/cli/config.ts'
import { openArchive, storeOptions } from '../../src/cli/open-store.ts'
import { isError, type WalferryError } from '../../src/kit/errors.ts'
import { setEnvironment } from '../support/environment.ts'
import { startS3Server } from '../support/s3-server.ts'
import { tempFolder } from '../support/temp.ts'

const tlsFolder = join(import.meta.dirname, '..', '..', '..', 'test', 'fixtures', 'tls')
const rootFile = join(tlsFolder, 'root.crt')
const { signal } = new AbortController()

type Texts = Readonly<Record<string, string>>

async function configOf(flags: Texts, env: Texts = {}) {
  const args = Object.entries(flags).map(([name, text]) => `--${name}=${text}`)
  return readConfig(storeOptions, await gather(storeOptions, args, env))
}

async function refused(flags: Texts): Promise<WalferryError> {
  const error = await openArchive(await configOf({ store: 's3://b', ...flags })).then(
    () => assert.fail('opened'),
    (thrown: unknown) => thrown,
  )
  assert.ok(isError(error, 'BAD_INPUT'), String(error))
  return error
}

test('the options of S3 reach the service: certificate, encryption, storage class', async (t) => {
  const tls = { cert: readFileSync(join(tlsFolder, 'server.crt')), key: readFileSync(join(tlsFolder, 'server.key')) }
  const s3 = await startS3Server({ tls })
  t.after(() => s3.stop())
  t.after(setEnvironment(s3.environment))
  const env = {
    WALFERRY_STORE: 's3://walferry/some/prefix',
    WALFERRY_S3_ENDPOINT: s3.endpoint,
    WALFERRY_S3_CA_FILE: rootFile,
    WALFERRY_S3_SSE: 'aws:kms:alias/wal',
    WALFERRY_S3_STORAGE_CLASS: 'STANDARD_IA',
  }
  const { store } = await openArchive(await configOf({}, env))
  t.after(() => store.close())
  await store.put('a', Buffer.from('x'), { ifAbsent: true, signal })
  const { headers } = s3.objects.object('some/prefix/a') ?? assert.fail('not stored')
  assert.equal(headers['x-amz-server-side-encryption-aws-kms-key-id'], 'alias/wal')
  assert.equal(headers['x-amz-storage-class'], 'STANDARD_IA')
})

for (const [conditionalWrites, lines] of [
  ['honoured', []],
  ['refused', ['refused']],
  ['ignored', ['ignored']],
] as const) {
  test(`a store where conditions on writes are ${conditionalWrites} is warned of ${lines.length} times`, async (t) => {
    const s3 = await startS3Server({ conditionalWrites })
    t.after(() => s3.stop())
    t.after(setEnvironment(s3.environment))
    const warned: unknown[] = []
    const config = await configOf({ store: 's3://walferry/p', 's3-endpoint': s3.endpoint })
    const { store } = await openArchive(config, { warn: (_message, fields) => warned.push(fields) })
    t.after(() => store.close())
    for (const key of ['a', 'b', 'c']) await store.put(key, Buffer.from('x'), { ifAbsent: true, signal })
    assert.deepEqual(
      warned,
      lines.map((conditionalPut) => ({ store: 's3://walferry/p', conditionalPut })),
    )
  })
}

test('a file without a certificate is named before anything is sent', async (t) => {
  const folder = await tempFolder(t)
  const noCertificate = join(folder, 'ca.pem')
  writeFileSync(noCertificate, 'this is no certificate')
  for (const path of [noCertificate, join(folder, 'missing.pem'), folder, join(tlsFolder, 'server.key')]) {
    const error = await refused({ 's3-ca-file': path })
    // The path may come from a variable or a file: the option is named as all of them have it.
    assert.ok(error.message.startsWith(`the file of s3-ca-file, "${path}", `), error.message)
    assert.match(error.hint ?? '', /PEM/)
  }
})
