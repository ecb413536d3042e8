/** An archive with a key, and what becomes of objects and keys that do not belong together. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import sodium from 'libsodium-wrappers'
import { Archive } from '../../../src/archive/archive.ts'
import { memoryAt, piecesOf } from '../../../src/archive/bytes-at.ts'
import { extensionOf, type WritableCodec } from '../../../src/archive/codec-name.ts'
import { nativeZstd } from '../../../src/archive/codecs/zst-native.ts'
import { EncryptionKey } from '../../../src/archive/encryption/key.ts'
import { claimIdentity, readIdentity } from '../../../src/archive/identity.ts'
import { chunkKey, segmentKey } from '../../../src/archive/keys.ts'
import { claimArchive, findOwner } from '../../../src/archive/owner.ts'
import { MemoryStore } from '../../support/memory-store.ts'
import { seededRandom } from '../../support/random.ts'
import { MadeArchive, nameOf } from '../../restore/made-archive.ts'
import { MadeWal, segmentBytes } from '../../restore/made-wal.ts'
import { gzSmall } from '../samples.ts'
import { collect, flipped, likeWal } from '../streams.ts'
import { openLikeWalG, sealLikeWalG } from './native.ts'

const signal = new AbortController().signal
const now = new Date('2026-11-21T01:38:00.000Z')
const raw = Buffer.alloc(32, 7)
const secret = new EncryptionKey(raw)
const otherSecret = new EncryptionKey(Buffer.alloc(32, 8))
const codecs: readonly WritableCodec[] = nativeZstd() === null ? ['lz4', 'none'] : ['lz4', 'zst', 'none']
const cluster = { systemIdentifier: '7574638451905423679', segmentBytes }

/** An object in a store of its own. */
async function stored(codec: WritableCodec, plain: Buffer, key: EncryptionKey | null): Promise<MemoryStore> {
  const store = new MemoryStore()
  const archive = new Archive(store, key)
  const pieces = archive.encode(codec, piecesOf(memoryAt(plain), 0, plain.length))
  await archive.store.put(`x${extensionOf(codec)}`, pieces, { signal, ifAbsent: true })
  return store
}

test('an archive with a key reads back what it wrote, in every compression, and vouches for every byte', async (t) => {
  const plain = likeWal(3_000_001, seededRandom(t))
  for (const codec of codecs) {
    const key = `x${extensionOf(codec)}`
    const store = await stored(codec, plain, secret)
    assert.ok(!Buffer.from(store.peek(key)).includes(plain.subarray(64, 80)))
    const archive = new Archive(store, secret)
    const read = await archive.readObject(key, plain.length, { signal })
    assert.ok((await collect(read)).equals(plain), codec)
    assert.equal(read.checked, true)
    assert.equal(await archive.sameContent(key, memoryAt(plain), plain.length, { signal }), true)
  }
})

test('what is encrypted is what is compressed without a key', async (t) => {
  const plain = likeWal(500_000, seededRandom(t))
  for (const codec of codecs) {
    const key = `x${extensionOf(codec)}`
    const encrypted = (await stored(codec, plain, secret)).peek(key)
    assert.ok(openLikeWalG(encrypted, raw).equals((await stored(codec, plain, null)).peek(key)), codec)
  }
})

test('an object that is not encrypted is refused where there is a key, in so many words', async (t) => {
  const plain = likeWal(300_000, seededRandom(t))
  for (const codec of codecs) {
    const key = `x${extensionOf(codec)}`
    const archive = new Archive(await stored(codec, plain, null), secret)
    const message = codec === 'none' ? /^x cannot be decrypted with/ : /^x\.\w+ is not encrypted, and a key was given$/
    await assert.rejects(archive.readSmall(key, plain.length, { signal }), { code: 'ENCRYPTION_KEY', message })
  }
  const store = new MemoryStore()
  store.set('x.gz', gzSmall.bytes)
  await assert.rejects(new Archive(store, secret).readSmall('x.gz', 1000, { signal }), {
    message: /x\.gz is not encrypted/,
  })
})

test('an encrypted object is refused where there is no key, in so many words', async (t) => {
  const plain = likeWal(300_000, seededRandom(t))
  for (const codec of codecs) {
    const key = `x${extensionOf(codec)}`
    const archive = new Archive(await stored(codec, plain, secret), null)
    const refusal =
      codec === 'none'
        ? { code: 'ARCHIVE_DAMAGED', message: /holds more than 300000 bytes/ }
        : { code: 'ENCRYPTION_KEY', message: /is encrypted .*there is no key/, hint: /--encryption-key-file/ }
    await assert.rejects(archive.readSmall(key, plain.length, { signal }), refusal)
  }
})

test('a flipped byte at the beginning of what is not encrypted is damage, and no missing key', async (t) => {
  const random = seededRandom(t)
  const plain = likeWal(10_000, random)
  for (const codec of codecs.filter((one) => one !== 'none')) {
    const key = `x${extensionOf(codec)}`
    for (const at of [0, 1, 2, 3]) {
      const store = await stored(codec, plain, null)
      store.set(key, flipped(store.peek(key), at, 1 + random.below(255)))
      const read = new Archive(store).readSmall(key, plain.length, { signal })
      await assert.rejects(read, { code: 'ARCHIVE_DAMAGED' }, `byte ${at} of ${codec}`)
    }
  }
})

test('what begins neither as the compression nor as something encrypted is damage', async () => {
  const page = '<!DOCTYPE html><html><head><title>Sign in to the network</title></head>'
  for (const bytes of [Buffer.alloc(4096), Buffer.from(page), new MadeWal().fillTo(segmentBytes * 2, 'a').segment(1)]) {
    const store = new MemoryStore()
    for (const key of ['x.lz4', 'x.zst']) {
      store.set(key, bytes)
      await assert.rejects(new Archive(store).readSmall(key, segmentBytes, { signal }), {
        code: 'ARCHIVE_DAMAGED',
        message: /not in the format/,
      })
    }
  }
})

test('JSON is read as it is, with a key, too', async () => {
  const store = new MemoryStore()
  store.set('basebackups_005/x_backup_stop_sentinel.json', Buffer.from('{"LSN":1}'))
  const read = new Archive(store, secret).readSmall('basebackups_005/x_backup_stop_sentinel.json', 100, { signal })
  assert.equal((await read).toString(), '{"LSN":1}')
})

test('another key is told with the object that it does not fit', async (t) => {
  const store = await stored('lz4', likeWal(100_000, seededRandom(t)), secret)
  await assert.rejects(new Archive(store, otherSecret).readSmall('x.lz4', 100_000, { signal }), {
    code: 'ENCRYPTION_KEY',
    message: /x\.lz4 cannot be decrypted with the key that was given/,
  })
})

test('encrypted bytes that are no compression are damage: the key was right', async () => {
  const store = new MemoryStore()
  store.set('x.lz4', sealLikeWalG(Buffer.from('no LZ4 frame'), raw))
  await assert.rejects(new Archive(store, secret).readSmall('x.lz4', 100, { signal }), {
    code: 'ARCHIVE_DAMAGED',
    message: /not in the format LZ4/,
  })
})

test('a tail is put together from encrypted chunks, and a planted one that is not encrypted is refused', async () => {
  const wal = new MadeWal().fillTo(segmentBytes + 300_000, 'a')
  const made = new MadeArchive(new MemoryStore(), secret)
  await made.chunk(wal, 1, 0, 100_000)
  await made.chunk(wal, 1, 100_000, 250_000)
  const archive = new Archive(made.store, secret)
  const into = Buffer.alloc(segmentBytes)
  const read = await archive.readTail(nameOf(1, 1), segmentBytes, memoryAt(into), { signal })
  assert.deepEqual(read, { found: 'tail', bytes: 250_000, checked: true, unreachable: [] })
  assert.ok(into.subarray(0, 250_000).equals(wal.segment(1).subarray(0, 250_000)))
  const plain = new MadeArchive(made.store)
  await plain.chunk(wal, 1, 250_000, 280_000)
  assert.ok(made.store.keys.includes(chunkKey(nameOf(1, 1), 250_000, 280_000, 'lz4')))
  await assert.rejects(archive.readTail(nameOf(1, 1), segmentBytes, memoryAt(into), { signal }), {
    code: 'ENCRYPTION_KEY',
  })
})

test('the archive remembers its key from the first use, by a fingerprint, and takes no other, none, or a late one', async () => {
  for (const [begun, then, message] of [
    [secret, otherSecret, /is encrypted, and another key was given/],
    [secret, null, /is encrypted, and no key was given/],
    [null, secret, /is not encrypted, and a key was given/],
  ] as const) {
    const store = new MemoryStore()
    const identity = await claimIdentity(new Archive(store, begun), cluster, { signal, now })
    assert.equal(identity.keyFingerprint, begun?.fingerprint ?? null)
    assert.deepEqual(await readIdentity(store, { signal }), identity)
    assert.deepEqual(await claimIdentity(new Archive(store, begun), cluster, { signal, now }), identity)
    assert.deepEqual(await findOwner(new Archive(store, begun), { signal }), identity)
    const refusal = { code: 'ENCRYPTION_KEY', message, hint: /another prefix/ }
    await assert.rejects(claimIdentity(new Archive(store, then), cluster, { signal, now }), refusal)
    await assert.rejects(findOwner(new Archive(store, then), { signal }), refusal)
    assert.equal(store.calls.put, 1)
  }
})

test('of two that begin an archive at once with different keys, one is refused', async () => {
  const store = new MemoryStore()
  const claims = [secret, null].map((key) => claimIdentity(new Archive(store, key), cluster, { signal, now }))
  const settled = await Promise.allSettled(claims)
  assert.deepEqual(settled.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
})

test('in an archive that WAL-G began, the first segment tells whether the key is right', async () => {
  const wal = new MadeWal().fillTo(2 * segmentBytes, 'a')
  for (const [begun, then] of [
    [secret, otherSecret],
    [secret, null],
    [null, secret],
  ] as const) {
    const made = new MadeArchive(new MemoryStore(), begun)
    await made.segment(wal, 1)
    const owner = await findOwner(new Archive(made.store, begun), { signal })
    assert.deepEqual(owner, { systemIdentifier: String(wal.systemIdentifier), segmentBytes })
    await assert.rejects(findOwner(new Archive(made.store, then), { signal }), {
      code: 'ENCRYPTION_KEY',
      message: new RegExp(segmentKey(nameOf(1, 1), 'lz4')),
    })
  }
})

test('an encrypted archive without compression, which WAL-G began, is not taken for a free one without the key', async () => {
  const wal = new MadeWal().fillTo(2 * segmentBytes, 'a')
  // Encrypted twice it is other noise, some of which looks like a header at first sight.
  for (let round = 0; round < 8; round++) {
    const made = new MadeArchive(new MemoryStore(), secret)
    await made.segment(wal, 1, nameOf(1, 1), 'none')
    await assert.rejects(claimArchive(new Archive(made.store), cluster, { signal, now }), {
      code: 'ARCHIVE_DAMAGED',
      message: /does not begin as a segment does: it is damaged, or encrypted, and no key was given/,
    })
    assert.deepEqual(made.store.keys, [segmentKey(nameOf(1, 1), 'none')])
  }
})

test('noise that has the magic number of WAL tells no owner', async () => {
  const store = new MemoryStore()
  const noise = Buffer.alloc(segmentBytes, 0x5b)
  noise.writeUInt16LE(0xd118)
  store.set(segmentKey(nameOf(1, 1), 'none'), noise)
  await assert.rejects(findOwner(new Archive(store), { signal }), { code: 'ARCHIVE_DAMAGED' })
})

test('encryption holds a bounded part of an object in memory, both ways', async () => {
  const total = 20 * 1024 * 1024
  const piece = Buffer.alloc(256 * 1024, 1)
  const counts = { given: 0, most: 0 }
  async function* source(): AsyncGenerator<Uint8Array> {
    for (; counts.given < total; counts.given += piece.length) yield piece
  }
  const store = new MemoryStore()
  const archive = new Archive(store, secret)
  let out = 0
  const parts: Uint8Array[] = []
  for await (const part of archive.encode('none', source())) {
    out += part.length
    parts.push(part)
    counts.most = Math.max(counts.most, counts.given - out)
  }
  assert.ok(counts.most <= 2 * piece.length, `${counts.most} bytes behind while it encrypts`)
  store.set('x', Buffer.concat(parts))
  let asked = 0
  let [read, most] = [0, 0]
  const get = store.get.bind(store)
  store.get = async (key, options) => {
    const pieces = await get(key, options)
    return (async function* counted() {
      for await (const one of pieces) {
        for (let at = 0; at < one.length; at += 10_000) {
          const part = one.subarray(at, at + 10_000)
          asked += part.length
          yield part
        }
      }
    })()
  }
  for await (const part of await archive.readObject('x', total, { signal })) {
    read += part.length
    most = Math.max(most, asked - read)
  }
  assert.equal(read, total)
  // The header and the tags are no part of what is read.
  assert.ok(most <= 128 * 1024 + (asked - total), `${most} bytes behind while it decrypts`)
})

/** Where libsodium's memory has room for a stream; it takes that room for good. */
function freeAddress(): number {
  return Number(sodium.crypto_secretstream_xchacha20poly1305_init_push(raw).state)
}

test('the memory of libsodium does not grow with the number of objects', async () => {
  await sodium.ready
  const archive = new Archive(new MemoryStore(), secret)
  const before = freeAddress()
  for (let round = 0; round < 300; round++) {
    await archive.store.put('x', archive.encode('none', piecesOf(memoryAt(Buffer.from('x')), 0, 1)), {
      signal,
      ifAbsent: false,
    })
    assert.equal((await archive.readSmall('x', 1, { signal })).toString(), 'x')
  }
  const grown = freeAddress() - before
  assert.ok(grown < 1000, `${grown} bytes`)
})
