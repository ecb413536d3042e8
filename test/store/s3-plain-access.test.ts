/** Where objects are read without the SDK's client: nowhere that the SDK would not read them, and as nobody else. */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import type { HttpRequest } from '@smithy/core/protocols'
import { type Environment, findPlainAccess, plainAccess, type S3Place } from '../../src/store/s3-plain-access.ts'
import { setEnvironment } from '../support/environment.ts'
import { tempFolder } from '../support/temp.ts'

const keys = {
  AWS_ACCESS_KEY_ID: 'AKIA',
  AWS_SECRET_ACCESS_KEY: 'secret',
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
}
const own = { bucket: 'archive', endpoint: 'https://s3.example:9000' }

const plain: readonly (readonly [what: string, place: S3Place, env: Environment, url: string])[] = [
  ['an endpoint of one’s own', own, {}, 'https://s3.example:9000/archive/'],
  ['one without encryption', { ...own, endpoint: 'http://127.0.0.1/' }, {}, 'http://127.0.0.1/archive/'],
  ['one on its usual port', { ...own, endpoint: 'https://s3.example:443' }, {}, 'https://s3.example/archive/'],
  ['one at an IPv6 address', { ...own, endpoint: 'http://[::1]:9000' }, {}, 'http://[::1]:9000/archive/'],
  ['a prefix', { ...own, prefix: '/a/b.c/' }, {}, 'https://s3.example:9000/archive/a/b.c/'],
  ['a bucket with dots', { ...own, bucket: 'a.b-c' }, {}, 'https://s3.example:9000/a.b-c/'],
  ['a region', { ...own, region: 'eu-central-1' }, {}, 'https://s3.example:9000/archive/'],
  ['a session', own, { AWS_SESSION_TOKEN: 'token' }, 'https://s3.example:9000/archive/'],
  ['Amazon', { bucket: 'archive', region: 'eu-central-1' }, {}, 'https://archive.s3.eu-central-1.amazonaws.com/'],
  [
    'Amazon’s first region, by the variable, with a prefix',
    { bucket: 'archive', prefix: 'a' },
    { AWS_REGION: 'us-east-1' },
    'https://archive.s3.us-east-1.amazonaws.com/a/',
  ],
]

for (const [what, place, more, url] of plain) {
  test(`with ${what}, an object is read where and as whom the SDK reads it`, async (t) => {
    const env = { ...keys, ...more }
    const access = plainAccess(place, env)
    assert.ok(access !== null)
    assert.equal(access.origin.origin + access.folder, url)
    t.after(setEnvironment(env))
    const sdk = await askedBySdk(place)
    assert.equal(url, sdk.url)
    assert.equal(access.region, sdk.region)
    assert.deepEqual(access.credentials, sdk.credentials)
  })
}

const notPlain: readonly (readonly [what: string, place: S3Place, env: Environment])[] = [
  ['no key', own, { AWS_ACCESS_KEY_ID: undefined }],
  ['an empty secret', own, { AWS_SECRET_ACCESS_KEY: '' }],
  ['a profile', own, { AWS_PROFILE: 'other' }],
  ['a key that ends', own, { AWS_CREDENTIAL_EXPIRATION: '2030-01-01T00:00:00Z' }],
  [
    'an endpoint that only the SDK reads',
    { bucket: 'archive', region: 'eu-central-1' },
    { AWS_ENDPOINT_URL: 'http://a' },
  ],
  ['a wish about endpoints', { bucket: 'archive', region: 'eu-central-1' }, { AWS_USE_FIPS_ENDPOINT: 'true' }],
  ['a wish about checksums', own, { AWS_RESPONSE_CHECKSUM_VALIDATION: 'when_required' }],
  ['the bucket in the host’s name', { ...own, forcePathStyle: false }, {}],
  ['an endpoint in a folder', { ...own, endpoint: 'https://s3.example/folder' }, {}],
  ['an ARN', { ...own, bucket: 'arn:aws:s3:eu-central-1:1:accesspoint/a' }, {}],
  ['a directory bucket', { bucket: 'archive--euc1-az1--x-s3', region: 'eu-central-1' }, {}],
  ['a prefix that a URL writes otherwise', { ...own, prefix: 'a b' }, {}],
  ['a prefix with an empty part', { ...own, prefix: 'a//b' }, {}],
  ['Amazon and no region', { bucket: 'archive' }, {}],
  ['Amazon in China', { bucket: 'archive', region: 'cn-north-1' }, {}],
  ['a government’s Amazon', { bucket: 'archive', region: 'us-gov-west-1' }, {}],
  ['Amazon, and a bucket with dots', { bucket: 'a.b', region: 'eu-central-1' }, {}],
  ['Amazon, and the bucket in the path', { bucket: 'archive', region: 'eu-central-1', forcePathStyle: true }, {}],
]

for (const [what, place, more] of notPlain) {
  test(`${what} is left to the SDK`, () => {
    assert.equal(plainAccess(place, { ...keys, ...more }), null)
  })
}

test('where one of the SDK’s files is, the SDK is left to read it', async (t) => {
  const folder = await tempFolder(t)
  const missing = join(folder, 'missing')
  const file = join(folder, 'file')
  await writeFile(file, '[default]\nresponse_checksum_validation = when_required\n')
  for (const [config, credentials, isPlain] of [
    [missing, missing, true],
    ['/dev/null', missing, true],
    [file, missing, false],
    [missing, file, false],
    [join(file, 'below'), missing, false],
  ] as const) {
    const env = { ...keys, AWS_CONFIG_FILE: config, AWS_SHARED_CREDENTIALS_FILE: credentials }
    assert.equal((await findPlainAccess(own, env)) !== null, isPlain, `${config} and ${credentials}`)
  }
})

test('an empty variable does not hide the file in the home folder', async (t) => {
  const home = await tempFolder(t)
  t.after(setEnvironment({ HOME: home }))
  const env = { ...keys, AWS_CONFIG_FILE: '', AWS_SHARED_CREDENTIALS_FILE: '' }
  assert.notEqual(await findPlainAccess(own, env), null)
  await mkdir(join(home, '.aws'))
  await writeFile(join(home, '.aws/config'), '[default]\nuse_fips_endpoint = true\n')
  assert.equal(await findPlainAccess(own, env), null)
  assert.equal(await findPlainAccess(own, keys), null)
})

interface Asked {
  readonly url: string
  readonly region: string
  readonly credentials: object
}

/** What the SDK makes of the same: up to the request, which is not sent. */
async function askedBySdk({ bucket, prefix, endpoint, region, forcePathStyle }: S3Place): Promise<Asked> {
  const isOwn = endpoint !== undefined
  const client = new S3Client({
    ...(isOwn ? { endpoint } : {}),
    ...(region === undefined ? (isOwn ? { region: 'us-east-1' } : {}) : { region }),
    forcePathStyle: forcePathStyle ?? isOwn,
    requestHandler: {
      handle: ({ protocol, headers, path }: HttpRequest): never => {
        throw Object.assign(new Error('enough'), { url: `${protocol}//${headers['host']}${path}`, headers })
      },
    },
    maxAttempts: 1,
  })
  const folder = (prefix ?? '').replaceAll(/^\/|\/$/g, '')
  const command = new GetObjectCommand({ Bucket: bucket, Key: `${folder === '' ? '' : `${folder}/`}key` })
  const sent: unknown = await client.send(command).catch((error: unknown) => error)
  assert.ok(sent instanceof Error && 'url' in sent && 'headers' in sent, String(sent))
  const authorization = String(Reflect.get(Object(sent.headers), 'authorization'))
  const [, signedFor = ''] = /Credential=[^/]+\/[0-9]+\/([^/]+)\/s3\//.exec(authorization) ?? []
  const { accessKeyId, secretAccessKey, sessionToken } = await client.config.credentials()
  return {
    url: String(sent.url).replace(/key$/, ''),
    region: signedFor,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
  }
}
