/** What runs of WAL a listing amounts to, and what of them is on a line. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { type Coverage, CoverageTally, isWholeFrom, readCoverage, unionOf } from '../../src/archive/coverage.ts'
import { lineOf } from '../../src/archive/line.ts'
import { drawTree, newestTimelines, onlyTimeline, type StoredSince } from '../../src/archive/newest-timeline.ts'
import { parseHistory } from '../../src/wal/history.ts'
import { asLsn, highestLsn, type Lsn } from '../../src/wal/lsn.ts'
import { segmentName } from '../../src/wal/segment.ts'
import { MemoryStore } from '../support/memory-store.ts'

const mib = 1024 * 1024
const { signal } = new AbortController()

/** A position in segments of 1 MB: at(2.5) is the middle of segment 2. */
function at(segments: number): Lsn {
  return asLsn(Math.round(segments * mib))
}

const name = (timeline: number, segno: number): string => segmentName({ timeline, segno }, mib)
const chunk = (timeline: number, segno: number, from: number, to: number): string => {
  const dashed = name(timeline, segno)
    .toLowerCase()
    .replace(/(.{8})(.{8})(.{8})/, '$1-$2-$3')
  return `walferry_001/tail/${dashed}/${hex8(from)}-${hex8(to)}.lz4`
}
const hex8 = (value: number): string => value.toString(16).padStart(8, '0')

/** `t/n` a whole segment, `t/n:0-5` a chunk in tenths of a segment, `t/n.partial`, `t.history`. */
function tally(objects: readonly string[]) {
  const infos = objects.map((text) => ({ key: keyOf(text), bytes: 1, modified: new Date(0) }))
  const sorted = infos.toSorted((a, b) => (a.key < b.key ? -1 : 1))
  const found = new CoverageTally(mib)
  for (const info of sorted.filter(({ key }) => key.startsWith('walferry_001/'))) found.addChunk(info)
  for (const info of sorted.filter(({ key }) => key.startsWith('wal_005/'))) found.addWal(info)
  return found.end()
}

function keyOf(text: string): string {
  const history = /^(\d+)\.history$/.exec(text)
  if (history !== null) return `wal_005/${hex8(Number(history[1])).toUpperCase()}.history.lz4`
  const match = /^(\d+)\/(\d+)(?::(\d+)-(\d+))?(\..*)?$/.exec(text)
  const [timeline, segno, from, to] = [match?.[1], match?.[2], match?.[3], match?.[4]].map(Number)
  if (match?.[3] !== undefined) return chunk(timeline ?? 0, segno ?? 0, tenths(from), tenths(to))
  return `wal_005/${name(timeline ?? 0, segno ?? 0)}${match?.[5] ?? '.lz4'}`
}

function tenths(count = 0): number {
  return count === 10 ? mib : Math.round((count * mib) / 10)
}

const runsOf: readonly {
  readonly name: string
  readonly objects: readonly string[]
  readonly runs: readonly [number, number][]
}[] = [
  { name: 'segments in a row are one run', objects: ['1/1', '1/2', '1/3'], runs: [[1, 4]] },
  {
    name: 'a missing one is a hole',
    objects: ['1/1', '1/3'],
    runs: [
      [1, 2],
      [3, 4],
    ],
  },
  { name: 'a tail lengthens its run', objects: ['1/1', '1/2:0-5'], runs: [[1, 2.5]] },
  {
    name: 'a tail of several chunks, one of them behind a hole',
    objects: ['1/1', '1/2:0-2', '1/2:2-5', '1/2:8-10'],
    runs: [[1, 2.5]],
  },
  { name: 'chunks that begin later are no tail', objects: ['1/1', '1/2:5-10'], runs: [[1, 2]] },
  { name: 'a tail of the full size is a segment', objects: ['1/1', '1/2:0-10', '1/3'], runs: [[1, 4]] },
  {
    name: 'a tail in the middle ends a run',
    objects: ['1/1', '1/2:0-5', '1/3'],
    runs: [
      [1, 2.5],
      [3, 4],
    ],
  },
  { name: 'the tail of a segment that became whole', objects: ['1/1:0-5', '1/1', '1/2'], runs: [[1, 3]] },
  { name: 'one segment under two extensions', objects: ['1/1', '1/1.zst', '1/2'], runs: [[1, 3]] },
  {
    name: 'a .partial and a .backup are no WAL',
    objects: ['1/1', '1/2.partial.lz4', '1/3.00000028.backup.lz4'],
    runs: [[1, 2]],
  },
]

for (const { name: what, objects, runs } of runsOf) {
  test(what, () => {
    const [timeline] = tally(objects)
    assert.deepEqual(
      timeline?.runs,
      runs.map(([from, end]) => ({
        from: at(from),
        end: end % 1 === 0 ? at(end) : asLsn(BigInt(Math.floor(end)) * BigInt(mib) + BigInt(tenths((end % 1) * 10))),
      })),
    )
  })
}

test('runs are joined where they touch or overlap', () => {
  const runs = [
    [4, 5],
    [1, 2],
    [2, 3],
    [2.5, 2.75],
  ].map(([from = 0, end = 0]) => ({ from: at(from), end: at(end) }))
  assert.deepEqual(unionOf(runs), [
    { from: at(1), end: at(3) },
    { from: at(4), end: at(5) },
  ])
})

test('thousands of segments are a few runs, and a listing', async () => {
  const store = new MemoryStore()
  for (let segno = 0; segno < 20_000; segno++) if (segno !== 12_345) store.set(`wal_005/${name(1, segno)}.lz4`)
  const { timelines } = await readCoverage(new Archive(store), { segmentBytes: mib, signal })
  assert.deepEqual(timelines[0]?.runs, [
    { from: at(0), end: at(12_345) },
    { from: at(12_346), end: at(20_000) },
  ])
  assert.equal(store.calls.list, 21)
  assert.equal(store.calls.get, 0)
})

interface Timeline {
  /** [from, end) in segments. */
  readonly runs: readonly (readonly [number, number])[]
  /** Where it left its ancestors: timeline and position in segments. */
  readonly from?: readonly (readonly [number, number])[]
  readonly newest?: number
  /** When its history file and its newest WAL were stored. */
  readonly born?: number
  readonly stored?: number
}

function coverage(timelines: Readonly<Record<number, Timeline>>): Coverage {
  return {
    segmentBytes: mib,
    timelines: Object.entries(timelines).map(([number, { runs, from = [], newest, born, stored }]) => {
      const timeline = Number(number)
      const text = from.map(([parent, fork]) => `${parent}\t0/${(fork * mib).toString(16)}\treason\n`).join('')
      const last = Math.ceil((runs.at(-1)?.[1] ?? 1) - 1)
      return {
        timeline,
        runs: runs.map(([begin, end]) => ({ from: at(begin), end: at(end) })),
        newest: newest === undefined ? (runs.length === 0 ? null : at(last)) : at(newest),
        newestStored: new Date(stored ?? 0),
        historyStored: timeline === 1 ? null : new Date(born ?? 0),
        history: timeline === 1 ? { timeline, ancestors: [] } : text === '' ? null : parseHistory(timeline, text),
      }
    }),
  }
}

const lines: readonly {
  readonly name: string
  readonly timelines: Readonly<Record<number, Timeline>>
  readonly of: number
  /** [from, end, before a hole] */
  readonly runs: readonly (readonly [number, number, boolean])[]
}[] = [
  { name: 'one timeline', timelines: { 1: { runs: [[1, 4.5]] } }, of: 1, runs: [[1, 4.5, false]] },
  {
    name: 'a hole',
    timelines: {
      1: {
        runs: [
          [1, 2],
          [3, 4.5],
        ],
      },
    },
    of: 1,
    runs: [
      [1, 2, true],
      [3, 4.5, false],
    ],
  },
  {
    name: 'a tail before a hole does not count, because it is not served',
    timelines: {
      1: {
        runs: [
          [1, 2.5],
          [3, 4],
        ],
      },
    },
    of: 1,
    runs: [
      [1, 2, true],
      [3, 4, false],
    ],
  },
  {
    name: 'a .partial behind a missing segment',
    timelines: { 1: { runs: [[1, 2]], newest: 3 } },
    of: 1,
    runs: [[1, 2, true]],
  },
  {
    name: 'a .partial of the next segment',
    timelines: { 1: { runs: [[1, 2.5]], newest: 2 } },
    of: 1,
    runs: [[1, 2.5, false]],
  },
  {
    name: 'the parent up to the fork, then the child',
    timelines: { 1: { runs: [[1, 6]] }, 2: { runs: [[3, 5]], from: [[1, 3.5]] } },
    of: 2,
    runs: [[1, 5, false]],
  },
  {
    name: 'the parent alone goes on',
    timelines: { 1: { runs: [[1, 6]] }, 2: { runs: [[3, 5]], from: [[1, 3.5]] } },
    of: 1,
    runs: [[1, 6, false]],
  },
  {
    name: 'what the parent wrote behind the fork closes no hole',
    timelines: { 1: { runs: [[1, 6]] }, 2: { runs: [[4, 5]], from: [[1, 3.5]] } },
    of: 2,
    runs: [
      [1, 3, true],
      [4, 5, false],
    ],
  },
  {
    name: 'a first segment that is shorter than the fork is filled up from the parent',
    timelines: { 1: { runs: [[1, 6]] }, 2: { runs: [[3, 3.25]], from: [[1, 3.5]] } },
    of: 2,
    runs: [[1, 3.5, false]],
  },
  {
    name: 'a number that was skipped, and one of which nothing was used',
    timelines: {
      1: { runs: [[1, 3]] },
      2: { runs: [[3, 4]], from: [[1, 3]] },
      4: {
        runs: [[2, 5]],
        from: [
          [1, 3],
          [2, 2.5],
        ],
      },
    },
    of: 4,
    runs: [[1, 5, false]],
  },
  {
    name: 'the parent has a hole before the fork',
    timelines: {
      1: {
        runs: [
          [1, 2],
          [4, 4.5],
        ],
      },
      2: { runs: [[4, 5]], from: [[1, 4.5]] },
    },
    of: 2,
    runs: [
      [1, 2, true],
      [4, 5, false],
    ],
  },
  { name: 'no history file: the timeline alone', timelines: { 2: { runs: [[7, 9]] } }, of: 2, runs: [[7, 9, false]] },
]

for (const { name: what, timelines, of, runs } of lines) {
  test(`a line: ${what}`, () => {
    const line = lineOf(coverage(timelines), of)
    assert.deepEqual(
      line?.runs,
      runs.map(([from, end, beforeHole]) => ({ from: at(from), end: at(end), beforeHole })),
    )
  })
}

test('a timeline without WAL is no line', () => {
  assert.equal(lineOf(coverage({ 1: { runs: [[1, 2]] }, 2: { runs: [], from: [[1, 2]] } }), 2), null)
  assert.equal(lineOf(coverage({ 1: { runs: [[1, 2]] } }), 3), null)
})

const families: readonly {
  readonly name: string
  readonly timelines: Readonly<Record<number, Timeline>>
  /** Timelines that got WAL behind the parting after the other one was born. */
  readonly goesOn?: readonly number[]
  readonly newest: readonly number[]
}[] = [
  { name: 'no WAL', timelines: { 1: { runs: [] } }, newest: [] },
  { name: 'one timeline', timelines: { 1: { runs: [[1, 4]] } }, newest: [1] },
  {
    name: 'a promotion, with WAL of the lost primary behind the fork',
    timelines: { 1: { runs: [[1, 6]], stored: 10 }, 2: { runs: [[3, 5]], from: [[1, 3.5]], born: 20, stored: 30 } },
    newest: [2],
  },
  {
    name: 'a history file alone changes nothing',
    timelines: { 1: { runs: [[1, 6]], stored: 30 }, 2: { runs: [], from: [[1, 3.5]], born: 20 } },
    newest: [1],
  },
  {
    name: 'a clone that was promoted ships, too, and the cluster goes on',
    timelines: { 1: { runs: [[1, 6]], stored: 30 }, 2: { runs: [[3, 5]], from: [[1, 3.5]], born: 20, stored: 30 } },
    goesOn: [1],
    newest: [1, 2],
  },
  {
    name: 'WAL of the old timeline that came late, but lies before the fork',
    timelines: { 1: { runs: [[1, 3.5]], stored: 30 }, 2: { runs: [[3, 5]], from: [[1, 3.5]], born: 20, stored: 30 } },
    newest: [2],
  },
  {
    name: 'a second promotion from the same parent, after the first successor was lost',
    timelines: {
      1: { runs: [[1, 3.5]], stored: 10 },
      2: { runs: [[3, 5]], from: [[1, 3.5]], born: 20, stored: 30 },
      3: { runs: [[3, 4]], from: [[1, 3.25]], born: 40, stored: 50 },
    },
    newest: [3],
  },
  {
    name: 'two successors, of which both go on',
    timelines: {
      1: { runs: [[1, 3.5]], stored: 10 },
      2: { runs: [[3, 5]], from: [[1, 3.5]], born: 20, stored: 60 },
      3: { runs: [[3, 4]], from: [[1, 3.25]], born: 40, stored: 50 },
    },
    goesOn: [2],
    newest: [2, 3],
  },
  {
    name: 'a timeline of unknown origin beside another one',
    timelines: { 1: { runs: [[1, 3]], stored: 10 }, 2: { runs: [[5, 6]], born: 20, stored: 30 } },
    newest: [1, 2],
  },
]

function goingOn(timelines: readonly number[]): StoredSince {
  return (timeline) => Promise.resolve(timelines.includes(timeline))
}

for (const { name: what, timelines, goesOn = [], newest } of families) {
  test(`the newest timeline: ${what}`, async () => {
    assert.deepEqual(await newestTimelines(coverage(timelines), goingOn(goesOn)), newest)
  })
}

test('of several newest timelines none is chosen, and the tree is shown', () => {
  const both = coverage({ 1: { runs: [[1, 6]], stored: 30 }, 2: { runs: [[3, 5]], from: [[1, 3.5]], stored: 40 } })
  const tree = [
    '  timeline 1 up to 0/600000, last stored 1970-01-01T00:00:00.030Z',
    '    timeline 2, from 0/380000 up to 0/500000, last stored 1970-01-01T00:00:00.040Z',
  ]
  assert.deepEqual(drawTree(both), tree)
  assert.throws(
    () => onlyTimeline([1, 2], both, 'memory://'),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, 'TIMELINE_AMBIGUOUS')
      assert.ok(error.message.endsWith(tree.join('\n')), error.message)
      return true
    },
  )
  assert.throws(() => onlyTimeline([], coverage({}), 'memory://'), { code: 'TARGET_UNREACHABLE' })
})

/** From segment 17 of timeline 1 on. */
const wholeFrom: readonly (readonly [string, objects: string, upTo: Lsn, boolean])[] = [
  ['nothing is missing', '1/17 1/18 1/19', highestLsn, true],
  ['the newest is a tail', '1/17 1/18:0-5', highestLsn, true],
  ['the first one is a tail', '1/17:0-5', highestLsn, true],
  ['the first one is not there', '1/18 1/19', highestLsn, false],
  ['of the first one only the note of the backup is there', '1/17.00000028.backup', highestLsn, false],
  ['nothing is there', '', highestLsn, false],
  ['one is missing', '1/17 1/19', highestLsn, false],
  ['of one there is only the beginning', '1/17 1/18:0-5 1/19', highestLsn, false],
  ['behind a missing one there is only a tail', '1/17 1/19:0-5', highestLsn, false],
  ['behind a missing one there is only a .partial', '1/17 1/19.partial.lz4', highestLsn, false],
  ['the newest object is a .partial', '1/17 1/18.partial.lz4', highestLsn, true],
  ['a hole that is shipped past', '1/17 1/19', at(18.5), false],
  ['a hole ahead of what is shipped', '1/17 1/18:0-5 1/20', at(18.5), true],
  ['a hole before it', '1/2 1/14:0-5 1/16 1/17', highestLsn, true],
  ['a hole on another timeline', '1/17 1/18 2/17 2/19 2.history', highestLsn, true],
]
for (const [what, objects, upTo, expected] of wholeFrom) {
  test(`whether no WAL is missing from a segment on: ${what}`, async () => {
    const store = new MemoryStore()
    for (const text of objects.split(' ')) if (text !== '') store.set(keyOf(text))
    const options = { segmentBytes: mib, upTo, signal }
    assert.equal(await isWholeFrom(new Archive(store), name(1, 17), options), expected)
  })
}
