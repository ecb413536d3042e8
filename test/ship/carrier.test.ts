import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { memoryAt } from '../../src/archive/bytes-at.ts'
import type { WritableCodec } from '../../src/archive/codec-name.ts'
import { planMerge } from '../../src/archive/tail.ts'
import { systemClock } from '../../src/kit/clock.ts'
import { noMetrics } from '../../src/metrics/catalogue.ts'
import { Carrier } from '../../src/ship/carrier.ts'
import { Record } from '../../src/ship/record.ts'
import { Positions } from '../../src/spool/positions.ts'
import { emptySpool } from '../../src/spool/recover.ts'
import { Spool } from '../../src/spool/spool.ts'
import { segmentName } from '../../src/wal/segment.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'

const segmentBytes = 1024 * 1024
const segment = { timeline: 1, segno: 5 }
const name = segmentName(segment, segmentBytes)

interface Place {
  readonly store: MemoryStore
  readonly wal: Buffer
  /** A process that has just started. */
  begin(codec?: WritableCodec): { readonly carrier: Carrier; readonly record: Record }
  /** The tail as a recovering server would get it. */
  tail(): Promise<Buffer>
}

/** A spool with one open segment, and an empty store. */
async function makePlace(t: TestContext): Promise<Place> {
  const folder = await tempFolder(t)
  const wal = seededRandom(t).bytes(4000)
  const file = await open(join(folder, `${name}.partial`), 'w')
  await file.write(wal)
  await file.truncate(segmentBytes)
  await file.close()
  const store = new MemoryStore()
  const archive = new Archive(store)
  const spool = new Spool({ folder, segmentBytes, positions: new Positions(systemClock) }, emptySpool)
  return {
    store,
    wal,
    begin: (codec = 'lz4') => ({
      carrier: new Carrier({ source: spool, archive, codec, metrics: noMetrics, aside: false }),
      record: new Record(),
    }),
    tail: async () => {
      const bytes = Buffer.alloc(segmentBytes)
      const read = await archive.readTail(name, segmentBytes, memoryAt(bytes), { signal: deadline() })
      return read.found === 'tail' ? bytes.subarray(0, read.bytes) : assert.fail('whole')
    },
  }
}

async function merge({ carrier, record }: ReturnType<Place['begin']>): Promise<void> {
  const due = planMerge(record.chunks ?? [])
  if (due === null) return
  const merged = await carrier.putMerged(segment, due, deadline())
  await carrier.delete(record.replace(due.replaces, merged), deadline())
}

test('a merge keeps the tail as it was, in one chunk', async (t) => {
  const place = await makePlace(t)
  const run = place.begin()
  await run.carrier.findChunks({ segment, syncedBytes: 0, left: false }, run.record, deadline())
  for (let n = 0; n < 8; n++) await run.carrier.putChunk(segment, run.record, n * 100, n * 100 + 100, deadline())
  await merge(run)
  assert.deepEqual(await place.tail(), place.wal.subarray(0, 800))
  assert.equal(place.store.keys.length, 1)
})

test('a crash between a merge and its deletions, and the merge after it, lose no byte of the tail', async (t) => {
  const place = await makePlace(t)
  const first = place.begin()
  await first.carrier.findChunks({ segment, syncedBytes: 0, left: false }, first.record, deadline())
  for (let n = 0; n < 8; n++) await first.carrier.putChunk(segment, first.record, n * 100, n * 100 + 100, deadline())
  place.store.before = (operation) => {
    if (operation === 'deleteMany') throw new Error('the process is killed')
  }
  await assert.rejects(merge(first), /killed/)
  place.store.before = () => undefined
  assert.equal(place.store.keys.length, 9, 'the merged chunk beside those that it covers')

  const second = place.begin()
  await second.carrier.findChunks({ segment, syncedBytes: 800, left: false }, second.record, deadline())
  await merge(second)
  assert.deepEqual(await place.tail(), place.wal.subarray(0, 800))
  await second.carrier.putChunk(segment, second.record, 800, 900, deadline())
  await merge(second)
  assert.deepEqual(await place.tail(), place.wal.subarray(0, 900))
})

test('a tail goes on, is merged, and gives way to its segment in another compression than it began in', async (t) => {
  const place = await makePlace(t)
  const first = place.begin('lz4')
  await first.carrier.findChunks({ segment, syncedBytes: 0, left: false }, first.record, deadline())
  for (let n = 0; n < 4; n++) await first.carrier.putChunk(segment, first.record, n * 100, n * 100 + 100, deadline())

  const second = place.begin('none')
  await second.carrier.findChunks({ segment, syncedBytes: 400, left: false }, second.record, deadline())
  for (let n = 4; n < 8; n++) await second.carrier.putChunk(segment, second.record, n * 100, n * 100 + 100, deadline())
  assert.deepEqual(await place.tail(), place.wal.subarray(0, 800))
  await merge(second)
  assert.deepEqual(await place.tail(), place.wal.subarray(0, 800))
  assert.equal(place.store.keys.length, 1)

  const whole = { segment, name, record: second.record }
  assert.deepEqual([...(await second.carrier.findSegments([whole], deadline()))], [[name, []]])
  await second.carrier.putSegment(segment, [], deadline())
  const chunks = (await second.carrier.listChunks([whole], deadline())).get(name)
  assert.equal(chunks?.length, 1)
  await second.carrier.deleteChunks(whole, chunks, deadline())
  assert.deepEqual(place.store.keys, [`wal_005/${name}`])
})

test('a chunk that another receiver merges away while chunks are compared is looked for again', async (t) => {
  const place = await makePlace(t)
  const first = place.begin()
  await first.carrier.findChunks({ segment, syncedBytes: 0, left: false }, first.record, deadline())
  for (let n = 0; n < 8; n++) await first.carrier.putChunk(segment, first.record, n * 100, n * 100 + 100, deadline())

  const second = place.begin()
  let merging: Promise<void> | null = null
  place.store.before = async (operation) => {
    if (operation === 'get') await (merging ??= merge(first))
  }
  await second.carrier.findChunks({ segment, syncedBytes: 800, left: false }, second.record, deadline())
  assert.deepEqual(
    second.record.chunks?.map((chunk) => chunk.key),
    place.store.keys,
  )
  assert.equal(place.store.keys.length, 1)
})
