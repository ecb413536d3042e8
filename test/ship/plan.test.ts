import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { chunkKey } from '../../src/archive/keys.ts'
import type { Chunk } from '../../src/archive/tail.ts'
import { coveredBytes } from '../../src/archive/tail.ts'
import {
  frontOf,
  type Lane,
  nextHistories,
  nextTasks,
  nextToFind,
  nextToSettle,
  type PlanInput,
  type Shipment,
  type Task,
  unshippedTail,
} from '../../src/ship/plan.ts'
import { asLsn } from '../../src/wal/lsn.ts'
import { segmentName } from '../../src/wal/segment.ts'
import { type Random, seededRandom } from '../support/random.ts'

const segmentBytes = 1024 * 1024

interface Given {
  /** Whole, or synced up to this byte. */
  readonly synced: 'whole' | number
  readonly left?: boolean
  /** It was looked for in the archive. Default: yes. */
  readonly lookedFor?: boolean
  readonly stored?: boolean
  readonly settled?: boolean
  readonly refusals?: number
  /** Ends of the chunks that follow each other from byte 0; null: it was not looked. */
  readonly chunks?: readonly number[] | null
  readonly lookFrom?: number
  readonly busy?: readonly Lane[]
}

/** Segments of the spool, oldest first, numbered from 1. */
function spoolOf(...all: readonly Given[]): Shipment[] {
  return spoolOn(1, all)
}

function spoolOn(timeline: number, all: readonly Given[]): Shipment[] {
  return all.map((given, i) => {
    const segment = { timeline, segno: i + 1 }
    const name = segmentName(segment, segmentBytes)
    const ends = given.chunks ?? null
    const chunks = ends?.map((end, n): Chunk => {
      const start = ends[n - 1] ?? 0
      return { key: chunkKey(name, start, end, 'lz4'), segment: name, start, end, codec: 'lz4' }
    })
    const settled = given.settled ?? false
    return {
      segment,
      name,
      whole: given.synced === 'whole',
      left: given.left ?? false,
      syncedBytes: given.synced === 'whole' ? segmentBytes : given.synced,
      found: given.lookedFor === false ? null : [],
      stored: settled || (given.stored ?? false),
      settled,
      refusals: given.refusals ?? 0,
      chunks: chunks ?? null,
      lookFromBytes: given.lookFrom ?? 0,
      coveredBytes: coveredBytes(chunks ?? [], segmentBytes),
      busy: new Set(given.busy ?? []),
    }
  })
}

/** The tasks in words: `whole 1`, `look 2`, `chunk 2 100-300`, `merge 3 0-800`, `find 4 5`, `settle 6 7`. */
function planned(shipments: readonly Shipment[], due = true, uploadConcurrency = 4): string[] {
  return plannedFor({ shipments, histories: [], segmentBytes, uploadConcurrency, tailIsDue: due })
}

function plannedFor(input: PlanInput): string[] {
  return [
    ...nextTasks(input).map(inWords),
    ...together('find', nextToFind(input)),
    ...together('settle', nextToSettle(input)),
  ]
}

function together(lane: string, shipments: readonly Shipment[]): string[] {
  return shipments.length === 0 ? [] : [`${lane} ${shipments.map(({ segment }) => segment.segno).join(' ')}`]
}

function inWords(task: Task): string {
  const { segno } = task.shipment.segment
  if (task.lane === 'whole') return `whole ${segno}`
  if (task.lane === 'merge') return `merge ${segno} ${task.merge.from}-${task.merge.to}`
  return task.to === null ? `look ${segno}` : `chunk ${segno} ${task.from}-${task.to}`
}

const whole: Given = { synced: 'whole' }
const stored: Given = { synced: 'whole', stored: true }
/** Nobody has asked the archive for it yet. */
const unknown: Given = { synced: 'whole', lookedFor: false }
const uploading: Given = { synced: 'whole', busy: ['whole'] }
const settled: Given = { synced: 'whole', settled: true }
const eightChunks = [100, 200, 300, 400, 500, 600, 700, 800]

const cases: readonly (readonly [name: string, spool: readonly Given[], due: boolean, expected: readonly string[]])[] =
  [
    ['an empty spool', [], true, []],
    ['an open segment with nothing synced', [{ synced: 0 }], true, []],

    // The tail.
    ['a tail that was never looked at is looked at, due or not', [{ synced: 500 }], false, ['look 1']],
    [
      'a tail that the store reaches further into waits until as much is synced',
      [{ synced: 500, lookFrom: 501 }],
      true,
      [],
    ],
    ['and is looked at again then', [{ synced: 501, lookFrom: 501 }], true, ['look 1']],
    ['or once it is left, and will never be', [{ synced: 500, lookFrom: 501, left: true }], true, ['look 1']],
    ['a tail that is due', [{ synced: 500, chunks: [] }], true, ['chunk 1 0-500']],
    ['a tail that is not due', [{ synced: 500, chunks: [] }], false, []],
    ['a tail goes on where its last chunk ended', [{ synced: 500, chunks: [100, 300] }], true, ['chunk 1 300-500']],
    ['a tail that is stored as far as it is synced', [{ synced: 300, chunks: [100, 300] }], true, []],
    ['one chunk at a time', [{ synced: 500, chunks: [100], busy: ['chunk'] }], true, []],

    // Whole segments.
    ['whole segments go at once, due or not', [whole, whole, { synced: 0 }], false, ['whole 1', 'whole 2']],
    ['a segment that is under way is not begun again', [{ ...whole, busy: ['whole'] }, whole], false, ['whole 2']],
    [
      'no more than four at once',
      [whole, whole, whole, whole, whole],
      false,
      ['whole 1', 'whole 2', 'whole 3', 'whole 4'],
    ],
    [
      'those under way count',
      [{ ...whole, busy: ['whole'] }, { ...whole, busy: ['whole'] }, whole, whole, whole],
      false,
      ['whole 3', 'whole 4'],
    ],
    ['a settled segment is done with', [settled, { synced: 0 }], false, []],
    [
      'all that is stored is settled together',
      [stored, settled, stored, whole, { ...unknown, stored: true }, { synced: 0 }],
      false,
      ['whole 4', 'settle 1 3 5'],
    ],
    ['what is stored meanwhile waits for the next time', [{ ...stored, busy: ['settle'] }, stored], false, []],
    [
      'but not while a chunk of it is under way',
      [{ ...whole, stored: true, busy: ['chunk'] }, { synced: 0 }],
      false,
      [],
    ],
    ['nor while one is merged', [{ ...whole, stored: true, busy: ['merge'] }, { synced: 0 }], false, []],
    ['it does not hold up others', [{ ...stored, busy: ['chunk'] }, stored], true, ['settle 2']],
    [
      'while others are uploaded, what is stored waits until it is as many',
      [stored, stored, stored, uploading],
      false,
      [],
    ],
    ['and is settled then', [stored, stored, uploading, stored, uploading, stored], false, ['settle 1 2 4 6']],
    [
      'what nobody has asked the archive for is looked for before it is put',
      [unknown, unknown, whole, { synced: 0 }],
      false,
      ['whole 3', 'find 1 2'],
    ],
    ['one look at a time', [{ ...unknown, busy: ['find'] }, unknown], false, []],
    [
      'none as long as there is enough to upload that was looked for',
      [whole, whole, whole, whole, unknown],
      false,
      ['whole 1', 'whole 2', 'whole 3', 'whole 4'],
    ],
    [
      'nor while no more is uploaded than is under way',
      [uploading, uploading, uploading, uploading, unknown],
      true,
      [],
    ],
    [
      'one upload may begin: the next sixteen are looked for',
      [uploading, uploading, uploading, unknown, unknown],
      false,
      ['find 4 5'],
    ],
    [
      'what could not be settled comes last',
      [{ ...stored, refusals: 2 }, { ...stored, refusals: 1 }, stored],
      false,
      ['settle 3 2 1'],
    ],
    ['an open segment is looked for by its chunks', [{ synced: 500, lookedFor: false }], false, ['look 1']],

    // Both.
    [
      'no chunk behind a hole: the tail waits for the whole segment before it',
      [whole, { synced: 500, chunks: [] }],
      true,
      ['whole 1'],
    ],
    [
      'the same while that is under way',
      [
        { ...whole, busy: ['whole'] },
        { synced: 500, chunks: [] },
      ],
      true,
      [],
    ],
    [
      'once that is stored the tail goes on',
      [
        { ...stored, busy: ['settle'] },
        { synced: 500, chunks: [] },
      ],
      true,
      ['chunk 2 0-500'],
    ],
    [
      'a segment that became whole while it had chunks gets its last one at once',
      [
        { synced: 'whole', chunks: [500] },
        { synced: 9, chunks: [] },
      ],
      false,
      ['whole 1', `chunk 1 500-${segmentBytes}`],
    ],
    [
      'its chunks cover it: the next tail goes on',
      [
        { synced: 'whole', chunks: [500, segmentBytes] },
        { synced: 9, chunks: [] },
      ],
      true,
      ['whole 1', 'chunk 2 0-9'],
    ],
    [
      'one that became whole before it had a chunk is looked at by nobody',
      [{ synced: 'whole' }, { synced: 9 }],
      true,
      ['whole 1'],
    ],
    [
      'one chunk at a time, over all segments',
      [
        { synced: 'whole', chunks: [500, segmentBytes], busy: ['chunk'] },
        { synced: 9, chunks: [] },
      ],
      true,
      ['whole 1'],
    ],

    // Merging.
    ['eight chunks of one size are merged', [{ synced: 800, chunks: eightChunks }], false, ['merge 1 0-800']],
    ['seven are not', [{ synced: 800, chunks: eightChunks.slice(0, 7) }], false, []],
    [
      'the next chunk does not wait for a merge',
      [{ synced: 900, chunks: eightChunks }],
      true,
      ['chunk 1 800-900', 'merge 1 0-800'],
    ],
    ['one merge at a time', [{ synced: 900, chunks: eightChunks, busy: ['merge'] }], true, ['chunk 1 800-900']],
    [
      'a merge does not wait for a chunk',
      [{ synced: 900, chunks: eightChunks, busy: ['chunk'] }],
      true,
      ['merge 1 0-800'],
    ],
    [
      'an open segment that another one has made whole is not merged',
      [{ synced: 900, chunks: [...eightChunks, segmentBytes] }],
      false,
      [],
    ],
    [
      'chunks of a segment that is whole are not merged: they are deleted soon',
      [{ synced: 'whole', chunks: [...eightChunks, segmentBytes] }],
      true,
      ['whole 1'],
    ],
  ]

for (const [name, spool, due, expected] of cases) {
  test(name, () => {
    assert.deepEqual(planned(spoolOf(...spool), due), expected)
  })
}

test('the number of uploads at once is as asked for', () => {
  const spool = spoolOf(whole, whole, whole)
  assert.deepEqual(planned(spool, true, 1), ['whole 1'])
  assert.deepEqual(planned(spool, true, 64), ['whole 1', 'whole 2', 'whole 3'])
})

test('at most sixteen are looked for at once, the oldest first', () => {
  const spool = spoolOf(settled, ...Array.from({ length: 20 }, () => unknown))
  const oldest = Array.from({ length: 16 }, (_, n) => n + 2).join(' ')
  assert.deepEqual(planned(spool), [`find ${oldest}`])
  assert.deepEqual(planned(spool, true, 64), [`find ${oldest}`])
})

test('with one upload at a time, what is stored waits for nothing', () => {
  assert.deepEqual(planned(spoolOf(stored, uploading, unknown), false, 1), ['settle 1'])
})

test('however many are uploaded at once, four stored ones are settled', () => {
  assert.deepEqual(planned(spoolOf(stored, stored, stored, uploading), false, 64), [])
  assert.deepEqual(planned(spoolOf(stored, stored, stored, stored, uploading), false, 64), ['settle 1 2 3 4'])
})

test('the front is the first segment that the store does not cover', () => {
  assert.equal(frontOf([], segmentBytes), null)
  assert.equal(frontOf(spoolOf(settled), segmentBytes), null)
  const spool = spoolOf(
    settled,
    { synced: 'whole', chunks: [segmentBytes] },
    { synced: 'whole', chunks: [9] },
    { synced: 5 },
  )
  assert.equal(frontOf(spool, segmentBytes)?.segment.segno, 3)
})

test('what waits is what no chunk carries, neither stored nor under way', () => {
  const spool = spoolOf(settled, { synced: 500, chunks: [100] })
  assert.equal(unshippedTail(spool, segmentBytes, 0), 400)
  assert.equal(unshippedTail(spool, segmentBytes, 300), 200)
  assert.equal(unshippedTail(spool, segmentBytes, 500), 0)
  assert.equal(unshippedTail(spoolOf(settled), segmentBytes, 0), 0)
})

function randomSpool(random: Random): Given[] {
  const count = 1 + random.below(6)
  let lookers = 1
  return Array.from({ length: count }, (_, i): Given => {
    const isWhole = i < count - 1 || random.below(4) === 0
    const synced = isWhole ? segmentBytes : random.below(segmentBytes)
    const ends: number[] = []
    for (let at = random.below(segmentBytes); at <= synced && at > 0; at += 1 + random.below(200_000)) ends.push(at)
    if (isWhole && random.below(3) === 0) ends.push(segmentBytes)
    const stored = isWhole && random.below(2) === 0
    const busy: Lane[] = []
    if (isWhole && random.below(4) === 0) busy.push(stored ? 'settle' : random.pick(['whole', 'find']))
    if (random.below(4) === 0 && lookers-- > 0) busy.push('chunk')
    return {
      synced: isWhole ? 'whole' : synced,
      lookedFor: random.below(2) === 0,
      stored,
      settled: stored && busy.length === 0 && random.below(2) === 0,
      chunks: random.below(3) === 0 ? null : [...new Set(ends)],
      busy,
    }
  })
}

test('whatever lies in the spool: no chunk behind a hole, nothing twice, no more at once than allowed', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 3000; round++) {
    const shipments = spoolOf(...randomSpool(random))
    const uploadConcurrency = 1 + random.below(4)
    const tasks = nextTasks({
      shipments,
      histories: [],
      segmentBytes,
      uploadConcurrency,
      tailIsDue: random.below(2) === 0,
    })
    const told = `round ${round}: ${tasks.map(inWords).join(', ')}`
    const inLane = (lane: Lane): number => tasks.filter((task) => task.lane === lane).length
    const underWay = shipments.filter((one) => one.busy.has('whole')).length
    assert.ok(inLane('whole') === 0 || inLane('whole') + underWay <= uploadConcurrency, told)
    assert.ok(inLane('chunk') + shipments.filter((one) => one.busy.has('chunk')).length <= 1, told)
    assert.equal(new Set(tasks.map((task) => `${task.lane} ${task.shipment.name}`)).size, tasks.length, told)
    for (const task of tasks) {
      assert.ok(!task.shipment.busy.has(task.lane), told)
      assert.ok(!task.shipment.settled, told)
      if (task.lane === 'whole') assert.ok(task.shipment.whole, told)
      if (task.lane !== 'chunk' || task.to === null) continue
      const before = shipments.slice(0, shipments.indexOf(task.shipment))
      assert.ok(
        before.every((one) => one.stored || one.coveredBytes === segmentBytes),
        `${told}: behind a hole`,
      )
      assert.equal(task.from, task.shipment.coveredBytes, told)
      assert.ok(task.from < task.to && task.to <= task.shipment.syncedBytes, told)
    }
  }
})

test('a segment that is not covered is always worked on, as long as something of it may be shipped', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 3000; round++) {
    const shipments = spoolOf(...randomSpool(random))
    const uploadConcurrency = 1 + random.below(8)
    const input = { shipments, histories: [], segmentBytes, uploadConcurrency, tailIsDue: true }
    const tasks = nextTasks(input)
    const front = frontOf(shipments, segmentBytes)
    if (front === null || front.syncedBytes <= front.coveredBytes) continue
    const chunksElsewhere = shipments.some((one) => one !== front && one.busy.has('chunk'))
    const begun = tasks.filter((task) => task.lane === 'whole').length
    const uploads = shipments.filter((one) => one.busy.has('whole')).length + begun
    const othersFirst = front.whole && uploads >= uploadConcurrency
    const findsElsewhere = front.whole && shipments.some((one) => one !== front && one.busy.has('find'))
    const worked =
      front.busy.size > 0 ||
      tasks.some((task) => task.shipment === front && task.lane !== 'merge') ||
      nextToFind(input).includes(front)
    assert.ok(
      worked || chunksElsewhere || othersFirst || findsElsewhere,
      `round ${round}: nothing happens to segment ${front.segment.segno}`,
    )
  }
})

test('what is stored is settled, or something is still uploaded', (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 3000; round++) {
    const shipments = spoolOf(...randomSpool(random))
    const uploadConcurrency = 1 + random.below(4)
    const input = { shipments, histories: [], segmentBytes, uploadConcurrency, tailIsDue: true }
    const waiting = shipments.filter((one) => one.stored && !one.settled && one.busy.size === 0)
    const isHeld = shipments.some((one) => one.busy.has('whole') || one.busy.has('settle'))
    const next = nextToSettle(input)
    assert.ok(next.length === 0 || next.length === waiting.length, `round ${round}`)
    assert.ok(waiting.length === 0 || isHeld || next.length > 0, `round ${round}: nothing is settled`)
  }
})

test('uploads do not run far ahead of the first segment that is missing', () => {
  const stored = Array.from({ length: 28 }, (): Given => ({ synced: 'whole', stored: true }))
  const waiting = Array.from({ length: 100 }, () => whole)
  const shipments = spoolOf({ synced: 'whole', busy: ['whole'] }, ...stored, ...waiting)
  const input = { shipments, histories: [], segmentBytes, uploadConcurrency: 64, tailIsDue: false }
  const numbers = nextTasks(input).map((task) => task.shipment.segment.segno)
  assert.equal(Math.max(...numbers.filter((segno) => segno >= 30)), 32)
})

describe('a timeline is born in order', () => {
  const fork = asLsn(segmentBytes + 5000)
  const history = { timeline: 2, fork, stored: false, busy: false }

  /** Segments 1 and 2 of timeline 2, the first as given. */
  function planOf(
    first: Given,
    given: Partial<typeof history> = {},
    second = whole,
  ): { tasks: string[]; histories: number[] } {
    const shipments = spoolOn(2, [first, second])
    const histories = [{ ...history, ...given }]
    const input = { shipments, histories, segmentBytes, uploadConcurrency: 4, tailIsDue: true }
    return { tasks: plannedFor(input), histories: nextHistories(input) }
  }

  test('first its first segment, up to the fork', () => {
    assert.deepEqual(planOf({ synced: 4999, chunks: [] }), { tasks: [], histories: [] })
    assert.deepEqual(planOf({ synced: 5000, chunks: [] }), { tasks: ['chunk 1 0-5000'], histories: [] })
    assert.deepEqual(planOf({ synced: 'whole' }), { tasks: ['whole 1'], histories: [] })
    assert.deepEqual(planOf(unknown, {}, unknown), { tasks: ['find 1'], histories: [] })
  })

  test('then its history file, then all others', () => {
    assert.deepEqual(planOf({ synced: 6000, chunks: [5000] }), { tasks: ['chunk 1 5000-6000'], histories: [2] })
    assert.deepEqual(planOf({ synced: 'whole', stored: true }).histories, [2])
    assert.deepEqual(planOf({ synced: 'whole', stored: true }, { busy: true }), { tasks: ['settle 1'], histories: [] })
    assert.deepEqual(planOf({ synced: 'whole', stored: true }, { stored: true }), {
      tasks: ['whole 2', 'settle 1'],
      histories: [],
    })
  })

  test('and one of which nothing was received yet waits', () => {
    assert.deepEqual(planOf({ synced: 'whole', stored: true }, { timeline: 3 }).histories, [])
  })
})
