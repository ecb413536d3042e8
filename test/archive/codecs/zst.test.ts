import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeZst, type FrameDecoder, fzstdDecoder, nativeDecoder } from '../../../src/archive/codecs/zst-decode.ts'
import { encodeZst } from '../../../src/archive/codecs/zst-encode.ts'
import { isError } from '../../../src/kit/errors.ts'
import { seededRandom } from '../../support/random.ts'
import { zstSmall, zstStreamed, zstUnchecked } from '../samples.ts'
import { collect, flipped, inPieces, inRandomPieces, likeWal, resultOf, unlessDamaged } from '../streams.ts'

const key = 'x.zst'
const damage = { code: 'ARCHIVE_DAMAGED', message: /x\.zst/ }
const native = nativeDecoder()
const decoders: readonly (readonly [string, FrameDecoder])[] = [
  ['fzstd', fzstdDecoder()],
  ...(native === null ? [] : [['node:zlib', native] as const]),
]

for (const [name, decoder] of decoders) {
  const checked = (bytes: Uint8Array): Promise<boolean> => resultOf(decodeZst(inPieces(bytes, 100), key, decoder))
  const decodeAll = (bytes: Uint8Array, pieceBytes = 50): Promise<Buffer> =>
    collect(decodeZst(inPieces(bytes, pieceBytes), key, decoder))

  test(`${name}: what the zstd tool writes is read, with a content size and without`, async (t) => {
    const random = seededRandom(t)
    for (const sample of [zstSmall, zstUnchecked, zstStreamed]) {
      for (let round = 0; round < 5; round++) {
        const plain = await collect(decodeZst(inRandomPieces(sample.bytes, random), key, decoder))
        assert.ok(plain.equals(sample.plain), sample.by)
      }
    }
  })

  test(`${name}: whether a checksum covers the content is told`, async () => {
    assert.equal(await checked(zstSmall.bytes), true)
    assert.equal(await checked(zstUnchecked.bytes), false)
    assert.equal(await checked(Buffer.concat([zstUnchecked.bytes, zstSmall.bytes])), false)
  })

  test(`${name}: frames in a row and skippable frames are one content`, async () => {
    const skippable = Buffer.from('502a4d180500000068656c6c6f', 'hex')
    const empty = Buffer.from('28b52ffd240001000099e9d851', 'hex')
    const all = Buffer.concat([skippable, zstSmall.bytes, empty, skippable, zstStreamed.bytes, skippable])
    const plain = Buffer.concat([zstSmall.plain, zstStreamed.plain])
    for (const pieceBytes of [1, 7, 10_000]) assert.ok((await decodeAll(all, pieceBytes)).equals(plain))
  })

  test(`${name}: every flipped bit is an error, or changes nothing`, async () => {
    const { bytes, plain } = zstSmall
    let unnoticed = 0
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const result = await unlessDamaged(decodeAll(flipped(bytes, bit >> 3, 1 << (bit & 7)), 1000))
      if (result === null) continue
      assert.ok(result.equals(plain), `bit ${bit} gave other bytes`)
      unnoticed++
    }
    // The size of the window, and bits that the format does not use.
    assert.ok(unnoticed <= 16, `${unnoticed} flipped bits changed nothing`)
  })

  test(`${name}: every cut is an error`, async () => {
    for (const { bytes, by } of [zstSmall, zstUnchecked, zstStreamed]) {
      for (let length = 0; length < bytes.length; length++) {
        await assert.rejects(decodeAll(bytes.subarray(0, length)), damage, `${by}, cut to ${length}`)
      }
    }
  })

  test(`${name}: bytes behind the last frame are an error`, async () => {
    for (const garbage of ['00', '00000000', '28b52f', '28b52ffd', 'ffffffffffffffff']) {
      await assert.rejects(decodeAll(Buffer.concat([zstSmall.bytes, Buffer.from(garbage, 'hex')])), damage, garbage)
    }
  })
}

function refused(hex: string): Promise<Buffer> {
  return collect(decodeZst(inPieces(Buffer.from(hex, 'hex'), 9), key))
}

test('a frame that needs a dictionary or a huge window, and other content, are refused', async () => {
  await assert.rejects(refused('28b52ffd05582a010000'), { code: 'ARCHIVE_DAMAGED', message: /dictionary/ })
  await assert.rejects(refused('28b52ffd0490010000'), { code: 'ARCHIVE_DAMAGED', message: /window of 268435456 bytes/ })
  await assert.rejects(refused('04224d186470b900'), { code: 'ARCHIVE_DAMAGED', hint: /WALG_PGP_KEY/ })
})

test('fzstd: damage on which it would run for ever is ended', async () => {
  // A block whose Huffman table has one weight, which takes no bits.
  const endless = Buffer.from(
    '28b52ffd0458' + // frame header
      'd50300' + // the last block, compressed, 122 bytes
      '5a96012b' + // literals: Huffman, four streams
      '26' + // 38 bytes of weights
      'f003' + // all of probability 32 for the first of them
      'aa'.repeat(115),
    'hex',
  )
  const decoder = fzstdDecoder(200)
  await assert.rejects(collect(decodeZst(inPieces(endless, 1000), key, decoder)), (error: Error) => {
    assert.ok(isError(error, 'ARCHIVE_DAMAGED'))
    assert.match(String(error.cause), /timed out after 200ms/)
    return true
  })
})

test('writing needs a newer Node.js, and says so', {
  skip: native !== null && 'this Node.js can write zstd',
}, async () => {
  await assert.rejects(collect(encodeZst(inPieces(Buffer.alloc(10), 10))), { code: 'BAD_INPUT', hint: /22\.15.*lz4/ })
})

test('what is written has a checksum and is read by both decoders', {
  skip: native === null && 'this Node.js cannot write zstd',
}, async (t) => {
  const random = seededRandom(t)
  const plain = likeWal(3_000_000, random)
  const encoded = await collect(encodeZst(inPieces(plain, 100_000)))
  assert.ok(encoded.length < plain.length / 2)
  assert.equal(encoded.readUInt8(4) & 0x04, 0x04)
  for (const [, decoder] of decoders) {
    assert.ok((await collect(decodeZst(inPieces(encoded, 9999), key, decoder))).equals(plain))
  }
})
