import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c } from '../../src/wal/crc32c.ts'
import { seededRandom } from '../support/random.ts'
import { slowCrc32c } from './wal-writer.ts'

function sum(bytes: Uint8Array): number {
  return crc32c(0, bytes, 0, bytes.length)
}

test('known sums come out', () => {
  assert.equal(sum(Buffer.from('123456789')), 0xe3069283)
  assert.equal(sum(Buffer.alloc(0)), 0)
  // RFC 3720 (iSCSI), appendix B.4.
  assert.equal(sum(Buffer.alloc(32)), 0x8a9136aa)
  assert.equal(sum(Buffer.alloc(32, 0xff)), 0x62a8ab43)
  assert.equal(sum(Buffer.from(Array.from({ length: 32 }, (_, n) => n))), 0x46dd794e)
  assert.equal(sum(Buffer.from(Array.from({ length: 32 }, (_, n) => 31 - n))), 0x113fdb5c)
})

test('every length and alignment gives the sum of the definition', (t) => {
  const bytes = seededRandom(t).bytes(700)
  for (let from = 0; from < 9; from++) {
    for (let to = from; to <= bytes.length; to += to < 300 ? 1 : 37) {
      assert.equal(crc32c(0, bytes, from, to), slowCrc32c(bytes.subarray(from, to)), `${from} to ${to}`)
    }
  }
})

test('parts summed one after the other give the sum of the whole, wherever it is cut', (t) => {
  const random = seededRandom(t)
  const bytes = random.bytes(5000)
  const whole = sum(bytes)
  for (let round = 0; round < 200; round++) {
    let crc = 0
    for (let at = 0; at < bytes.length; ) {
      const to = Math.min(bytes.length, at + random.below(1200))
      crc = crc32c(crc, bytes, at, to)
      at = to
    }
    assert.equal(crc, whole)
  }
})
