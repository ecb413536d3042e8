import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SegmentWalk } from '../../src/wal/complete-segment.ts'
import { asLsn } from '../../src/wal/lsn.ts'
import { pageBytes } from '../../src/wal/page.ts'
import type { ExpectedSegment } from '../../src/wal/segment-check.ts'
import { seededRandom } from '../support/random.ts'
import { stateOf } from './segment-state.ts'
import { WalWriter } from './wal-writer.ts'

const segmentBytes = 1024 * 1024
const expected: ExpectedSegment = { segment: { timeline: 1, segno: 7 }, segmentBytes }
const start = asLsn(7 * segmentBytes)

/** A writer that has come this far, in records of some hundred bytes. */
function writerTo(offset: number, from = start): WalWriter {
  const writer = new WalWriter({ start: from, segmentBytes })
  while (Number(writer.position - from) < offset) writer.record(Buffer.alloc(700, 'x'))
  return writer
}

/** The segment as a recycled file: behind `bytes` lies what it held when it had another name. */
function recycled(bytes: Buffer): Buffer {
  const before = writerTo(segmentBytes, asLsn(2 * segmentBytes)).bytes()
  return Buffer.concat([bytes, before.subarray(bytes.length, segmentBytes)])
}

const full = writerTo(segmentBytes).bytes().subarray(0, segmentBytes)

test('a segment whose last record goes on in the next one is complete', () => {
  assert.deepEqual(stateOf(full, expected), { kind: 'complete', runsOn: true })
})

test('a segment whose last record ends with it is complete, and nothing runs on', () => {
  const writer = writerTo(segmentBytes - 5000)
  const room = segmentBytes - Number(writer.position - start)
  writer.record(Buffer.alloc(room - 24 - (room > pageBytes ? 24 : 0)))
  assert.deepEqual(stateOf(writer.bytes(), expected), { kind: 'complete', runsOn: false })
})

test('a segment that one record fills, begun before and not ended, is complete', () => {
  const writer = writerTo(segmentBytes - 5000)
  writer.record(Buffer.alloc(3 * segmentBytes))
  const second = writer.bytes().subarray(segmentBytes, 2 * segmentBytes)
  const ofSecond = { ...expected, segment: { timeline: 1, segno: 8 } }
  assert.deepEqual(stateOf(second, ofSecond), { kind: 'complete', runsOn: true })
  second.fill(0, segmentBytes - pageBytes)
  assert.equal(stateOf(second, ofSecond).kind, 'incomplete')
})

test('a segment that ends in a switch is complete, whatever lies behind it', () => {
  const writer = writerTo(300_000)
  writer.switchSegment()
  assert.deepEqual(stateOf(writer.bytes(), expected), { kind: 'complete', runsOn: false })
  const used = writer.bytes().subarray(0, 310_000)
  assert.deepEqual(stateOf(recycled(used), expected), { kind: 'complete', runsOn: false })
})

test('a tail is incomplete at every length, padded with zeros or lying in a recycled file', (t) => {
  const random = seededRandom(t)
  // What a server flushes ends with a record or with a page.
  const lengths = Array.from({ length: 20 }, () => writerTo(random.below(segmentBytes - 2000)).bytes().length)
  for (const length of [...lengths, pageBytes, 5 * pageBytes, segmentBytes - pageBytes]) {
    const tail = full.subarray(0, length)
    const padded = Buffer.concat([tail, Buffer.alloc(segmentBytes - length)])
    assert.equal(stateOf(padded, expected).kind, 'incomplete', `zeros from ${length} on`)
    assert.equal(stateOf(recycled(tail), expected).kind, 'incomplete', `a former life from ${length} on`)
  }
})

test('a fault with WAL of the segment behind it is damage, and says where', () => {
  const flipped = Buffer.from(full)
  flipped[50_000] = 0x55
  const state = stateOf(flipped, expected)
  assert.ok(state.kind === 'damaged')
  assert.match(state.reason, /record at 0\/70C[0-9A-F]{3} has a wrong checksum, and its WAL goes on at 0\/70E000$/)

  const emptyPage = Buffer.from(full)
  emptyPage.fill(0, 10 * pageBytes, 11 * pageBytes)
  assert.equal(stateOf(emptyPage, expected).kind, 'damaged')
})

test('pages may come in any portion, and fewer or more than a segment are damage', () => {
  const walk = new SegmentWalk(expected)
  walk.push(full.subarray(0, 3 * pageBytes))
  assert.deepEqual(walk.end(), { kind: 'damaged', reason: `it has 24576 bytes, and a segment has ${segmentBytes}` })
  walk.push(full.subarray(3 * pageBytes))
  assert.deepEqual(walk.end(), { kind: 'complete', runsOn: true })
  assert.throws(() => walk.push(Buffer.alloc(100)), /100 bytes are no whole pages/)
})
