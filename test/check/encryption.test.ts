import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { EncryptionKey } from '../../src/archive/encryption/key.ts'
import { claimIdentity } from '../../src/archive/identity.ts'
import { askEncryption, checkEncryption } from '../../src/check/encryption.ts'
import type { Finding } from '../../src/check/finding.ts'
import { askArchive } from '../../src/check/identity.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'

const secret = new EncryptionKey(Buffer.alloc(32, 7))
const other = new EncryptionKey(Buffer.alloc(32, 8))
const cluster = { systemIdentifier: '7574638451905423679', segmentBytes: 1024 * 1024 }

async function check(archive: Archive, hasStoreFailed = false): Promise<Finding> {
  const trial = await askEncryption(archive, deadline())
  return checkEncryption(archive.keyFingerprint, trial, await askArchive(archive, deadline()), hasStoreFailed)
}

test('a key that works is told by its fingerprint, no key is told as such, and nothing stays in the store', async () => {
  const store = new MemoryStore()
  const seen: string[] = []
  store.before = (operation, key) => {
    if (operation === 'get' && !seen.includes(key)) seen.push(key)
  }
  const on = await check(new Archive(store, secret))
  assert.deepEqual([on.state, on.what], ['ok', `on: the key works, and has the fingerprint ${secret.fingerprint}`])
  assert.match(seen.join(' '), /walferry_001\/check-/)
  const off = await check(new Archive(store))
  assert.deepEqual([off.state, off.what], ['ok', 'off: no key was given'])
  assert.deepEqual(store.keys, [])
})

test('a key that is not that of the archive fails, with what to do', async () => {
  for (const [begun, given, said] of [
    [secret, other, /encrypted, and another key was given/],
    [secret, null, /encrypted, and no key was given/],
    [null, secret, /not encrypted, and a key was given/],
  ] as const) {
    const store = new MemoryStore()
    await claimIdentity(new Archive(store, begun), cluster, { now: new Date(), signal: deadline() })
    const { state, what, remedy } = await check(new Archive(store, given))
    assert.equal(state, 'failed')
    assert.match(what, said)
    assert.ok(remedy)
    assert.equal((await check(new Archive(store, begun))).state, 'ok')
  }
})

test('what keeps an encrypted object from coming back is told, unless the store has failed anyway', async () => {
  const store = new MemoryStore()
  store.before = (operation) => {
    if (operation === 'put') throw new WalferryError('STORE_DENIED', 'injected', { hint: 'injected, too' })
  }
  const { state, what, remedy } = await check(new Archive(store, secret))
  assert.deepEqual([state, what, remedy], ['failed', 'injected', 'injected, too'])
  assert.equal((await check(new Archive(store, secret), true)).state, 'skipped')
})
