import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EncryptionKey } from '../../../src/archive/encryption/key.ts'
import { decrypt, encrypt } from '../../../src/archive/encryption/secret-stream.ts'
import { isError } from '../../../src/kit/errors.ts'
import { type Random, seededRandom } from '../../support/random.ts'
import { collect, failingAfter, flipped, inPieces, inRandomPieces } from '../streams.ts'
import { type Chunk, openLikeWalG, sealChunks, sealLikeWalG, tags } from './native.ts'

const raw = Buffer.from('4c0829fdfe7ae1987918edc585b1a90556d901eaea963c7625bb5734576dfb59', 'hex')
const secret = new EncryptionKey(raw)
const batch = 8 * 8192
/** Around every border of chunks, and of what is done at once. */
const sizes = [0, 1, 8191, 8192, 8193, 16_383, 16_384, 16_385, batch - 1, batch, batch + 1, 3 * batch + 8192, 200_000]

function opened(bytes: Uint8Array, key = secret): Promise<Buffer> {
  return collect(decrypt(inPieces(bytes, 5000), 'wal_005/x.lz4', key))
}

test('what is encrypted has the chunks of WAL-G, and another libsodium reads it', async (t) => {
  const random = seededRandom(t)
  for (const size of sizes) {
    const plain = random.bytes(size)
    const encrypted = await collect(encrypt(inRandomPieces(plain, random), secret))
    assert.equal(encrypted.length, 24 + size + 17 * (Math.floor(size / 8192) + 1), String(size))
    assert.ok(openLikeWalG(encrypted, raw).equals(plain), String(size))
  }
})

test('what another libsodium has encrypted with the chunks of WAL-G is read', async (t) => {
  const random = seededRandom(t)
  for (const size of sizes) {
    const plain = random.bytes(size)
    const encrypted = sealLikeWalG(plain, raw)
    assert.ok((await collect(decrypt(inRandomPieces(encrypted, random), 'x', secret))).equals(plain), String(size))
  }
})

test('the same bytes are never encrypted to the same object', async () => {
  const [a, b] = await Promise.all([1, 2].map(() => collect(encrypt(inPieces(Buffer.alloc(100), 100), secret))))
  assert.notDeepEqual(a, b)
})

/** The bytes, or null where they were refused as damaged or as another key's. */
async function unlessRefused(bytes: Uint8Array): Promise<Buffer | null> {
  try {
    return await opened(bytes)
  } catch (error) {
    assert.ok(isError(error, 'ARCHIVE_DAMAGED', 'ENCRYPTION_KEY'), String(error))
    return null
  }
}

function sealedSample(size: number, random: Random): Buffer {
  return sealLikeWalG(random.bytes(size), raw)
}

test('an object that is cut is refused, wherever it is cut', async (t) => {
  const random = seededRandom(t)
  // Every place of a small one; those around the borders of chunks, where a cut looks like an end, of a larger one.
  const small = sealedSample(60, random)
  for (let end = 0; end < small.length; end++)
    assert.equal(await unlessRefused(small.subarray(0, end)), null, String(end))
  const large = sealedSample(batch + 9000, random)
  for (let border = 24; border < large.length; border += 8209) {
    for (const end of [border - 1, border, border + 1, border + 16, border + 17, border + 18]) {
      assert.equal(await unlessRefused(large.subarray(0, end)), null, String(end))
    }
  }
})

test('an object with a flipped bit is refused, wherever it is', async (t) => {
  const random = seededRandom(t)
  const small = sealedSample(60, random)
  for (let at = 0; at < small.length; at++) {
    assert.equal(await unlessRefused(flipped(small, at, 1 << random.below(8))), null, String(at))
  }
  const large = sealedSample(3 * batch, random)
  for (let round = 0; round < 40; round++) {
    const at = random.below(large.length)
    assert.equal(await unlessRefused(flipped(large, at, 1 << random.below(8))), null, String(at))
  }
})

test('chunks that were exchanged, repeated, left out or added are damage', async (t) => {
  const random = seededRandom(t)
  const bytes = sealedSample(5 * 8192 + 100, random)
  const header = bytes.subarray(0, 24)
  const chunks = [0, 1, 2, 3, 4, 5].map((at) => bytes.subarray(24 + at * 8209, 24 + (at + 1) * 8209))
  const [a, b, c, d, e, last] = chunks.map((chunk) => [chunk])
  assert.ok(a && b && c && d && e && last)
  const orders: readonly (readonly Uint8Array[])[] = [
    [...a, ...c, ...b, ...d, ...e, ...last],
    [...a, ...b, ...b, ...c, ...d, ...e, ...last],
    [...a, ...b, ...d, ...e, ...last],
    [...a, ...b, ...c, ...d, ...e],
    [...a, ...last],
    [...a, ...b, ...c, ...d, ...e, ...last, Buffer.alloc(1)],
    [...a, ...b, ...c, ...d, ...e, ...last, ...last],
  ]
  for (const [index, order] of orders.entries()) {
    await assert.rejects(opened(Buffer.concat([header, ...order])), { code: 'ARCHIVE_DAMAGED' }, String(index))
  }
})

test('only a chunk that says so is an end, and only chunks of the format are taken', async () => {
  const full = { message: Buffer.alloc(8192, 1), tag: tags.message }
  const short = { message: Buffer.alloc(10, 2), tag: tags.message }
  const refusals: readonly (readonly [readonly Chunk[], RegExp])[] = [
    [[full], /is cut: the end of its encryption is missing/],
    [[full, short], /is cut: the end of its encryption is missing/],
    [[full, { ...short, tag: tags.push }], /forbids/],
    [[full, { ...full, tag: tags.rekey }, { ...short, tag: tags.final }], /forbids/],
    [
      [
        { ...full, tag: tags.final },
        { ...short, tag: tags.final },
      ],
      /has other bytes behind its end/,
    ],
  ]
  for (const [chunks, message] of refusals) {
    await assert.rejects(opened(sealChunks(chunks, raw)), { code: 'ARCHIVE_DAMAGED', message })
  }
})

test('another key is told, in so many words', async (t) => {
  const random = seededRandom(t)
  for (const size of [0, 100, 100_000]) {
    await assert.rejects(opened(sealedSample(size, random), new EncryptionKey(random.bytes(32))), {
      code: 'ENCRYPTION_KEY',
      message: 'wal_005/x.lz4 cannot be decrypted with the key that was given',
      hint: /another key/,
    })
  }
})

test('an empty object is damage, and an error of the store stays what it is', async (t) => {
  await assert.rejects(opened(Buffer.alloc(0)), { code: 'ARCHIVE_DAMAGED', message: /is empty/ })
  const bytes = sealedSample(100_000, seededRandom(t))
  for (const upTo of [0, 10, 24, 50_000, bytes.length]) {
    const failing = failingAfter(bytes.subarray(0, upTo), 'connection lost')
    await assert.rejects(collect(decrypt(failing, 'x', secret)), { message: 'connection lost' })
    await assert.rejects(collect(encrypt(failingAfter(bytes.subarray(0, upTo), 'disk lost'), secret)), {
      message: 'disk lost',
    })
  }
})
