import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { EncryptionKey, type KeyTransform, parseKey, unsaidTransform } from '../../../src/archive/encryption/key.ts'

const hex = '4c0829fdfe7ae1987918edc585b1a90556d901eaea963c7625bb5734576dfb59'
const bytes = Buffer.from(hex, 'hex')

function parsed(text: string, transform: KeyTransform): string {
  return Buffer.from(parseKey(Buffer.from(text), transform).bytes()).toString('hex')
}

test('a key is read as WAL-G reads it, in each of its transforms', () => {
  assert.equal(parsed(hex, 'hex'), hex)
  assert.equal(parsed(hex.toUpperCase(), 'hex'), hex)
  assert.equal(parsed(bytes.toString('base64'), 'base64'), hex)
  const short = 'TEST_LIBSODIUM_KEY_______' // 25 characters
  assert.equal(parsed(short, 'none'), Buffer.from(`${short}${'\0'.repeat(7)}`).toString('hex'))
  const exact = 'exactly thirty-two characters...'
  assert.equal(parsed(exact, 'none'), Buffer.from(exact).toString('hex'))
  assert.equal(parsed(`${exact} and more`, 'none'), Buffer.from(exact).toString('hex'))
  // Bytes count, as in Go, and not characters.
  assert.equal(parsed('ü'.repeat(13), 'none'), Buffer.from(`${'ü'.repeat(13)}${'\0'.repeat(6)}`).toString('hex'))
  assert.equal(Buffer.from(parseKey(bytes, 'none').bytes()).toString('hex'), hex)
})

test('what is no key is refused, and not repeated', () => {
  for (const [text, transform] of [
    ['', 'hex'],
    ['', 'base64'],
    ['', 'none'],
    [hex.slice(2), 'hex'],
    [`${hex}00`, 'hex'],
    [hex.replace('4c', 'xx'), 'hex'],
    [`${hex} `, 'hex'],
    [bytes.toString('base64'), 'hex'],
    [hex, 'base64'],
    [bytes.subarray(1).toString('base64'), 'base64'],
    [bytes.toString('base64').replace('=', ''), 'base64'],
    [Buffer.alloc(32, 255).toString('base64url'), 'base64'],
    ['only twenty-four of them', 'none'],
  ] as const) {
    assert.throws(
      () => parseKey(Buffer.from(text), transform),
      (error) =>
        error instanceof Error && error.message !== '' && (text === '' || !inspect(error).includes(text.slice(0, 8))),
      `${transform}: ${text}`,
    )
  }
})

test('a key of which nobody has said how it is written is the characters themselves, unless that is doubtful', () => {
  assert.equal(unsaidTransform(Buffer.from('a passphrase of some length')), 'none')
  assert.equal(unsaidTransform(bytes), 'none')
  assert.equal(unsaidTransform(Buffer.from(hex)), null)
  assert.equal(unsaidTransform(Buffer.from(bytes.toString('base64'))), null)
})

test('a key does not show when it is printed, and its fingerprint tells keys apart', () => {
  const key = new EncryptionKey(bytes)
  for (const shown of [inspect(key, { depth: 9, showHidden: true }), JSON.stringify({ key })]) {
    assert.ok(!shown.includes(hex.slice(0, 8)) && !shown.includes('76, 8, 41'), shown)
  }
  assert.match(key.fingerprint, /^[0-9a-f]{16}$/)
  assert.equal(key.fingerprint, new EncryptionKey(Buffer.from(bytes)).fingerprint)
  const other = Buffer.from(bytes)
  other.writeUInt8(other.readUInt8(31) ^ 1, 31)
  assert.notEqual(key.fingerprint, new EncryptionKey(other).fingerprint)
  assert.ok(!hex.includes(key.fingerprint))
})
