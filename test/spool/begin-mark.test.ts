/** A stream that passes over WAL, because it is lost or because the archive has it, and what a kill then leaves. */
import assert from 'node:assert/strict'
import { readdir, rename, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Positions } from '../../src/spool/positions.ts'
import { recoverSpool, type SpoolScan } from '../../src/spool/recover.ts'
import { Spool } from '../../src/spool/spool.ts'
import { asLsn } from '../../src/wal/lsn.ts'
import { segmentName } from '../../src/wal/segment.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { tempFolder } from '../support/temp.ts'
import { WalWriter } from '../wal/wal-writer.ts'
import { segmentBytes } from './feeder.ts'

/** A stream from the beginning of a segment on, that ends soon after the begin of the last one. */
interface Stream {
  readonly from: number
  readonly segments: number
  readonly timeline?: number
}

function nameOf(segno: number, timeline = 1): string {
  return segmentName({ timeline, segno }, segmentBytes)
}

function spoolOf(folder: string, scan: SpoolScan): Spool {
  return new Spool({ folder, segmentBytes, positions: new Positions(new FakeClock()) }, scan)
}

/** WAL whose first record begins in its first segment: that proves it by itself. */
function walOf({ from, segments, timeline = 1 }: Stream): Buffer {
  const writer = new WalWriter({ start: asLsn(from * segmentBytes), segmentBytes, timeline })
  const end = (from + segments - 1) * segmentBytes + 50_000
  while (writer.position < end) writer.record(Buffer.alloc(9000, 5))
  return writer.bytes()
}

/** Streams one after another into a new spool, as a receiver does that connects again and again. */
async function received(t: TestContext, ...streams: readonly Stream[]): Promise<string> {
  const folder = await tempFolder(t)
  for (const stream of streams) {
    const spool = spoolOf(folder, await recoverSpool(folder))
    const listener = { progress() {}, hasRoom() {}, failed: (error: unknown) => assert.fail(String(error)) }
    await spool.beginStream(stream.timeline ?? 1, asLsn(stream.from * segmentBytes), listener)
    spool.append(walOf(stream))
    spool.batchEnd()
    await spool.close()
  }
  return folder
}

/** A kill comes before the sync that gives a segment its final name. */
async function reopen(folder: string, ...segnos: readonly number[]): Promise<void> {
  for (const segno of segnos) await rename(join(folder, nameOf(segno)), join(folder, `${nameOf(segno)}.partial`))
}

/** What a start would ship, by segment number, with `+` for whole ones; and the segment in which the spool ends. */
async function start(folder: string): Promise<{ ships: string[]; end: number | null; proved: boolean | undefined }> {
  const scan = await recoverSpool(folder)
  const shipped = spoolOf(folder, scan)
    .segments()
    .filter((one) => one.syncedBytes > 0)
    .map(({ segment, whole }) => `${segment.timeline}/${segment.segno}${whole ? '+' : ''}`)
  const end = scan.end === null ? null : Number(scan.end.place.lsn / BigInt(segmentBytes))
  return { ships: shipped, end, proved: scan.end?.proved }
}

const cases: readonly {
  readonly name: string
  readonly streams: readonly Stream[]
  readonly reopened?: readonly number[]
  readonly ships: readonly string[]
  readonly end: number
}[] = [
  {
    name: 'several segments',
    streams: [
      { from: 5, segments: 1 },
      { from: 9, segments: 1 },
    ],
    ships: ['1/5', '1/9'],
    end: 9,
  },
  {
    name: 'the rest of one segment',
    streams: [
      { from: 5, segments: 1 },
      { from: 6, segments: 1 },
    ],
    ships: ['1/5', '1/6'],
    end: 6,
  },
  {
    name: 'two stretches of WAL',
    streams: [
      { from: 5, segments: 1 },
      { from: 9, segments: 1 },
      { from: 12, segments: 1 },
    ],
    ships: ['1/5', '1/9', '1/12'],
    end: 12,
  },
  {
    name: 'WAL behind a whole segment',
    streams: [
      { from: 4, segments: 2 },
      { from: 9, segments: 1 },
    ],
    ships: ['1/4+', '1/5', '1/9'],
    end: 9,
  },
  {
    name: 'WAL between several segments that are not synced on either side',
    streams: [
      { from: 4, segments: 3 },
      { from: 9, segments: 3 },
    ],
    reopened: [4, 5, 9, 10],
    ships: ['1/4+', '1/5+', '1/6', '1/9+', '1/10+', '1/11'],
    end: 11,
  },
  {
    name: 'WAL, and is whole by now',
    streams: [
      { from: 5, segments: 1 },
      { from: 9, segments: 2 },
    ],
    ships: ['1/5', '1/9+', '1/10'],
    end: 10,
  },
  {
    name: 'WAL on a timeline that was left since',
    streams: [
      { from: 5, segments: 1 },
      { from: 9, segments: 1 },
      { from: 9, segments: 1, timeline: 2 },
    ],
    ships: ['1/5', '1/9', '2/9'],
    end: 9,
  },
]

for (const { name, streams, reopened = [], ships, end } of cases) {
  test(`all that is here is shipped after a kill, where a stream passed over ${name}`, async (t) => {
    const folder = await received(t, ...streams)
    await reopen(folder, ...reopened)
    assert.deepEqual(await start(folder), { ships, end, proved: true })
    // And once more: what a start does to the files says the same to the next one.
    assert.deepEqual(await start(folder), { ships, end, proved: true })
  })
}

test('a stream that began elsewhere since is where the spool ends, and not the one that had passed over WAL', async (t) => {
  const folder = await received(
    t,
    { from: 5, segments: 1 },
    { from: 9, segments: 1 },
    // Another host has what the first one lost.
    { from: 5, segments: 2 },
  )
  assert.deepEqual(await start(folder), { ships: ['1/5+', '1/6'], end: 6, proved: true })
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.endsWith('.begin')),
    [],
  )
})

test('what a power cut left behind the lost beginning of a stream counts for nothing', async (t) => {
  const folder = await received(t, { from: 5, segments: 1 }, { from: 9, segments: 2 })
  await reopen(folder, 9)
  await unlink(join(folder, `${nameOf(9)}.partial`))
  assert.deepEqual(await start(folder), { ships: ['1/5'], end: 5, proved: true })
})

test('a beginning that nothing proves is not shipped, and the stream goes on there', async (t) => {
  const folder = await received(t, { from: 5, segments: 1 }, { from: 9, segments: 1 })
  const writer = new WalWriter({ start: asLsn(8 * segmentBytes), segmentBytes })
  while (writer.position < 9 * segmentBytes + 50_000) writer.record(Buffer.alloc(9000, 8))
  await writeFile(join(folder, `${nameOf(9)}.partial`), writer.paddedBytes().subarray(segmentBytes))
  assert.deepEqual(await start(folder), { ships: ['1/5'], end: 9, proved: false })
  const again = spoolOf(folder, await recoverSpool(folder))
  assert.deepEqual(again.provedEnd, { timeline: 1, lsn: asLsn(9 * segmentBytes) })
})

test('where nothing is passed over there is no mark', async (t) => {
  const folder = await received(t, { from: 5, segments: 1 }, { from: 5, segments: 2 })
  assert.deepEqual((await readdir(folder)).toSorted(), [nameOf(5), `${nameOf(6)}.partial`])
})
