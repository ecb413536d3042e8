import assert from 'node:assert/strict'
import { test } from 'node:test'
import lz4 from 'lz4-napi'
import { decodeLz4 } from '../../../src/archive/codecs/lz4-decode.ts'
import { encodeLz4 } from '../../../src/archive/codecs/lz4-encode.ts'
import { loadXxhash } from '../../../src/archive/codecs/xxhash.ts'
import { seededRandom } from '../../support/random.ts'
import { lz4BlockSums, lz4Linked, lz4Small, lz4Unchecked } from '../samples.ts'
import {
  collect,
  failingAfter,
  flipped,
  inPieces,
  inRandomPieces,
  likeWal,
  resultOf,
  unlessDamaged,
} from '../streams.ts'

const key = 'x.lz4'
const blockBytes = 256 * 1024
const damage = { code: 'ARCHIVE_DAMAGED', message: /x\.lz4/ }

function decodeAll(bytes: Uint8Array, pieceBytes = 1000): Promise<Buffer> {
  return collect(decodeLz4(inPieces(bytes, pieceBytes), key))
}

function checked(bytes: Uint8Array): Promise<boolean> {
  return resultOf(decodeLz4(inPieces(bytes, 100), key))
}

test('what the lz4 tool writes is read: linked blocks, block checksums, content size, small blocks', async (t) => {
  const random = seededRandom(t)
  for (const sample of [lz4Linked, lz4BlockSums, lz4Unchecked, lz4Small]) {
    for (let round = 0; round < 5; round++) {
      const plain = await collect(decodeLz4(inRandomPieces(sample.bytes, random), key))
      assert.ok(plain.equals(sample.plain), sample.by)
    }
  }
})

test('whether a checksum covers the content is told', async () => {
  assert.equal(await checked(lz4Small.bytes), true)
  assert.equal(await checked(lz4Linked.bytes), true)
  assert.equal(await checked(lz4Unchecked.bytes), false)
  assert.equal(await checked(Buffer.concat([lz4Small.bytes, lz4Unchecked.bytes])), false)
})

test('what is written is one standard frame, and another reader reads it', async (t) => {
  const random = seededRandom(t)
  for (const bytes of [0, 1, 100, blockBytes - 1, blockBytes, 2 * blockBytes + 12_345]) {
    const plain = bytes < 4 ? random.bytes(bytes) : likeWal(bytes, random)
    const encoded = await collect(encodeLz4(inPieces(plain, random.pick([blockBytes, 1_000_000, 777]))))
    assert.equal(encoded.subarray(0, 7).toString('hex'), '04224d18645008')
    // lz4-napi's own reader stops after the first frame: all being there proves that there is one.
    assert.ok((await lz4.decompressFrame(encoded)).equals(plain), `${bytes} bytes`)
    assert.ok((await decodeAll(encoded, 100_000)).equals(plain), `${bytes} bytes`)
  }
})

test('without a checksum it is a standard frame, too, and another reader reads it', async (t) => {
  const plain = likeWal(blockBytes + 12_345, seededRandom(t))
  const encoded = await collect(encodeLz4(inPieces(plain, 100_000), { hasChecksum: false }))
  assert.equal(encoded.subarray(0, 7).toString('hex'), '04224d186050fb')
  assert.ok((await lz4.decompressFrame(encoded)).equals(plain))
  assert.ok((await decodeAll(encoded)).equals(plain))
  assert.equal(await checked(encoded), false)
})

test('what does not compress is stored as it is, and grows by four bytes for each block only', async (t) => {
  const random = seededRandom(t)
  const piece = random.bytes(200_000)
  const plain = Buffer.concat([piece, piece.map((byte) => byte ^ 0x5a)])
  const encoded = await collect(encodeLz4(inPieces(plain, 65_536)))
  assert.equal(encoded.length, 7 + 2 * 4 + plain.length + 8)
  assert.ok((await decodeAll(encoded)).equals(plain))
})

test('a piece is compressed while the one before is taken: at most a few are asked for ahead', async () => {
  let asked = 0
  async function* plain(): AsyncGenerator<Uint8Array> {
    for (let piece = 0; piece < 20; piece++) {
      asked++
      yield Buffer.alloc(blockBytes)
    }
  }
  let taken = 0
  for await (const _ of encodeLz4(plain())) {
    taken++
    assert.ok(asked - taken <= 4, `${asked} asked for, ${taken} taken`)
  }
  assert.equal(asked, 20)
})

test('an error of the plain bytes is thrown on', async () => {
  const broken = failingAfter(Buffer.alloc(blockBytes), 'spool is gone')
  await assert.rejects(collect(encodeLz4(broken)), { message: 'spool is gone' })
})

test('frames in a row and skippable frames are one content', async () => {
  const skippable = Buffer.from('5e2a4d180500000068656c6c6f', 'hex')
  const all = Buffer.concat([skippable, lz4Small.bytes, skippable, lz4Linked.bytes, lz4BlockSums.bytes, skippable])
  const plain = Buffer.concat([lz4Small.plain, lz4Linked.plain, lz4BlockSums.plain])
  for (const pieceBytes of [1, 7, 100_000]) assert.ok((await decodeAll(all, pieceBytes)).equals(plain))
})

test('every flipped bit is an error, or changes nothing', async (t) => {
  const random = seededRandom(t)
  const ours = await collect(encodeLz4(inPieces(likeWal(300, random), 300)))
  for (const [bytes, plain] of [
    [lz4Small.bytes, lz4Small.plain],
    [ours, await decodeAll(ours)],
  ] as const) {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const result = await unlessDamaged(decodeAll(flipped(bytes, bit >> 3, 1 << (bit & 7))))
      if (result === null) continue
      // Where text repeats, another distance can lead to the same bytes. Nowhere else may a flip pass.
      assert.ok(result.equals(plain), `bit ${bit} gave other bytes`)
      assert.ok(bit >= 11 * 8 && bit < (bytes.length - 8) * 8, `bit ${bit} of a header or checksum`)
    }
  }
})

test('every flipped byte of blocks with checksums is an error', async (t) => {
  const random = seededRandom(t)
  const { bytes } = lz4BlockSums
  for (let at = 0; at < bytes.length; at++) {
    await assert.rejects(decodeAll(flipped(bytes, at, 1 + random.below(255))), damage, `byte ${at}`)
  }
})

test('every cut is an error', async () => {
  for (const { bytes, by } of [lz4Small, lz4Linked, lz4BlockSums, lz4Unchecked]) {
    for (let length = 0; length < bytes.length; length++) {
      await assert.rejects(decodeAll(bytes.subarray(0, length)), damage, `${by}, cut to ${length}`)
    }
  }
})

test('bytes behind the last frame are an error', async (t) => {
  const random = seededRandom(t)
  for (const garbage of [[0], [0, 0, 0, 0], [4], [4, 0x22, 0x4d], [...random.bytes(300)]]) {
    await assert.rejects(decodeAll(Buffer.concat([lz4Small.bytes, Buffer.from(garbage)])), damage)
  }
})

test('a content size in the header that is not the content’s is an error', async () => {
  const bytes = Buffer.from(lz4Linked.bytes)
  assert.equal(bytes.readBigUInt64LE(6), BigInt(lz4Linked.plain.length))
  bytes.writeBigUInt64LE(BigInt(lz4Linked.plain.length + 1), 6)
  bytes.writeUInt8(((await loadXxhash()).h32Raw(bytes.subarray(4, 14)) >>> 8) & 0xff, 14)
  await assert.rejects(decodeAll(bytes), { code: 'ARCHIVE_DAMAGED', message: /140000 bytes and says 140001/ })
})

test('the legacy format and other content are refused with a word on encryption', async () => {
  for (const start of ['02214c18', '28b52ffd', '00000000']) {
    const bytes = Buffer.concat([Buffer.from(start, 'hex'), Buffer.alloc(100)])
    await assert.rejects(decodeAll(bytes), { code: 'ARCHIVE_DAMAGED', hint: /WALG_PGP_KEY/ })
  }
})

test('a block that claims more than the frame allows is refused before memory is taken', async () => {
  const huge = Buffer.from('04224d186470b9ffffff7f', 'hex')
  await assert.rejects(decodeAll(huge), { code: 'ARCHIVE_DAMAGED', message: /block of 2147483647 bytes/ })
})

test('an error of the store is thrown as it is, and the stream is closed when the reader stops', async () => {
  const failing = failingAfter(lz4Small.bytes.subarray(0, 50), 'connection lost')
  await assert.rejects(collect(decodeLz4(failing, key)), { message: 'connection lost' })

  let closed = false
  async function* watched(): AsyncGenerator<Uint8Array> {
    try {
      yield* inPieces(lz4BlockSums.bytes, 100)
    } finally {
      closed = true
    }
  }
  for await (const _ of decodeLz4(watched(), key)) break
  assert.equal(closed, true)
})
