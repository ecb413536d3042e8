import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { claimIdentity, formatIdentity, parseIdentity, readIdentity } from '../../src/archive/identity.ts'
import { identityKey } from '../../src/archive/keys.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { MemoryStore } from '../support/memory-store.ts'

const { signal } = new AbortController()
const now = new Date('2026-11-21T01:38:00.000Z')
// Above 2^53, and odd: as a number it would be read as another one.
const mine = { systemIdentifier: '7574638451905423679', segmentBytes: 16 * 1024 * 1024 }
const others = { ...mine, systemIdentifier: '7574638451905423680' }

test('the first one to use an archive makes it its own, and finds it again', async () => {
  const store = new MemoryStore()
  assert.equal(await readIdentity(store, { signal }), null)
  const claimed = await claimIdentity(new Archive(store), mine, { signal, now })
  assert.deepEqual(claimed, { ...mine, firstUse: now, keyFingerprint: null })
  assert.deepEqual(await readIdentity(store, { signal }), claimed)
  assert.equal(
    Buffer.from(store.peek(identityKey)).toString(),
    '{"systemIdentifier":"7574638451905423679","segmentBytes":16777216,"firstUse":"2026-11-21T01:38:00.000Z"}',
  )
})

test('a later start leaves the object as it is', async () => {
  const store = new MemoryStore()
  await claimIdentity(new Archive(store), mine, { signal, now })
  const later = await claimIdentity(new Archive(store), mine, { signal, now: new Date('2027-01-01T00:00:00Z') })
  assert.deepEqual(later.firstUse, now)
  assert.equal(store.calls.put, 1)
})

test('another cluster is refused, by system identifier and by segment size, with both values', async () => {
  const store = new MemoryStore()
  await claimIdentity(new Archive(store), mine, { signal, now })
  await assert.rejects(claimIdentity(new Archive(store), others, { signal, now }), {
    code: 'ARCHIVE_FOREIGN',
    message: /7574638451905423679.*7574638451905423680/,
    hint: /bucket, prefix or directory/,
  })
  await assert.rejects(claimIdentity(new Archive(store), { ...mine, segmentBytes: 1024 * 1024 }, { signal, now }), {
    code: 'ARCHIVE_FOREIGN',
    message: /16777216.*1048576/,
  })
})

test('of two clusters that claim an archive at once, one is refused', async () => {
  const store = new MemoryStore()
  let puts = 0
  store.before = async (operation) => {
    // The other one gets in between looking and putting.
    if (operation === 'put' && ++puts === 1) await claimIdentity(new Archive(store), others, { signal, now })
  }
  await assert.rejects(claimIdentity(new Archive(store), mine, { signal, now }), { code: 'ARCHIVE_FOREIGN' })
  assert.deepEqual(await readIdentity(store, { signal }), { ...others, firstUse: now, keyFingerprint: null })
})

test('of two receivers of one cluster that claim an archive at once, both may go on', async () => {
  const store = new MemoryStore()
  const [a, b] = await Promise.all([
    claimIdentity(new Archive(store), mine, { signal, now }),
    claimIdentity(new Archive(store), mine, { signal, now: new Date('2026-11-21T01:38:00.001Z') }),
  ])
  assert.deepEqual(a, b)
})

test('an identity that cannot be read is damage, not a free archive', async () => {
  const good = { systemIdentifier: mine.systemIdentifier, segmentBytes: mine.segmentBytes, firstUse: now.toISOString() }
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    JSON.stringify({ ...good, systemIdentifier: undefined }),
    JSON.stringify({ ...good, systemIdentifier: 7574638451905423679n.toString() + 'x' }),
    formatIdentity({ ...mine, firstUse: now, keyFingerprint: null }).replaceAll(/"(\d+)"/g, '$1'), // a number, already rounded when it is read
    JSON.stringify({ ...good, segmentBytes: 12345 }),
    JSON.stringify({ ...good, segmentBytes: '16777216' }),
    JSON.stringify({ ...good, firstUse: 'yesterday' }),
    ' '.repeat(100_000) + JSON.stringify(good),
  ]) {
    const store = new MemoryStore()
    store.set(identityKey, Buffer.from(text))
    const damage = { code: 'ARCHIVE_DAMAGED', message: /identity\.json/ }
    await assert.rejects(claimIdentity(new Archive(store), mine, { signal, now }), damage, text.slice(0, 100))
    assert.equal(store.calls.put, 0)
  }
})

test('fields of later versions are passed over', () => {
  const identity = parseIdentity(
    Buffer.from(formatIdentity({ ...mine, firstUse: now, keyFingerprint: null }).replace('{', '{"new":[1],')),
  )
  assert.deepEqual(identity, { ...mine, firstUse: now, keyFingerprint: null })
})

test('a store that cannot be reached is not an archive without identity', async () => {
  const store = new MemoryStore()
  store.before = () => {
    throw new WalferryError('STORE_UNREACHABLE', 'no route', { retryable: true })
  }
  await assert.rejects(readIdentity(store, { signal }), { code: 'STORE_UNREACHABLE' })
  await assert.rejects(claimIdentity(new Archive(store), mine, { signal, now }), { code: 'STORE_UNREACHABLE' })
})
