/** Where a key comes from, and that no message ever holds it. */
import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { gather, readConfig } from '../../src/cli/config.ts'
import { readEncryptionKey } from '../../src/cli/encryption-key.ts'
import { keyOptions } from '../../src/cli/open-store.ts'
import { isError } from '../../src/kit/errors.ts'
import { tempFolder } from '../support/temp.ts'

const hex = '4c0829fdfe7ae1987918edc585b1a90556d901eaea963c7625bb5734576dfb59'
const otherHex = hex.replace('4c', '4d')
const base64 = Buffer.from(hex, 'hex').toString('base64')
const phrase = 'a phrase of thirty-two letters..'

async function fileOf(t: TestContext, content: string | Buffer, mode = 0o600): Promise<string> {
  const file = join(await tempFolder(t), 'key file')
  await writeFile(file, content)
  await chmod(file, mode)
  return file
}

/** The key in hexadecimal digits. */
async function keyFrom(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string | null> {
  const config = readConfig(keyOptions, await gather(keyOptions, args, env))
  const key = await readEncryptionKey(config, env)
  return key === null ? null : Buffer.from(key.bytes()).toString('hex')
}

/** What the refusal says, message and hint. */
async function refusal(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const error = await keyFrom(args, env).then(
    () => assert.fail('taken'),
    (thrown: unknown) => thrown,
  )
  assert.ok(isError(error, 'BAD_INPUT'), String(error))
  const said = `${error.message}\n${error.hint}\n${JSON.stringify(error.fields)}`
  for (const secret of [hex, base64, phrase]) assert.ok(!said.includes(secret.slice(0, 10)), said)
  return said
}

const inHex = ['--encryption-key-transform', 'hex']

test('without a word of a key, there is none', async () => {
  assert.equal(await keyFrom([]), null)
  assert.equal(await keyFrom([], { WALG_LIBSODIUM_KEY: '', WALG_LIBSODIUM_KEY_PATH: '' }), null)
})

test('to say how a key is written, and to give none, is no way to go on without encryption', async () => {
  assert.match(await refusal(inHex), /no key was given\n.*--encryption-key-file/)
  assert.match(await refusal([], { WALG_LIBSODIUM_KEY: '', WALG_LIBSODIUM_KEY_TRANSFORM: 'hex' }), /no key was given/)
})

test('a key file is read in each transform, without the white space around the key', async (t) => {
  for (const [content, transform, expected] of [
    [`${hex}\n`, 'hex', hex],
    [` \t${hex}\r\n\r\n`, 'hex', hex],
    [`${base64}\n`, 'base64', hex],
    [`${phrase}\n`, 'none', Buffer.from(phrase).toString('hex')],
    [`${hex}\n`, 'none', Buffer.from(hex.slice(0, 32)).toString('hex')],
    [Buffer.from(hex, 'hex'), 'none', hex],
  ] as const) {
    const file = await fileOf(t, content)
    assert.equal(await keyFrom(['--encryption-key-file', file, '--encryption-key-transform', transform]), expected)
    const env = { WALG_LIBSODIUM_KEY_PATH: file, WALG_LIBSODIUM_KEY_TRANSFORM: transform }
    assert.equal(await keyFrom([], env), expected)
  }
  const file = await fileOf(t, `${phrase}\n`)
  assert.equal(await keyFrom(['--encryption-key-file', file]), Buffer.from(phrase).toString('hex'))
})

test("our option goes before WAL-G's variables, and WAL-G's key before its path, as with WAL-G", async (t) => {
  const [ours, theirs] = [await fileOf(t, otherHex), await fileOf(t, 'x'.repeat(64))]
  const env = { WALG_LIBSODIUM_KEY: hex, WALG_LIBSODIUM_KEY_PATH: theirs, WALG_LIBSODIUM_KEY_TRANSFORM: 'hex' }
  assert.equal(await keyFrom([], env), hex)
  assert.equal(await keyFrom(['--encryption-key-file', ours], env), otherHex)
  assert.equal(await keyFrom([], { ...env, WALFERRY_ENCRYPTION_KEY_FILE: ours }), otherHex)
  const inBase64 = { ...env, WALG_LIBSODIUM_KEY: base64 }
  assert.equal(await keyFrom(['--encryption-key-transform', 'base64'], inBase64), hex)
})

test('a key that reads like 32 random bytes is not cut in half because nobody has said how it is written', async (t) => {
  for (const text of [hex, base64]) {
    const said = await refusal([], { WALG_LIBSODIUM_KEY: text })
    assert.match(said, /^WALG_LIBSODIUM_KEY: .*hex or base64.*\n.*--encryption-key-transform/)
    assert.match(
      await refusal(['--encryption-key-file', await fileOf(t, `${text}\n`)]),
      /--encryption-key-file: .*key file/,
    )
  }
})

test('what cannot be used is named with its origin, and how a key is made', async (t) => {
  const missing = join(await tempFolder(t), 'missing')
  assert.match(
    await refusal(['--encryption-key-file', missing]),
    /--encryption-key-file: .*missing: .*cannot be read\n.*openssl/,
  )
  assert.match(
    await refusal([], { WALG_LIBSODIUM_KEY_PATH: missing }),
    /WALG_LIBSODIUM_KEY_PATH: .*missing: .*cannot be read/,
  )
  const folder = await tempFolder(t)
  assert.match(await refusal(['--encryption-key-file', folder]), /cannot be read/)
  for (const [content, transform, what] of [
    ['', 'none', /fewer than 25 characters/],
    ['\n', 'hex', /not 64 hexadecimal digits/],
    [hex.slice(1), 'hex', /not 64 hexadecimal digits/],
    [base64, 'hex', /not 64 hexadecimal digits/],
    [hex, 'base64', /not 32 bytes in base64/],
    [phrase, 'hex', /not 64 hexadecimal digits/],
  ] as const) {
    const args = ['--encryption-key-file', await fileOf(t, content), '--encryption-key-transform', transform]
    assert.match(await refusal(args), what)
  }
  assert.match(
    await refusal(['--encryption-key-transform', 'rot13']),
    /^--encryption-key-transform is not hex, base64 or none/,
  )
})

test('a key that was put into the place of something else is refused, and not repeated', async () => {
  for (const key of [hex, base64]) {
    assert.match(await refusal(['--encryption-key-file', key]), /reads like a key itself\n.*--encryption-key-file FILE/)
    assert.match(await refusal([], { WALG_LIBSODIUM_KEY_PATH: key }), /^WALG_LIBSODIUM_KEY_PATH: .*like a key itself/)
    assert.match(await refusal(['--encryption-key-transform', key]), /is not hex, base64 or none/)
  }
})

test('a key file that every user may access is refused; one for a group is not', async (t) => {
  for (const [mode, isTaken] of [
    [0o400, true],
    [0o600, true],
    [0o640, true],
    [0o604, false],
    [0o644, false],
    [0o602, false],
  ] as const) {
    const args = ['--encryption-key-file', await fileOf(t, hex, mode), ...inHex]
    if (isTaken) assert.equal(await keyFrom(args), hex)
    else assert.match(await refusal(args), /every user of the machine.*\n.*chmod 600/)
  }
})
