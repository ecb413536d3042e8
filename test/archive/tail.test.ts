import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chunkKey } from '../../src/archive/keys.ts'
import { type Chunk, coveredBytes, planMerge, planTail } from '../../src/archive/tail.ts'
import { type Random, seededRandom } from '../support/random.ts'

const segment = '00000001000000000000002A'
const segmentBytes = 16 * 1024 * 1024

function chunk(start: number, end: number): Chunk {
  return { key: chunkKey(segment, start, end, 'lz4'), segment, start, end, codec: 'lz4' }
}

function ranges(chunks: readonly Chunk[]): (readonly [number, number])[] {
  return chunks.map(({ start, end }) => [start, end] as const).sort((a, b) => a[0] - b[0] || a[1] - b[1])
}

interface Case {
  readonly name: string
  readonly chunks: readonly (readonly [number, number])[]
  readonly bytes: number
  /** [start, end, from] of each part. */
  readonly run: readonly (readonly [number, number, number])[]
  readonly covered?: readonly (readonly [number, number])[]
  readonly unreachable?: readonly (readonly [number, number])[]
}

const cases: readonly Case[] = [
  { name: 'no chunk is no tail', chunks: [], bytes: 0, run: [] },
  { name: 'one chunk', chunks: [[0, 5]], bytes: 5, run: [[0, 5, 0]] },
  {
    name: 'chunks in a row',
    chunks: [
      [5, 9],
      [0, 5],
    ],
    bytes: 9,
    run: [
      [0, 5, 0],
      [5, 9, 5],
    ],
  },
  { name: 'nothing at byte 0 is no tail', chunks: [[1, 5]], bytes: 0, run: [], unreachable: [[1, 5]] },
  {
    name: 'a hole ends the run',
    chunks: [
      [0, 5],
      [6, 9],
      [9, 20],
    ],
    bytes: 5,
    run: [[0, 5, 0]],
    unreachable: [
      [6, 9],
      [9, 20],
    ],
  },
  {
    name: 'a merged chunk covers what it replaced, and the next one goes on',
    chunks: [
      [0, 5],
      [5, 9],
      [0, 9],
      [9, 12],
    ],
    bytes: 12,
    run: [
      [0, 9, 0],
      [9, 12, 9],
    ],
    covered: [
      [0, 5],
      [5, 9],
    ],
  },
  {
    name: 'a chunk that overlaps adds only what is new',
    chunks: [
      [0, 8],
      [4, 12],
    ],
    bytes: 12,
    run: [
      [0, 8, 0],
      [4, 12, 8],
    ],
  },
  {
    name: 'of overlapping chunks the fewest are needed',
    chunks: [
      [0, 4],
      [2, 6],
      [3, 10],
      [5, 11],
      [9, 15],
    ],
    bytes: 15,
    run: [
      [0, 4, 0],
      [3, 10, 4],
      [9, 15, 10],
    ],
    covered: [
      [2, 6],
      [5, 11],
    ],
  },
  { name: 'all bytes', chunks: [[0, segmentBytes]], bytes: segmentBytes, run: [[0, segmentBytes, 0]] },
]

for (const { name, chunks, bytes, run, covered = [], unreachable = [] } of cases) {
  test(`planTail: ${name}`, () => {
    const plan = planTail(
      chunks.map(([start, end]) => chunk(start, end)),
      segmentBytes,
    )
    assert.equal(plan.bytes, bytes)
    assert.deepEqual(
      plan.run.map((part) => [part.chunk.start, part.chunk.end, part.from]),
      run,
    )
    assert.deepEqual(ranges(plan.covered), ranges(covered.map(([start, end]) => chunk(start, end))))
    assert.deepEqual(ranges(plan.unreachable), ranges(unreachable.map(([start, end]) => chunk(start, end))))
  })
}

test('planTail: two objects of one range are both named', () => {
  const other: Chunk = { ...chunk(0, 5), key: chunkKey(segment, 0, 5, 'zst'), codec: 'zst' }
  const plan = planTail([chunk(0, 5), other], segmentBytes)
  assert.equal(plan.bytes, 5)
  assert.equal(plan.run.length, 1)
  assert.equal(plan.covered.length, 1)
})

test('planTail: a range that no chunk can have is damage', () => {
  for (const [start, end] of [
    [5, 5],
    [6, 5],
    [0, segmentBytes + 1],
    [segmentBytes, segmentBytes],
  ] as const) {
    assert.throws(() => planTail([chunk(0, 10), chunk(start, end)], segmentBytes), {
      code: 'ARCHIVE_DAMAGED',
      message: new RegExp(chunkKey(segment, start, end, 'lz4')),
    })
  }
})

test('planTail: for any chunks, the run is the longest, no shorter list covers it, and none is forgotten', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 2000; round++) {
    const size = 12
    const chunks = Array.from({ length: random.below(7) }, () => {
      const start = random.below(size)
      return chunk(start, start + 1 + random.below(size - start))
    })
    const plan = planTail(chunks, segmentBytes)
    const bytes = longestRun(chunks)
    assert.equal(plan.bytes, bytes)
    assert.equal(coveredBytes(chunks, segmentBytes), bytes)
    assert.equal(plan.run.length, fewestThatCover(chunks, bytes))
    const all = [...plan.run.map((part) => part.chunk), ...plan.covered, ...plan.unreachable]
    assert.deepEqual(ranges(all), ranges(chunks))
    for (const one of plan.unreachable) assert.ok(one.start > bytes)
    for (const one of plan.covered) assert.ok(one.end <= bytes)
    let before = { start: 0, from: 0, end: 0 }
    for (const { chunk: one, from } of plan.run) {
      assert.equal(from, before.end)
      assert.ok(one.end > from)
      // A reader writes several parts at once, and waits only for the one before.
      assert.ok(one.start >= before.from)
      before = { start: one.start, from, end: one.end }
    }
  }
})

function longestRun(chunks: readonly Chunk[]): number {
  for (let byte = 0; ; byte++) {
    if (!chunks.some(({ start, end }) => start <= byte && byte < end)) return byte
  }
}

function fewestThatCover(chunks: readonly Chunk[], bytes: number): number {
  let fewest = chunks.length
  for (let subset = 0; subset < 2 ** chunks.length; subset++) {
    const chosen = chunks.filter((_, index) => (subset >> index) & 1)
    if (longestRun(chosen) === bytes) fewest = Math.min(fewest, chosen.length)
  }
  return fewest
}

test('planMerge: fewer than eight chunks are left alone, eight equal ones become one', () => {
  const equal = Array.from({ length: 8 }, (_, at) => chunk(at * 10, at * 10 + 10))
  assert.equal(planMerge([]), null)
  assert.equal(planMerge(equal.slice(0, 7)), null)
  assert.deepEqual(planMerge(equal.toReversed()), { from: 0, to: 80, replaces: equal })
})

test('planMerge: a chunk that is larger than all behind it stays', () => {
  const small = Array.from({ length: 8 }, (_, at) => chunk(1000 + at, 1001 + at))
  assert.deepEqual(planMerge([chunk(0, 1000), ...small]), { from: 1000, to: 1008, replaces: small })
  assert.equal(planMerge([chunk(0, 1000), ...small.slice(0, 7)]), null)
})

/** Sizes of chunks as they arrive. */
const patterns: Readonly<Record<string, (index: number, random: Random) => number>> = {
  'equal sizes': () => 1600,
  'random sizes': (_, random) => 1 + random.below(3000),
  'sizes of any order of magnitude': (_, random) => 1 + random.below(2 ** random.below(12)),
  'slowly shrinking sizes': (index) => Math.max(1, 3000 - Math.floor(index / 3)),
  'shrinking by half': (index) => Math.max(1, Math.floor(8_000_000 / 2 ** index)),
  'growing sizes': (index) => 1 + Math.floor(index / 4),
  'doubling sizes again and again': (index) => 2 ** (index % 14),
  'small ones, then a large one': (index) => (index % 7 === 6 ? 8000 : 8),
  'a large one, then small ones': (index) => (index % 9 === 0 ? 9000 : 8),
  'the sequence 1 4 1 16 1 4 1 64': (index) => 4 ** Math.min(10, trailingZeros(index + 1)),
  'one byte at a time': () => 1,
}

function trailingZeros(value: number): number {
  return 31 - Math.clz32(value & -value)
}

for (const [name, sizeOf] of Object.entries(patterns)) {
  test(`planMerge: the number of chunks and the bytes written again stay bounded: ${name}`, (t) => {
    const random = seededRandom(t)
    let chunks: Chunk[] = []
    let end = 0
    let most = 0
    let writtenAgain = 0
    let smallestMerged = segmentBytes
    for (let index = 0; index < 10_000 && end < segmentBytes; index++) {
      const next = Math.min(segmentBytes, end + sizeOf(index, random))
      chunks.push(chunk(end, next))
      end = next
      const merge = planMerge(chunks)
      if (merge !== null) {
        assert.ok(merge.replaces.length >= 8)
        assert.deepEqual(merge.replaces, chunks.slice(-merge.replaces.length))
        assert.equal(merge.to, end)
        chunks = [...chunks.slice(0, -merge.replaces.length), chunk(merge.from, merge.to)]
        writtenAgain += merge.to - merge.from
        smallestMerged = Math.min(smallestMerged, merge.to - merge.from)
        assert.equal(planMerge(chunks), null, 'a merge leaves nothing to merge')
      }
      most = Math.max(most, chunks.length)
    }
    assert.equal(coveredBytes(chunks, segmentBytes), end)
    // 7 + log2(segment size / 7 bytes), see planMerge.
    assert.ok(most <= 28, `${most} chunks at once`)
    const factor = writtenAgain / end
    const bound = 1 + Math.log2(Math.max(1, end / smallestMerged))
    assert.ok(factor <= bound, `each byte written again ${factor} times, bound ${bound}`)
    t.diagnostic(
      `${most} chunks at most, each byte written again ${factor.toFixed(1)} times (bound ${bound.toFixed(1)})`,
    )
  })
}
