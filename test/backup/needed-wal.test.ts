import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { chunkKey, historyKey, segmentKey } from '../../src/archive/keys.ts'
import { refuseLeftBranch } from '../../src/backup/left-branch.ts'
import { coverageOf, neededSegments } from '../../src/backup/needed-wal.ts'
import { waitForWal } from '../../src/backup/wait-for-wal.ts'
import { isError, WalferryError } from '../../src/kit/errors.ts'
import { firstTimeline, type TimelineHistory } from '../../src/wal/history.ts'
import { asLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { MemoryStore } from '../support/memory-store.ts'

const { signal } = new AbortController()
const segmentBytes = 2 ** 20
const name = (timeline: number, segno: number): string =>
  `0000000${timeline}00000000${segno.toString(16).toUpperCase().padStart(8, '0')}`
const lsn = (segno: number, offset = 0): Lsn => asLsn(segno * segmentBytes + offset)

const second: TimelineHistory = {
  timeline: 2,
  ancestors: [{ timeline: 1, switchPoint: lsn(4, 500), reason: '' }],
}

const cases: readonly (readonly [string, Lsn, Lsn, TimelineHistory, readonly (readonly [string, number])[]])[] = [
  ['within one segment', lsn(3, 40), lsn(3, 900), firstTimeline, [[name(1, 3), 900]]],
  ['up to a boundary, which belongs to what it ends', lsn(3, 40), lsn(4), firstTimeline, [[name(1, 3), segmentBytes]]],
  [
    'over several segments',
    lsn(3, 40),
    lsn(5, 7),
    firstTimeline,
    [
      [name(1, 3), segmentBytes],
      [name(1, 4), segmentBytes],
      [name(1, 5), 7],
    ],
  ],
  [
    'over a change of timelines: its segment is that of the new one',
    lsn(3, 40),
    lsn(5, 7),
    second,
    [
      [name(1, 3), segmentBytes],
      [name(2, 4), segmentBytes],
      [name(2, 5), 7],
    ],
  ],
  [
    'that ended where the timeline did',
    lsn(3, 40),
    lsn(4, 500),
    second,
    [
      [name(1, 3), segmentBytes],
      [name(1, 4), 500],
    ],
  ],
]
for (const [what, from, to, line, expected] of cases) {
  test(`the WAL that a backup needs: ${what}`, () => {
    assert.deepEqual(
      neededSegments(from, to, line, segmentBytes),
      expected.map(([one, bytes]) => ({ name: one, bytes })),
    )
  })
}

const needed = neededSegments(lsn(3, 40), lsn(5, 7000), firstTimeline, segmentBytes)
const whole = (segno: number, codec: 'lz4' | 'zst' | 'none' = 'lz4'): string => segmentKey(name(1, segno), codec)
const tail = (segno: number, to: number, from = 0): string => chunkKey(name(1, segno), from, to, 'lz4')

const archives: readonly (readonly [string, readonly string[], string | null, boolean])[] = [
  ['nothing', [], name(1, 3), false],
  ['all as one object each, of any compression', [whole(3, 'none'), whole(4, 'zst'), whole(5)], null, true],
  ['the last as a tail that reaches the end', [whole(3), whole(4), tail(5, 7000)], null, false],
  ['the last as a tail that falls short', [whole(3), whole(4), tail(5, 6999)], name(1, 5), false],
  ['a tail with a hole', [whole(3), whole(4), tail(5, 5000), tail(5, 7000, 5001)], name(1, 5), false],
  ['one in the middle as a tail that is not whole yet', [whole(3), tail(4, 8192), whole(5)], name(1, 4), false],
  ['one in the middle as a tail that is', [whole(3), tail(4, segmentBytes), whole(5)], null, true],
  ['the first as a .partial', [`wal_005/${name(1, 3)}.partial.lz4`, whole(4), whole(5)], name(1, 3), false],
  ['that of another timeline', [3, 4, 5].map((n) => segmentKey(name(2, n), 'lz4')), name(1, 3), false],
]
for (const [what, keys, missing, isWhole] of archives) {
  test(`an archive that has ${what}`, async () => {
    const store = new MemoryStore()
    for (const key of keys) store.set(key)
    const found = await coverageOf(new Archive(store), needed, segmentBytes, { signal })
    assert.deepEqual([found.missing?.name ?? null, found.isWhole], [missing, isWhole])
  })
}

function waiting(store: MemoryStore, change: Partial<Parameters<typeof waitForWal>[0]> = {}) {
  const archive = new Archive(store)
  const line = firstTimeline
  return waitForWal({ archive, needed, line, segmentBytes, waitMs: 30_000, wholeOnly: false, signal, ...change })
}

function about(pattern: RegExp) {
  return (error: unknown) =>
    isError(error, 'BACKUP_WITHOUT_WAL') && pattern.test(error.message) && /--with-wal/.test(error.hint ?? '')
}

test('WAL that comes while it is waited for is seen, through an outage of the store', async () => {
  const store = new MemoryStore()
  for (const key of [whole(3), whole(4)]) store.set(key)
  let looks = 0
  store.before = (operation) => {
    if (operation !== 'list') return
    looks++
    if (looks < 4) throw new WalferryError('STORE_UNREACHABLE', 'away', { retryable: true })
    if (looks > 6) store.set(tail(5, 8000))
  }
  assert.deepEqual(await waiting(store), { missing: null, isWhole: false })
})

test('WAL that does not come is told with the segment, and an outage with its reason', async () => {
  const store = new MemoryStore()
  for (const key of [whole(3), whole(5)]) store.set(key)
  await assert.rejects(waiting(store, { waitMs: 0 }), about(new RegExp(name(1, 4))))
  store.set(whole(4))
  assert.deepEqual(await waiting(store, { waitMs: 0, wholeOnly: true }), { missing: null, isWhole: true })
  store.delete(whole(5))
  store.set(tail(5, 7000))
  await assert.rejects(waiting(store, { waitMs: 0, wholeOnly: true }), about(/all of segment/))
  store.before = () => {
    throw new WalferryError('STORE_UNREACHABLE', 'away', { retryable: true })
  }
  await assert.rejects(waiting(store, { waitMs: 0 }), about(/away/))
})

test('on a later timeline the history file is waited for, too', async () => {
  const store = new MemoryStore()
  const line = { timeline: 2, ancestors: [{ timeline: 1, switchPoint: lsn(1), reason: '' }] }
  const own = { line, needed: neededSegments(lsn(3), lsn(3, 9), line, segmentBytes), waitMs: 0 }
  store.set(segmentKey(name(2, 3), 'lz4'))
  await assert.rejects(waiting(store, own), (error) => isError(error) && /00000002\.history/.test(error.message))
  store.set(historyKey(2, 'lz4'))
  assert.equal((await waiting(store, own)).isWhole, true)
})

test('a server that has passed the place where the archive left its timeline is refused', async () => {
  const store = new MemoryStore()
  const archive = new Archive(store)
  const look = (timeline: number, upTo: string) => refuseLeftBranch(archive, timeline, parseLsn(upTo), { signal })
  await look(1, '0/5000000')
  store.set(historyKey(2, 'none'), Buffer.from('1\t0/4000158\tno recovery target specified\n'))
  await look(1, '0/5000000') // a history without WAL leads nowhere
  store.set(segmentKey(name(2, 4), 'lz4'))
  await look(1, '0/4000158')
  await look(2, '0/9000000')
  await assert.rejects(
    look(1, '0/4000159'),
    (error) => isError(error, 'SERVER_TIMELINE') && /0\/4000158/.test(error.message),
  )
})
