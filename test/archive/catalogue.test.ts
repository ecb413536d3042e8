import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  anyHigherThan,
  archivedUpTo,
  hasWalFolder,
  holeWindow,
  newestSegment,
  timelinesAbove,
} from '../../src/archive/catalogue.ts'
import { chunkKey, type GapName, historyKey, identityKey, partialKey, segmentKey } from '../../src/archive/keys.ts'
import { formatLsn, plus } from '../../src/wal/lsn.ts'
import { segmentName, segmentStart, segnoOf } from '../../src/wal/segment.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { seededRandom } from '../support/random.ts'

const { signal } = new AbortController()
const segmentBytes = 16 * 1024 * 1024
const options = { segmentBytes, signal }

function name(segno: number, timeline = 1): string {
  return segmentName({ timeline, segno }, segmentBytes)
}

function addSegments(store: MemoryStore, segnos: readonly number[], timeline = 1): void {
  for (const segno of segnos) store.set(segmentKey(name(segno, timeline), 'lz4'))
}

function addChunk(store: MemoryStore, segno: number, start: number, end: number, timeline = 1): void {
  store.set(chunkKey(name(segno, timeline), start, end, 'lz4'))
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

/** Where the run ends, how many chunks that rests on, and what is missing there. */
async function upTo(
  store: MemoryStore,
  timeline = 1,
  near: number | null = null,
): Promise<readonly [string, number, string | null] | null> {
  const run = await archivedUpTo(store, timeline, near === null ? options : { ...options, near })
  return run === null ? null : [formatLsn(run.end), run.tail.length, run.hole?.missing ?? null]
}

/** What is missing up to the newest segment: where it begins, and the segment with which the archive goes on. */
async function lacksOf(store: MemoryStore, gaps: readonly GapName[] = []): Promise<string[]> {
  const { hole } = (await archivedUpTo(store, 1, { ...options, gaps })) ?? {}
  return (hole?.lacks ?? []).map(({ from, end }) => `${formatLsn(from)} ${segnoOf(end, segmentBytes)}`)
}

function lsn(segno: number, bytes = 0): string {
  return formatLsn(plus(segmentStart(segno, segmentBytes), bytes))
}

test('an empty archive has nothing', async () => {
  const store = new MemoryStore()
  assert.equal(await hasWalFolder(store, { signal }), false)
  assert.equal(await newestSegment(store, 1, options), null)
  assert.equal(await archivedUpTo(store, 1, options), null)
  assert.equal(await anyHigherThan(store, name(1), { signal }), null)
  assert.deepEqual(await timelinesAbove(store, 0, { signal }), [])
})

test('any object where WAL belongs makes a prefix an archive; our own objects alone do not', async () => {
  const store = new MemoryStore()
  store.set(identityKey)
  addChunk(store, 1, 0, 5)
  assert.equal(await hasWalFolder(store, { signal }), false)
  store.set(historyKey(2, 'lz4'))
  assert.equal(await hasWalFolder(store, { signal }), true)
})

test('the newest segment costs about as much in a hundred thousand objects as in ten', async (t) => {
  const random = seededRandom(t)
  const costs: number[] = []
  for (const count of [10, 100_000]) {
    const store = new MemoryStore()
    const first = 1 + random.below(1_000_000)
    addSegments(store, numbers(first, first + count - 1))
    assert.equal(await newestSegment(store, 1, options), first + count - 1)
    costs.push(store.calls.list)
  }
  const [few = 0, many = 0] = costs
  t.diagnostic(`${few} and ${many} listings`)
  assert.ok(few <= 12 && many <= 39, `${few} and ${many} listings`)
})

test('with a good guess a few requests are enough, and with a bad one the answer is the same', async (t) => {
  const store = new MemoryStore()
  addSegments(store, numbers(1000, 50_000))
  for (const [near, most] of [
    [50_000, 6],
    [50_001, 7],
    [49_999, 7],
    [50_020, 16],
    [0, 40],
    [10_000_000, 55],
  ] as const) {
    const before = store.calls.list
    assert.equal(await newestSegment(store, 1, { ...options, near }), 50_000)
    const cost = store.calls.list - before
    t.diagnostic(`guess ${near}: ${cost} listings`)
    assert.ok(cost <= most, `guess ${near} cost ${cost} listings`)
  }
})

test('only whole segments of the timeline itself are the newest', async () => {
  const store = new MemoryStore()
  addSegments(store, [3, 4, 5])
  addSegments(store, [9], 2)
  store.set(historyKey(1, 'lz4'))
  store.set(historyKey(2, 'lz4'))
  store.set(partialKey(name(7), 'lz4'))
  store.set(`wal_005/${name(8)}.00000028.backup.lz4`)
  store.set('wal_005/00000001foreign')
  store.set('wal_005/zzz')
  addChunk(store, 6, 0, 100)
  assert.equal(await newestSegment(store, 1, options), 5)
  assert.equal(await newestSegment(store, 2, options), 9)
  assert.equal(await newestSegment(store, 3, options), null)
})

test('a .partial far behind the last whole segment does not hide it', async () => {
  const store = new MemoryStore()
  addSegments(store, numbers(10, 20))
  store.set(partialKey(name(5000), 'lz4'))
  assert.equal(await newestSegment(store, 1, options), 20)
  const only = new MemoryStore()
  only.set(partialKey(name(5000), 'lz4'))
  assert.equal(await newestSegment(only, 1, options), null)
})

test('a segment without extension, and with the dot that old WAL-G left, counts', async () => {
  const store = new MemoryStore()
  addSegments(store, [3])
  store.set(`wal_005/${name(4)}`)
  store.set(`wal_005/${name(5)}.`)
  assert.equal(await newestSegment(store, 1, options), 5)
})

test('the newest segment is found for any archive and any guess', async (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 150; round++) {
    const store = new MemoryStore()
    const range = random.pick([5, 100, 3000, 10_000_000])
    let newest: number | null = null
    for (let objects = random.below(40); objects > 0; objects--) {
      const segno = random.below(range)
      const kind = random.below(4)
      if (kind === 0) store.set(partialKey(name(segno), 'zst'))
      else {
        addSegments(store, [segno])
        newest = Math.max(newest ?? 0, segno)
      }
    }
    addSegments(store, [range + 5], 2)
    const near = random.pick([null, random.below(range), random.below(range * 2)])
    const given = near === null ? options : { ...options, near }
    assert.equal(await newestSegment(store, 1, given), newest, `guess ${near} in ${store.keys.join(' ')}`)
  }
})

test('a name that is none for this segment size tells that the archive is of another one', async () => {
  const store = new MemoryStore()
  store.set('wal_005/000000010000000000000FFF.lz4')
  await assert.rejects(newestSegment(store, 1, options), { code: 'ARCHIVE_FOREIGN', hint: /wal_segment_size/ })
  assert.equal(await newestSegment(store, 1, { segmentBytes: 1024 * 1024, signal }), 0xfff)
})

test('the archived WAL ends where its last segment does', async () => {
  const store = new MemoryStore()
  addSegments(store, [3, 4, 5])
  const run = await archivedUpTo(store, 1, options)
  assert.equal(run && formatLsn(run.from), lsn(3))
  assert.deepEqual(await upTo(store), [lsn(6), 0, null])
})

test('a tail goes on from there, in whole segments of chunks and an open one', async () => {
  const store = new MemoryStore()
  addSegments(store, [3, 4])
  addChunk(store, 5, 0, segmentBytes / 2)
  addChunk(store, 5, segmentBytes / 2, segmentBytes)
  addChunk(store, 6, 0, 0x100)
  addChunk(store, 6, 0x100, 0x300)
  assert.deepEqual(await upTo(store), [lsn(6, 0x300), 2, null])
})

test('chunks alone are archived WAL too: of the first segment, or of all that there is', async () => {
  const store = new MemoryStore()
  addChunk(store, 5, 0, 0x300)
  assert.deepEqual(await upTo(store), [lsn(5, 0x300), 1, null])
  addChunk(store, 5, 0x300, segmentBytes)
  addChunk(store, 6, 0, 0x10)
  assert.deepEqual(await upTo(store), [lsn(6, 0x10), 1, null])
  const run = await archivedUpTo(store, 1, options)
  assert.equal(run && formatLsn(run.from), lsn(5))
})

test('chunks that were left behind a segment that is whole do not matter', async () => {
  const store = new MemoryStore()
  addSegments(store, numbers(3, 200))
  addChunk(store, 4, 0, 10)
  addChunk(store, 100, 5, 10)
  addChunk(store, 200, 0, 10)
  assert.deepEqual(await upTo(store), [lsn(201), 0, null])
})

test('segments that landed out of order end the run at the first missing one, and the hole is named', async () => {
  const store = new MemoryStore()
  addSegments(store, [3, 4, 6, 7])
  assert.deepEqual(await upTo(store), [lsn(5), 0, name(5)])
  addChunk(store, 5, 0, 0x300)
  assert.deepEqual(await upTo(store), [lsn(5, 0x300), 1, name(5)])
  addChunk(store, 5, 0x300, segmentBytes)
  assert.deepEqual(await upTo(store), [lsn(8), 0, null])
})

test('a hole within a tail ends the run, also where a later segment has chunks', async () => {
  const store = new MemoryStore()
  addSegments(store, [3])
  addChunk(store, 4, 0, 0x300)
  addChunk(store, 4, 0x400, 0x500)
  assert.deepEqual(await upTo(store), [lsn(4, 0x300), 2, null])
  addChunk(store, 5, 0, 0x10)
  assert.deepEqual(await upTo(store), [lsn(4, 0x300), 2, name(4)])
  const run = await archivedUpTo(store, 1, options)
  assert.equal(run?.hole?.newest, name(5))
})

test('holes are looked for in the last 64 segments only', async () => {
  const store = new MemoryStore()
  addSegments(store, [...numbers(1, 99), ...numbers(101, 163)])
  assert.deepEqual(await upTo(store), [lsn(100), 0, name(100)])
  addSegments(store, [164])
  assert.equal(164 - 100, holeWindow)
  assert.deepEqual(await upTo(store), [lsn(165), 0, null])
})

test('a hole that is longer than that ends the run before it, be there one or several', async () => {
  const store = new MemoryStore()
  addSegments(store, [...numbers(1, 99), ...numbers(500, 502)])
  addChunk(store, 100, 0, 0x300)
  assert.deepEqual(await upTo(store), [lsn(100, 0x300), 1, name(100)])
  addSegments(store, [...numbers(700, 701), 5000])
  assert.deepEqual(await upTo(store), [lsn(100, 0x300), 1, name(100)])
  addSegments(store, [5001])
  addChunk(store, 5002, 0, 0x500)
  const behind = (await archivedUpTo(store, 1, options))?.hole?.behind
  assert.deepEqual(behind && [formatLsn(behind.from), formatLsn(behind.end)], [
    formatLsn(segmentStart(5000, segmentBytes)),
    formatLsn(plus(segmentStart(5002, segmentBytes), 0x500)),
  ])
  assert.deepEqual(await lacksOf(store), [`${lsn(100, 0x300)} 500`, `${lsn(503)} 700`, `${lsn(702)} 5000`])
  const known = { timeline: 1, from: segmentStart(503, segmentBytes), to: segmentStart(700, segmentBytes) }
  assert.deepEqual(await lacksOf(store, [known]), [`${lsn(100, 0x300)} 500`, `${lsn(702)} 5000`])
  const gap = { timeline: 1, from: plus(segmentStart(100, segmentBytes), 0x300), to: segmentStart(4990, segmentBytes) }
  const run = await archivedUpTo(store, 1, { ...options, gaps: [gap] })
  assert.equal(run && formatLsn(run.end), formatLsn(gap.to), 'a gap that is known is passed')
})

test('a tail that never became whole ends the run, however far behind it the newest segments are', async () => {
  const store = new MemoryStore()
  addChunk(store, 5, 0, 0x300)
  addSegments(store, numbers(900, 902))
  assert.deepEqual(await upTo(store), [lsn(5, 0x300), 1, name(5)])
  addSegments(store, numbers(6, 899))
  assert.deepEqual(await upTo(store), [lsn(5, 0x300), 1, name(5)])
  const gap = { timeline: 1, from: plus(segmentStart(5, segmentBytes), 0x300), to: segmentStart(6, segmentBytes) }
  const run = await archivedUpTo(store, 1, { ...options, gaps: [gap] })
  assert.equal(run && formatLsn(run.end), lsn(903), 'a gap that is known is passed')
  addChunk(store, 5, 0x300, segmentBytes)
  assert.deepEqual(await upTo(store), [lsn(903), 0, null])
})

test('where a timeline begins is no hole', async () => {
  const store = new MemoryStore()
  addSegments(store, [50, 51], 2)
  addSegments(store, numbers(1, 50), 1)
  store.set(historyKey(2, 'lz4'))
  const run = await archivedUpTo(store, 2, options)
  assert.equal(run && formatLsn(run.from), lsn(50))
  assert.deepEqual(await upTo(store, 2), [lsn(52), 0, null])
})

test('the end of the archived WAL is that of a byte-for-byte look, for any archive', async (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 200; round++) {
    const store = new MemoryStore()
    const first = random.below(30)
    const last = first + random.below(20)
    const has = new Map<number, number>() // bytes from the beginning of each segment
    for (let segno = first; segno <= last; segno++) {
      if (random.below(8) !== 0) {
        addSegments(store, [segno])
        has.set(segno, segmentBytes)
      }
      if (random.below(4) !== 0) continue
      const bytes = random.pick([0x10, 0x1000, segmentBytes])
      addChunk(store, segno, 0, bytes)
      has.set(segno, Math.max(has.get(segno) ?? 0, bytes))
    }
    const begin = numbers(first, last).find((segno) => has.has(segno))
    if (begin === undefined) {
      assert.equal(await upTo(store), null)
      continue
    }
    let segno = begin
    while (has.get(segno) === segmentBytes) segno++
    const later = [...has.keys()].some((other) => other > segno)
    const found = await upTo(store, 1, random.pick([null, random.below(60)]))
    assert.equal(found?.[0], lsn(segno, has.get(segno) ?? 0), store.keys.join(' '))
    assert.equal(found?.[2], later ? name(segno) : null)
  }
})

test('a later object of the same timeline is found, whatever it is', async () => {
  for (const later of [
    segmentKey(name(6), 'lz4'),
    segmentKey(name(0x1000), 'none'),
    partialKey(name(6), 'zst'),
    `wal_005/${name(6)}.00000028.backup.br`,
    `wal_005/${name(6)}.lzo`,
    chunkKey(name(6), 0, 5, 'lz4'),
  ]) {
    const store = new MemoryStore()
    store.set(later)
    assert.equal(await anyHigherThan(store, name(5), { signal }), later)
    assert.deepEqual([store.calls.list, store.calls.head], [2, 0])
  }
})

test('objects of the segment itself, of earlier ones, of other timelines and foreign ones are not later', async () => {
  const store = new MemoryStore()
  addSegments(store, numbers(1, 5))
  addSegments(store, [6, 7], 2)
  store.set(partialKey(name(5), 'lz4'))
  store.set(`wal_005/${name(5)}.00000028.backup.lz4`)
  store.set(`wal_005/${name(5)}`)
  store.set('wal_005/00000001foreign')
  store.set('wal_005/00000001foreign2')
  store.set(historyKey(1, 'lz4'))
  store.set(historyKey(2, 'lz4'))
  addChunk(store, 5, 0, 10)
  addChunk(store, 4, 0, 10)
  addChunk(store, 6, 0, 10, 2)
  assert.equal(await anyHigherThan(store, name(5), { signal }), null)
})

test('timelines are told with their history file and whether they have WAL, each for a few requests', async () => {
  const store = new MemoryStore()
  addSegments(store, numbers(1, 2000), 1)
  store.set(historyKey(2, 'lz4')) // its WAL was never shipped
  store.set(historyKey(5, 'zst'))
  addSegments(store, [10, 11], 5)
  store.set(partialKey(name(12, 6), 'lz4')) // without its history file
  store.set(historyKey(0x1f, 'lz4'))
  addChunk(store, 13, 0, 10, 0x1f)
  addChunk(store, 14, 0, 10, 0x20)
  store.set('wal_005/00000003foreign')
  store.set('wal_005/readme')
  const all = [
    { timeline: 1, historyKey: null, hasWal: true },
    { timeline: 2, historyKey: historyKey(2, 'lz4'), hasWal: false },
    { timeline: 5, historyKey: historyKey(5, 'zst'), hasWal: true },
    { timeline: 6, historyKey: null, hasWal: true },
    { timeline: 0x1f, historyKey: historyKey(0x1f, 'lz4'), hasWal: true },
    { timeline: 0x20, historyKey: null, hasWal: true },
  ]
  assert.deepEqual(await timelinesAbove(store, 0, { signal }), all)
  assert.ok(store.calls.list <= 45, `${store.calls.list} listings`)
  assert.deepEqual(await timelinesAbove(store, 2, { signal }), all.slice(2))
  assert.deepEqual(await timelinesAbove(store, 0x1f, { signal }), all.slice(5))
  assert.deepEqual(await timelinesAbove(store, 0x20, { signal }), [])
})
