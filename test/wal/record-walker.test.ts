import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Lsn, parseLsn, plus } from '../../src/wal/lsn.ts'
import { RecordWalker } from '../../src/wal/record-walker.ts'
import { type Random, seededRandom } from '../support/random.ts'
import { WalWriter } from './wal-writer.ts'

const segmentBytes = 1024 * 1024
/** Crosses 4 GiB of WAL within the second segment's first pages. */
const start = parseLsn('1/FFF00000')
const options = { start, segmentBytes, timeline: 1 }

/** All that a walk has found, in a form that can be compared. */
function found(walker: RecordWalker) {
  const { validEnd, firstRecord, lastRecord, endsInSwitch, completeUpTo, stopped } = walker
  return { validEnd, firstRecord, lastRecord, endsInSwitch, completeUpTo, stopped }
}

function walk(bytes: Uint8Array, more: Partial<ConstructorParameters<typeof RecordWalker>[0]> = {}): RecordWalker {
  const walker = new RecordWalker({ ...options, ...more })
  walker.push(bytes)
  return walker
}

function walkInPieces(bytes: Uint8Array, random: Random, from: Lsn): RecordWalker {
  const walker = new RecordWalker({ ...options, start: from })
  for (let at = 0; at < bytes.length; ) {
    const to = Math.min(bytes.length, at + 1 + random.below(random.pick([1, 9, 100, 9000, 300_000])))
    walker.push(bytes.subarray(at, to))
    at = to
  }
  return walker
}

test('records of every length up to three pages are verified, and the end is right after each', () => {
  const writer = new WalWriter(options)
  const ends: Lsn[] = []
  for (let length = 0; length < 400; length++) {
    writer.record(Buffer.alloc(length, length))
    ends.push(writer.position)
  }
  for (let length = 8100; length < 25_000; length += 101) {
    writer.record(Buffer.alloc(length, length))
    ends.push(writer.position)
  }
  const bytes = writer.bytes()
  const walker = new RecordWalker(options)
  let at = 0
  for (const end of ends) {
    const to = Number(end - start)
    const before = walker.validEnd
    walker.push(bytes.subarray(at, to - 1))
    assert.equal(walker.validEnd, before, 'one byte less is not enough')
    walker.push(bytes.subarray(to - 1, to))
    assert.equal(walker.validEnd, end)
    at = to
  }
  assert.equal(walker.firstRecord, plus(start, 40))
  assert.equal(walker.stopped, null)
})

test('a header may be cut by a page at 8 and at 16 bytes, and a record may end with its page', () => {
  // How much of the page is left for the second record.
  for (const left of [0, 8, 16, 24, 32]) {
    for (const length of [0, 1, 8, 100, 8192 * 3]) {
      const writer = new WalWriter(options)
      writer.record(Buffer.alloc(8192 - 40 - 24 - left))
      const second = writer.record(Buffer.alloc(length, 7))
      const walker = walk(writer.bytes())
      assert.equal(walker.lastRecord, second, `${left} left, ${length} long`)
      assert.equal(walker.validEnd, writer.position)
      assert.equal(second, plus(start, left === 0 ? 8192 + 24 : 8192 - left))
    }
  }
})

test('a record may fill several segments, and is verified where it ends', () => {
  const writer = new WalWriter(options)
  writer.record(Buffer.alloc(3))
  const end = writer.position
  const long = writer.record(Buffer.alloc(3_300_000, 5))
  const bytes = writer.bytes()
  const walker = walk(bytes.subarray(0, segmentBytes))
  assert.equal(walker.validEnd, end)
  assert.equal(walker.completeUpTo, plus(start, segmentBytes), 'the record runs past the end')
  walker.push(bytes.subarray(segmentBytes))
  assert.equal(walker.lastRecord, long)
  assert.equal(walker.validEnd, writer.position)
  assert.equal(walker.completeUpTo, plus(start, 3 * segmentBytes))
})

test('what began before the start is passed over, and proves nothing', () => {
  const writer = new WalWriter(options)
  writer.record(Buffer.alloc(3_300_000, 5))
  const next = writer.record(Buffer.alloc(50))
  const bytes = writer.bytes()
  const second = walk(bytes.subarray(segmentBytes, 2 * segmentBytes), { start: plus(start, segmentBytes) })
  assert.equal(second.validEnd, null)
  assert.equal(second.stopped, null)
  assert.equal(second.completeUpTo, plus(start, 2 * segmentBytes), 'a record runs through all of it')
  second.push(bytes.subarray(2 * segmentBytes))
  assert.equal(second.firstRecord, next)
  assert.equal(second.validEnd, writer.position)
  // The same, altered: the leftover has no sum that could tell.
  const altered = Buffer.from(bytes)
  altered[segmentBytes + 5000] = 99
  assert.equal(walk(altered.subarray(segmentBytes), { start: plus(start, segmentBytes) }).firstRecord, next)
  assert.match(walk(altered).stopped?.reason ?? '', /^the record at 1\/FFF00028 has a wrong checksum$/)
})

test('cut anywhere, the walk finds the same', (t) => {
  const random = seededRandom(t)
  const writer = new WalWriter(options)
  // Not in the zeros behind a switch: from there nothing is found.
  const later = plus(start, 5 * 8192)
  for (let n = 0; n < 150; n++) {
    writer.record(random.bytes(random.below(random.pick([10, 300, 9000, 60_000]))))
    if (writer.position > later && random.below(40) === 0) writer.switchSegment()
  }
  // The end is that of a record: behind a switch, it would lie before the rest of its segment.
  writer.record(random.bytes(50))
  const bytes = Buffer.concat([writer.bytes(), Buffer.alloc(100)])
  const expected = found(walk(bytes))
  assert.ok(expected.stopped !== null && expected.validEnd === writer.position)
  for (let round = 0; round < 60; round++) assert.deepEqual(found(walkInPieces(bytes, random, start)), expected)
  const ofLater = found(walk(bytes.subarray(5 * 8192), { start: later }))
  for (let round = 0; round < 20; round++) {
    assert.deepEqual(found(walkInPieces(bytes.subarray(5 * 8192), random, later)), ofLater)
  }
  assert.equal(ofLater.validEnd, expected.validEnd)
})

test('an XLOG_SWITCH completes its segment, whatever follows it there', () => {
  for (const rest of [0, 0xaa]) {
    const writer = new WalWriter(options)
    writer.record(Buffer.alloc(20_000))
    const at = writer.switchSegment(rest)
    const bytes = writer.bytes()
    const walker = walk(bytes.subarray(0, Number(at - start) + 24))
    assert.equal(walker.endsInSwitch, true)
    assert.equal(walker.lastRecord, at)
    assert.equal(walker.validEnd, plus(at, 24))
    assert.equal(walker.completeUpTo, plus(start, segmentBytes))
    walker.push(bytes.subarray(Number(at - start) + 24))
    assert.equal(walker.stopped, null)
    assert.equal(walker.validEnd, plus(at, 24), 'the rest of the segment is not a record')

    const next = writer.record(Buffer.alloc(70))
    walker.push(writer.bytes().subarray(segmentBytes))
    assert.equal(walker.endsInSwitch, false)
    assert.equal(walker.lastRecord, next)
    assert.equal(next, plus(start, segmentBytes + 40))
  }
})

test('a switch record that ends with its segment is one, too', () => {
  const writer = new WalWriter(options)
  while (writer.position < plus(start, segmentBytes - 8192)) writer.record(Buffer.alloc(8192 - 24 - 24))
  writer.record(Buffer.alloc(8192 - 48 - Number(writer.position % 8192n || 24n)))
  writer.switchSegment()
  assert.equal(writer.position, plus(start, segmentBytes))
  const next = writer.record(Buffer.alloc(9))
  const walker = walk(writer.bytes())
  assert.equal(walker.stopped, null)
  assert.equal(walker.lastRecord, next)
})

test('zeros are an end, and say so', () => {
  const writer = new WalWriter(options)
  writer.record(Buffer.alloc(50))
  const inPage = walk(writer.paddedBytes())
  assert.deepEqual([inPage.stopped?.kind, inPage.stopped?.at], ['empty', writer.position])
  assert.equal(inPage.completeUpTo, null)
  writer.record(Buffer.alloc(8192 - 24 - Number(writer.position % 8192n)))
  assert.equal(writer.position % 8192n, 0n)
  const atPage = walk(writer.paddedBytes())
  assert.deepEqual([atPage.stopped?.kind, atPage.stopped?.at], ['empty', writer.position])
  assert.equal(atPage.validEnd, writer.position)
})

test('what cannot be a record, or not the next one, stops the walk before it', () => {
  const writer = new WalWriter(options)
  const first = writer.record(Buffer.alloc(50, 1))
  const second = writer.record(Buffer.alloc(50, 2))
  const bytes = writer.bytes()
  const at = Number(second - start)
  const faults: [(record: Buffer) => unknown, RegExp][] = [
    [(record) => record.writeUInt32LE(23, 0), /has a length of 23 bytes/],
    [
      (record) => record.writeUInt32LE(8192 * 200, 0),
      /^the page at .* has 0 bytes of an earlier record, expected \d+$/,
    ],
    [(record) => record.writeUInt8(3, 30), /has a wrong checksum/],
    [(record) => record.writeUInt8(1, 4), /has a wrong checksum/],
    [(record) => record.writeUInt8(1, 20), /has a wrong checksum/],
    [(record) => record.writeBigUInt64LE(second, 8), /says that it follows the one at 1\/FFF00078/],
    [(record) => record.writeBigUInt64LE(first + 0x1_0000_0000n, 8), /says that it follows the one at 2\/FFF00028/],
  ]
  for (const [change, reason] of faults) {
    const changed = Buffer.alloc(8192)
    bytes.copy(changed)
    change(changed.subarray(at))
    const walker = walk(Buffer.concat([changed, pageAt(plus(start, 8192))]))
    assert.match(walker.stopped?.reason ?? 'no stop', reason)
    assert.equal(walker.stopped?.kind, 'invalid')
    assert.equal(walker.validEnd, second)
    assert.equal(walker.lastRecord, first)
    walker.push(Buffer.alloc(100_000))
    assert.equal(walker.validEnd, second, 'after a stop nothing is looked at')
  }
})

/** A page without anything on it but its header. */
function pageAt(at: Lsn): Buffer {
  const writer = new WalWriter({ start: at, segmentBytes })
  writer.record(Buffer.alloc(0))
  return writer.bytes()
}

test('a first record that names itself or a later one as its predecessor is refused', () => {
  for (const [previous, isRight] of [
    [start, true],
    [plus(start, 40), false],
    [plus(start, 0x1_0000_0000), false],
  ] as const) {
    const writer = new WalWriter(options)
    writer.record(Buffer.alloc(9), { previous })
    assert.equal(walk(writer.bytes()).validEnd !== null, isRight)
  }
})

test('a record of the former life of a recycled file is not taken, though its sum is right', () => {
  const old = new WalWriter(options)
  const oldRecords = [50, 50, 50, 50].map((length) => old.record(Buffer.alloc(length)))
  const now = new WalWriter(options)
  for (const length of [50, 0, 32]) now.record(Buffer.alloc(length))
  assert.equal(now.position, oldRecords[2], 'an old record begins where the new ones end')
  const bytes = old.bytes()
  now.bytes().copy(bytes)
  const walker = walk(bytes)
  assert.equal(walker.validEnd, now.position)
  assert.match(
    walker.stopped?.reason ?? 'no stop',
    /^the record at 1\/FFF000C8 says that it follows the one at 1\/FFF00078$/,
  )
})

test('a page of the former life of a recycled file ends the walk', () => {
  const old = new WalWriter({ ...options, start: plus(start, -3 * segmentBytes) })
  while (old.position < start) old.record(Buffer.alloc(700))
  const now = new WalWriter(options)
  now.record(Buffer.alloc(20_000))
  const bytes = Buffer.concat([
    now.bytes(),
    Buffer.alloc(8192 * 3 - now.bytes().length),
    old.bytes().subarray(8192 * 3),
  ])
  const walker = walk(bytes)
  assert.equal(walker.validEnd, now.position)
  // Within a record it ends it there.
  const cut = walk(Buffer.concat([now.bytes().subarray(0, 16384), old.bytes().subarray(16384)]))
  assert.equal(cut.validEnd, null)
  assert.deepEqual([cut.stopped?.at, cut.stopped?.kind], [plus(start, 16384), 'invalid'])
  assert.match(cut.stopped?.reason ?? '', /^the page at 1\/FFF04000 says that it is the one at 1\/FFC04000$/)
})

test('how much of a record is left must fit what its page says', () => {
  const writer = new WalWriter(options)
  writer.record(Buffer.alloc(20_000))
  for (const [offset, value, reason] of [
    [16, 1, /has 1 bytes of an earlier record, expected 11/],
    [16, 0, /goes on with a record of which nothing is left/],
    [2, 0, /has 0 bytes of an earlier record, expected 11/],
  ] as const) {
    const bytes = writer.bytes()
    bytes.writeUInt16LE(value, 8192 + offset)
    const walker = walk(bytes)
    assert.equal(walker.validEnd, null)
    assert.match(walker.stopped?.reason ?? '', reason)
  }
  const ended = new WalWriter(options)
  ended.record(Buffer.alloc(8192 - 40 - 24))
  ended.record(Buffer.alloc(8))
  const bytes = ended.bytes()
  bytes.writeUInt16LE(1, 8192 + 2)
  bytes.writeUInt32LE(32, 8192 + 16)
  assert.match(walk(bytes).stopped?.reason ?? '', /has 32 bytes of an earlier record, expected 0/)
})

test('a record whose end was lost is dropped where another one replaces it', () => {
  for (const lost of [1, 5000, 30_000, 1_500_000]) {
    const writer = new WalWriter(options)
    const first = writer.record(Buffer.alloc(1000))
    const given = writer.lostRecord(Buffer.alloc(2_000_000), lost)
    const replacement = writer.record(Buffer.alloc(16), { resourceManager: 0, info: 0xd0 })
    const last = writer.record(Buffer.alloc(100))
    const walker = walk(writer.bytes())
    assert.equal(walker.stopped, null)
    assert.equal(walker.firstRecord, first)
    assert.equal(walker.lastRecord, last)
    // Started within the lost record, too.
    const page = plus(given, 8192 - Number(given % 8192n))
    const later = walk(writer.bytes().subarray(Number(page - start)), { start: page })
    assert.equal(later.firstRecord, replacement)
    assert.equal(later.validEnd, writer.position)
  }
})

test('timelines may go up along the way, but not down, and not beyond what is expected', () => {
  const writer = new WalWriter({ ...options, timeline: 2 })
  writer.record(Buffer.alloc(9000))
  const firstEnd = writer.position
  writer.timeline = 3
  writer.record(Buffer.alloc(9000))
  assert.equal(walk(writer.bytes(), { timeline: 3 }).validEnd, writer.position)
  const beyond = walk(writer.bytes(), { timeline: 2 })
  assert.equal(beyond.validEnd, firstEnd)
  assert.match(beyond.stopped?.reason ?? '', /is of timeline 3, expected at most 2/)
  writer.timeline = 2
  writer.record(Buffer.alloc(9000))
  const down = walk(writer.bytes(), { timeline: 3 })
  assert.match(down.stopped?.reason ?? '', /is of timeline 2, after one of timeline 3/)
})

test('another system, and another version within one walk, stop it', () => {
  const writer = new WalWriter({ ...options, systemIdentifier: 77n })
  writer.record(Buffer.alloc(9000))
  assert.equal(walk(writer.bytes(), { systemIdentifier: 77n }).stopped, null)
  assert.match(
    walk(writer.bytes(), { systemIdentifier: 78n }).stopped?.reason ?? '',
    /is of the system 77, expected 78/,
  )
  const bytes = writer.bytes()
  bytes.writeUInt16LE(0xd106, 8192)
  assert.match(walk(bytes).stopped?.reason ?? '', /is of another PostgreSQL version than the one before/)
})

test('a walk starts with a page only', () => {
  assert.throws(
    () => new RecordWalker({ ...options, start: plus(start, 8) }),
    /1\/FFF00008, which does not begin a page/,
  )
})
