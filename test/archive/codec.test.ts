import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { memoryAt, piecesOf } from '../../src/archive/bytes-at.ts'
import { decode, encode } from '../../src/archive/codec.ts'
import { refuseUnreadable, refuseUnwritable } from '../../src/archive/codec-support.ts'
import { codecOfKey, extensionOf, type WritableCodec } from '../../src/archive/codec-name.ts'
import { nativeZstd } from '../../src/archive/codecs/zst-native.ts'
import { parseWalKey } from '../../src/archive/keys.ts'
import { seededRandom } from '../support/random.ts'
import { brSmall, gzSmall, lz4Small, lz4Unchecked, zstSmall, zstUnchecked } from './samples.ts'
import { collect, flipped, inPieces, likeWal, unlessDamaged } from './streams.ts'

const segmentBytes = 16 * 1024 * 1024
const walg = new URL('../../../test/fixtures/walg/', import.meta.url)

test('segments that WAL-G wrote are read whole, and their checksums hold', async () => {
  const keys = readdirSync(new URL('wal_005/', walg)).map((name) => `wal_005/${name}`)
  assert.equal(keys.length, 7)
  for (const key of keys) {
    const history = parseWalKey(key)?.kind === 'history'
    const size = history ? { atMost: 1000 } : segmentBytes
    const plain = decode(key, inPieces(readFileSync(new URL(key, walg)), 64 * 1024), size)
    const bytes = await collect(plain)
    assert.equal(plain.checked, true, key)
    if (history) assert.match(bytes.toString('ascii'), /^1\t0\/60001F8\tno recovery target specified\n$/)
    // The first page's magic number on PostgreSQL 15, and the flag of a long header.
    else assert.equal(bytes.readUInt32LE() & 0x0002ffff, 0x0002d110, key)
  }
})

test('a flipped byte in a segment that WAL-G wrote is an error, or changes nothing', async (t) => {
  const random = seededRandom(t)
  for (const name of ['000000020000000000000006.lz4', '000000010000000000000002.zst']) {
    const key = `wal_005/${name}`
    const bytes = readFileSync(new URL(key, walg))
    const plain = await collect(decode(key, inPieces(bytes, 64 * 1024), segmentBytes))
    for (let round = 0; round < 6; round++) {
      const at = random.below(bytes.length)
      const flippedBytes = flipped(bytes, at, 1 + random.below(255))
      const result = await unlessDamaged(collect(decode(key, inPieces(flippedBytes, 64 * 1024), segmentBytes)))
      // Some fields of zstd are not looked at by fzstd, and some distances of LZ4 lead to the same bytes.
      assert.ok(result === null || result.equals(plain), `byte ${at} of ${name} gave other bytes`)
    }
  }
})

/** What this Node.js can write. */
const writable: readonly WritableCodec[] = nativeZstd() === null ? ['lz4', 'none'] : ['lz4', 'zst', 'none']

test('a compression that this Node.js cannot write is refused before it is used, with what to do', async () => {
  for (const codec of ['lz4', 'zst', 'none'] as const) {
    if (writable.includes(codec)) await refuseUnwritable(codec)
    else
      await assert.rejects(refuseUnwritable(codec), { code: 'BAD_INPUT', message: /cannot write zstd/, hint: /22\.15/ })
  }
})

test('what is encoded decodes to the same bytes', async (t) => {
  const random = seededRandom(t)
  const plain = likeWal(9_000_001, random)
  for (const codec of writable) {
    const encoded = await collect(encode(codec, piecesOf(memoryAt(plain), 0, plain.length)))
    const decoded = decode(`x${extensionOf(codec)}`, inPieces(encoded, 60_000), plain.length)
    assert.ok((await collect(decoded)).equals(plain))
    assert.equal(decoded.checked, codec !== 'none')
  }
})

test('a piece may be overwritten as soon as the next one is asked for', async (t) => {
  const random = seededRandom(t)
  const plain = likeWal(3_000_000, random)
  async function* overwritten(): AsyncGenerator<Uint8Array> {
    const memory = Buffer.alloc(400_000)
    for (let at = 0; at < plain.length; ) {
      // From a few bytes, of which many would fit into any queue.
      const bytes = Math.min(plain.length - at, random.below(random.below(3) === 0 ? memory.length : 100) + 1)
      plain.copy(memory, 0, at, at + bytes)
      yield memory.subarray(0, bytes)
      memory.fill(0xee)
      at += bytes
    }
  }
  for (const codec of writable) {
    const pieces: Buffer[] = []
    for await (const piece of encode(codec, overwritten())) pieces.push(Buffer.from(piece))
    const stored = Buffer.concat(pieces)
    const back = await collect(decode(`x${extensionOf(codec)}`, inPieces(stored, 64 * 1024), plain.length))
    assert.ok(back.equals(plain), codec)
  }
})

test('a part of a file is encoded alone', async (t) => {
  const random = seededRandom(t)
  const plain = random.bytes(5000)
  const encoded = await collect(encode('lz4', piecesOf(memoryAt(plain), 1234, 4321)))
  assert.ok((await collect(decode('x.lz4', inPieces(encoded, 1000), 4321 - 1234))).equals(plain.subarray(1234, 4321)))
})

test('every compression is chosen by the extension, and says whether its content was checked', async () => {
  for (const [sample, checked] of [
    [lz4Small, true],
    [lz4Unchecked, false],
    [zstSmall, true],
    [zstUnchecked, false],
    [gzSmall, true],
    [brSmall, false],
  ] as const) {
    const decoded = decode(sample.key, inPieces(sample.bytes, 33), sample.plain.length)
    assert.throws(() => decoded.checked, /not read to its end/)
    assert.ok((await collect(decoded)).equals(sample.plain), sample.by)
    assert.equal(decoded.checked, checked, sample.by)
  }
})

test('what was iterated is not iterated again, as an empty object, and stays what it was', async () => {
  const decoded = decode(lz4Small.key, inPieces(lz4Small.bytes, 33), lz4Small.plain.length)
  await collect(decoded)
  assert.throws(() => decoded[Symbol.asyncIterator](), { name: 'Error', message: /iterated a second time/ })
  assert.equal(decoded.checked, true)
})

test('content of another size than promised is damage, for every compression', async () => {
  const plain = { key: 'wal_005/x', bytes: lz4Small.plain, plain: lz4Small.plain }
  for (const { key, bytes, plain: content } of [lz4Small, zstSmall, gzSmall, brSmall, plain]) {
    const read = (size: number | { readonly atMost: number }): Promise<Buffer> =>
      collect(decode(key, inPieces(bytes, 100), size))
    assert.equal((await read({ atMost: content.length })).length, content.length)
    for (const size of [content.length - 1, content.length + 1, { atMost: content.length - 1 }]) {
      await assert.rejects(read(size), { code: 'ARCHIVE_DAMAGED', message: new RegExp(key) })
    }
  }
})

test('an object that expands without end is given up as soon as it is too large', async () => {
  // 100 MiB of zeros, and the source counts how much of the object was asked for.
  const bytes = await collect(encode('lz4', piecesOf(memoryAt(Buffer.alloc(100 * 1024 * 1024)), 0, 100 * 1024 * 1024)))
  let asked = 0
  async function* source(): AsyncGenerator<Uint8Array> {
    for await (const piece of inPieces(bytes, 1000)) {
      asked += piece.length
      yield piece
    }
  }
  let given = 0
  await assert.rejects(
    async () => {
      for await (const piece of decode('bomb.lz4', source(), { atMost: 8 * 1024 * 1024 })) given += piece.length
    },
    { code: 'ARCHIVE_DAMAGED', message: /more than 8388608 bytes/ },
  )
  assert.equal(given, 8 * 1024 * 1024)
  assert.ok(asked < bytes.length / 4, `${asked} of ${bytes.length} bytes were asked for`)
})

test('LZMA is refused with what to do, before the object is opened and after', async () => {
  const refusal = { code: 'BAD_INPUT', message: /x\.lzma/, hint: /wal-g/ }
  assert.throws(() => refuseUnreadable('x.lzma'), refusal)
  refuseUnreadable('x.lz4')
  await assert.rejects(collect(decode('x.lzma', inPieces(Buffer.alloc(1), 1), 1)), refusal)
})

test('an unknown extension is no compression', () => {
  for (const key of ['wal_005/000000010000000000000001', 'wal_005/000000010000000000000001.', 'a.json', '2.history']) {
    assert.equal(codecOfKey(key), 'none', key)
  }
})
