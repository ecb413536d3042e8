import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatLsn, parseLsn, plus } from '../../src/wal/lsn.ts'
import { headerBytesOf, majorVersionOf, pageFault, readPageHeader } from '../../src/wal/page.ts'
import { firstPageFault, SegmentChecker } from '../../src/wal/segment-check.ts'
import { segmentStart } from '../../src/wal/segment.ts'
import { seededRandom } from '../support/random.ts'
import { WalWriter } from './wal-writer.ts'

const segmentBytes = 1024 * 1024
const segment = { timeline: 3, segno: 42 }
const systemIdentifier = 7_599_000_000_000_000_123n
const start = segmentStart(segment.segno, segmentBytes)
const expected = { segment, segmentBytes, systemIdentifier }

/** The whole segment, full of records, on timeline 3. */
function wholeSegment(timeline = 3): Buffer {
  const writer = new WalWriter({ start, segmentBytes, timeline, systemIdentifier })
  while (writer.position < plus(start, segmentBytes)) writer.record(Buffer.alloc(5000, 0x61))
  return writer.bytes().subarray(0, segmentBytes)
}

function changed(bytes: Buffer, at: number, write: (at: Buffer) => unknown): Buffer {
  const copy = Buffer.from(bytes)
  write(copy.subarray(at))
  return copy
}

function faultOf(bytes: Buffer): string | null {
  const checker = new SegmentChecker(expected)
  checker.push(bytes)
  return checker.end()
}

test('a first page is read as it is documented', () => {
  const bytes = Buffer.from(
    '18d1 0600 01000000 0000002a00000000 00000000 00000000 4f6b1c558ec97a69 00000001 00200000'.replaceAll(' ', ''),
    'hex',
  )
  const header = readPageHeader(bytes, 0)
  assert.ok(header?.long)
  assert.equal(majorVersionOf(header.magic), 18)
  assert.equal(header.timeline, 1)
  assert.equal(formatLsn(header.address), '0/2A000000')
  assert.equal(headerBytesOf(header), 40)
  assert.deepEqual(header.long, {
    systemIdentifier: 0x697ac98e551c6b4fn,
    segmentBytes: 16 * 1024 * 1024,
    pageBytes: 8192,
  })
  const page = { address: parseLsn('0/2A000000'), timeline: 1, segmentBytes: 16 * 1024 * 1024 }
  assert.equal(pageFault(header, page), null)
  assert.equal(readPageHeader(bytes.subarray(0, 39), 0), null)
  assert.equal(readPageHeader(bytes.subarray(0, 23), 0), null)
})

test('each supported version has its magic number, and a newer one is let through', () => {
  const magics = [0xd106, 0xd10d, 0xd110, 0xd113, 0xd116, 0xd118]
  assert.deepEqual(magics.map(majorVersionOf), [13, 14, 15, 16, 17, 18])
  assert.equal(majorVersionOf(0xd121), null)
  const newer = new WalWriter({ start, segmentBytes, timeline: 3, systemIdentifier, magic: 0xd1ff })
  newer.record(Buffer.alloc(10))
  assert.equal(firstPageFault(newer.bytes(), expected), null)
})

test('a first page is held against name, segment size and system; an earlier timeline may have written it', () => {
  const bytes = wholeSegment()
  assert.equal(firstPageFault(bytes, expected), null)
  assert.equal(firstPageFault(bytes.subarray(0, 40), { segment, segmentBytes }), null)
  assert.equal(firstPageFault(wholeSegment(1), expected), null)
  const faults: [Buffer, RegExp][] = [
    [bytes.subarray(0, 39), /^000000030000000000000002A: |ends within its first page's header, at byte 39/],
    [Buffer.alloc(0), /at byte 0/],
    [Buffer.alloc(40), /is empty/],
    [wholeSegment(4), /is of timeline 4, expected at most 3/],
    [changed(bytes, 4, (at) => at.writeUInt32LE(0)), /is of timeline 0/],
    [changed(bytes, 0, (at) => at.writeUInt16LE(0xd218)), /is no WAL page \(its magic number is D218\)/],
    [changed(bytes, 2, (at) => at.writeUInt16LE(0x12)), /has unknown flags \(0012\)/],
    [changed(bytes, 2, (at) => at.writeUInt16LE(0)), /begins a segment, but has no long header/],
    [changed(bytes, 8, (at) => at.writeBigUInt64LE(8192n)), /says that it is the one at 0\/2000/],
    [changed(bytes, 24, (at) => at.writeBigUInt64LE(5n)), /is of the system 5, expected 7599000000000000123/],
    [changed(bytes, 32, (at) => at.writeUInt32LE(16777216)), /of a segment of 16777216 bytes, expected 1048576/],
    [changed(bytes, 36, (at) => at.writeUInt32LE(16384)), /is one of 16384 bytes, expected 8192/],
  ]
  for (const [changedBytes, message] of faults) {
    assert.match(firstPageFault(changedBytes, expected) ?? 'no fault', message)
  }
  assert.match(firstPageFault(bytes, { ...expected, segment: { timeline: 3, segno: 43 } }) ?? '', /0\/2A00000/)
})

test('a whole segment is checked page by page, however it is cut', (t) => {
  const random = seededRandom(t)
  const bytes = wholeSegment()
  for (let round = 0; round < 50; round++) {
    const checker = new SegmentChecker(expected)
    for (let at = 0; at < bytes.length; ) {
      const to = Math.min(bytes.length, at + 1 + random.below(random.pick([3, 50, 20_000])))
      checker.push(bytes.subarray(at, to))
      at = to
    }
    assert.equal(checker.end(), null)
    assert.equal(checker.emptyFrom, null)
  }
})

test('a page that does not belong into the segment is found', () => {
  const bytes = wholeSegment()
  const page = 77 * 8192
  const faults: [Buffer, RegExp][] = [
    [changed(bytes, page + 8, (at) => at.writeBigUInt64LE(start)), /says that it is the one at 0\/2A00000/],
    [changed(bytes, page, (at) => at.writeUInt16LE(0xd106)), /offset 630784 is of another PostgreSQL version/],
    [changed(bytes, page + 4, (at) => at.writeUInt32LE(2)), /is of timeline 2, after one of timeline 3/],
    [changed(bytes, page + 4, (at) => at.writeUInt32LE(4)), /is of timeline 4, expected at most 3/],
    [changed(bytes, page + 2, (at) => at.writeUInt16LE(3)), /has a long header, but does not begin a segment/],
    [changed(bytes, page, (at) => at.fill(0, 0, 8192)), /offset 630784 is empty, but the one at 638976 is not/],
    [bytes.subarray(0, page), /has 630784 bytes, expected 1048576/],
    [Buffer.concat([bytes, bytes]), /has more than 1048576 bytes/],
    [Buffer.concat([bytes, Buffer.from('x')]), /has 1048577 bytes, expected 1048576/],
  ]
  for (const [changedBytes, message] of faults) assert.match(faultOf(changedBytes) ?? 'no fault', message)
})

test('a header is held against the same rules, whether it comes in one piece or in two', () => {
  const bytes = wholeSegment()
  const page = 77 * 8192
  for (let bit = 0; bit < 24 * 8; bit++) {
    const flipped = changed(bytes, page + (bit >> 3), (at) => at.writeUInt8((at[0] ?? 0) ^ (1 << (bit & 7))))
    const cut = new SegmentChecker(expected)
    cut.push(flipped.subarray(0, page + 1))
    cut.push(flipped.subarray(page + 1))
    const fault = faultOf(flipped)
    assert.equal(fault, cut.end(), `bit ${bit}`)
    // What follows the address says how a record goes on, which is not looked at here.
    const isSaid = bit >= 16 * 8 || [16, 18, 19].includes(bit)
    assert.equal(fault === null, isSaid, `bit ${bit}: ${fault}`)
  }
})

test('empty pages may end a segment', () => {
  const bytes = changed(wholeSegment(), 77 * 8192, (at) => at.fill(0))
  const checker = new SegmentChecker(expected)
  checker.push(bytes)
  assert.equal(checker.end(), null)
  assert.equal(checker.emptyFrom, 77 * 8192)
})

test('the first segment of a timeline begins with pages of its parent', () => {
  const writer = new WalWriter({ start, segmentBytes, timeline: 2, systemIdentifier })
  while (writer.position < plus(start, segmentBytes / 2)) writer.record(Buffer.alloc(500))
  writer.timeline = 3
  while (writer.position < plus(start, segmentBytes)) writer.record(Buffer.alloc(500))
  assert.equal(faultOf(writer.bytes().subarray(0, segmentBytes)), null)
})
