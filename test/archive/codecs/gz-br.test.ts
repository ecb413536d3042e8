import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeBr } from '../../../src/archive/codecs/br.ts'
import { decodeGz } from '../../../src/archive/codecs/gz.ts'
import { seededRandom } from '../../support/random.ts'
import { brSmall, gzSmall } from '../samples.ts'
import { collect, failingAfter, flipped, inPieces, inRandomPieces, unlessDamaged } from '../streams.ts'

for (const [decode, sample] of [
  [decodeGz, gzSmall],
  [decodeBr, brSmall],
] as const) {
  const decodeAll = (bytes: Uint8Array, pieceBytes = 1000): Promise<Buffer> =>
    collect(decode(inPieces(bytes, pieceBytes), sample.key))
  const damage = { code: 'ARCHIVE_DAMAGED', message: new RegExp(sample.key) }

  test(`${sample.by}: is read, however it is cut`, async (t) => {
    const random = seededRandom(t)
    for (let round = 0; round < 20; round++) {
      assert.ok((await collect(decode(inRandomPieces(sample.bytes, random), sample.key))).equals(sample.plain))
    }
  })

  test(`${sample.by}: every cut is an error`, async () => {
    for (let length = 0; length < sample.bytes.length; length++) {
      await assert.rejects(decodeAll(sample.bytes.subarray(0, length)), damage, `cut to ${length}`)
    }
  })

  test(`${sample.by}: bytes behind the end are an error, in the same piece and in a later one`, async () => {
    for (const garbage of ['00', '78', '1f', '1f8b', '00'.repeat(100), 'ff'.repeat(70_000)]) {
      const bytes = Buffer.concat([sample.bytes, Buffer.from(garbage, 'hex')])
      for (const pieceBytes of [1, sample.bytes.length, 100_000]) {
        if (pieceBytes === 1 && bytes.length > 1000) continue
        await assert.rejects(decodeAll(bytes, pieceBytes), damage, `${garbage.slice(0, 8)} in pieces of ${pieceBytes}`)
      }
    }
  })

  test(`${sample.by}: an error of the store is thrown as it is`, async () => {
    const failing = failingAfter(sample.bytes.subarray(0, 60), 'connection lost')
    await assert.rejects(collect(decode(failing, sample.key)), { message: 'connection lost' })
  })
}

test('gzip: members in a row are one content', async () => {
  const both = Buffer.concat([gzSmall.bytes, gzSmall.bytes])
  for (const pieceBytes of [1, gzSmall.bytes.length, 1000]) {
    const plain = await collect(decodeGz(inPieces(both, pieceBytes), 'x.gz'))
    assert.ok(plain.equals(Buffer.concat([gzSmall.plain, gzSmall.plain])))
  }
})

test('gzip: every flipped byte is an error, or changes nothing', async (t) => {
  const random = seededRandom(t)
  let unnoticed = 0
  for (let at = 0; at < gzSmall.bytes.length; at++) {
    const bytes = flipped(gzSmall.bytes, at, 1 + random.below(255))
    const result = await unlessDamaged(collect(decodeGz(inPieces(bytes, 1000), 'x.gz')))
    if (result === null) continue
    assert.ok(result.equals(gzSmall.plain), `byte ${at} gave other bytes`)
    unnoticed++
  }
  // Time, flags and system in the header, and the bits that fill up the last byte.
  assert.ok(unnoticed <= 8, `${unnoticed} flipped bytes changed nothing`)
})
