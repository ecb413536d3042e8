import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chunkKey, segmentKey } from '../../src/archive/keys.ts'
import { asLsn } from '../../src/wal/lsn.ts'
import { segmentName } from '../../src/wal/segment.ts'
import { durableAt, growthOf } from './durable-at.ts'

const segmentBytes = 1024 ** 2
const keyPrefix = 'archive/'

function chunk(segno: number, start: number, end: number): string {
  return keyPrefix + chunkKey(segmentName({ timeline: 1, segno }, segmentBytes), start, end, 'lz4')
}

function segment(segno: number): string {
  return keyPrefix + segmentKey(segmentName({ timeline: 1, segno }, segmentBytes), 'lz4')
}

function at(segno: number, offset: number) {
  return asLsn(segno * segmentBytes + offset)
}

test('a position is durable with the object that fills the last hole before it, whatever came in which order', () => {
  const stored = [
    { key: chunk(3, 0, 1000), atMs: 10 },
    { key: chunk(3, 2000, 3000), atMs: 20 },
    { key: chunk(3, 1000, 2000), atMs: 30 },
    { key: segment(4), atMs: 40 },
    { key: segment(3), atMs: 50 },
    { key: `${keyPrefix}walferry_001/identity.json`, atMs: 60 },
  ]
  const growth = growthOf(stored, { from: at(3, 500), segmentBytes, keyPrefix })
  const when = (segno: number, offset: number): number | null => durableAt(growth, at(segno, offset))
  assert.equal(when(3, 1000), 10)
  assert.equal(when(3, 1001), 30)
  assert.equal(when(3, 3000), 30)
  assert.equal(when(3, 3001), 50)
  assert.equal(when(5, 0), 50)
  assert.equal(when(5, 1), null)
})

test('nothing is durable where what comes first is missing', () => {
  const growth = growthOf([{ key: chunk(3, 1000, 2000), atMs: 10 }], { from: at(3, 500), segmentBytes, keyPrefix })
  assert.equal(durableAt(growth, at(3, 501)), null)
})
