/** What a kill leaves when several segments were open, on one timeline or over a fork: nothing of it is passed over. */
import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Positions } from '../../src/spool/positions.ts'
import { recoverSpool, type SpoolScan } from '../../src/spool/recover.ts'
import { Spool } from '../../src/spool/spool.ts'
import { asLsn, formatLsn, type Lsn } from '../../src/wal/lsn.ts'
import { historyName, segmentName } from '../../src/wal/segment.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { tempFolder } from '../support/temp.ts'
import { WalWriter } from '../wal/wal-writer.ts'
import { segmentBytes } from './feeder.ts'

const quiet = (): void => undefined

function startOf(segno: number): Lsn {
  return asLsn(segno * segmentBytes)
}

function nameOf(segno: number, timeline = 1): string {
  return segmentName({ timeline, segno }, segmentBytes)
}

/** WAL from the start of segment 2 on, of small records, so that one crosses each boundary. */
function writeUpTo(writer: WalWriter, lsn: Lsn): void {
  while (writer.position < lsn) writer.record(Buffer.alloc(3000, 7))
}

/** Puts segments of the bytes from segment 2 on into a folder: whole ones, and open ones. */
async function put(folder: string, bytes: Buffer, names: Readonly<Record<number, string>>): Promise<void> {
  for (const [segno, name] of Object.entries(names)) {
    const at = (Number(segno) - 2) * segmentBytes
    await writeFile(join(folder, name), bytes.subarray(at, at + segmentBytes))
  }
}

function spoolOf(folder: string, scan: SpoolScan): Spool {
  return new Spool({ folder, segmentBytes, positions: new Positions(new FakeClock()) }, scan)
}

function listed(folder: string, scan: SpoolScan): string[] {
  return spoolOf(folder, scan)
    .segments()
    .map(({ name, whole, syncedBytes }) => `${name}${whole ? '' : '.partial'} ${syncedBytes}`)
}

test('open segments that end in a switch are whole, each that is followed', async (t) => {
  const folder = await tempFolder(t)
  const writer = new WalWriter({ start: startOf(2), segmentBytes })
  writeUpTo(writer, asLsn(startOf(5) + 200_000n))
  writer.switchSegment(0)
  const bytes = writer.paddedBytes()
  await put(folder, bytes, {
    2: nameOf(2),
    3: `${nameOf(3)}.partial`,
    4: `${nameOf(4)}.partial`,
    5: `${nameOf(5)}.partial`,
  })
  const scan = await recoverSpool(folder)
  assert.deepEqual(
    scan.wholes.map((one) => one.segno),
    [2, 3, 4],
  )
  assert.ok(scan.end !== null && scan.end.place.lsn > startOf(5) && scan.end.place.lsn < startOf(6))
  assert.deepEqual((await readdir(folder)).toSorted(), [nameOf(2), nameOf(3), nameOf(4), `${nameOf(5)}.partial`])
})

test('behind an open segment whose beginning is proved by nothing, nothing counts', async (t) => {
  const folder = await tempFolder(t)
  const writer = new WalWriter({ start: startOf(2), segmentBytes })
  writeUpTo(writer, asLsn(startOf(5) + 200_000n))
  await put(folder, writer.paddedBytes(), {
    3: `${nameOf(3)}.partial`,
    4: `${nameOf(4)}.partial`,
    5: `${nameOf(5)}.partial`,
  })
  const scan = await recoverSpool(folder)
  assert.deepEqual(scan.wholes, [])
  assert.equal(scan.end?.place.lsn, startOf(3))
})

test("a timeline's first segment is proved from its parent's last whole one", async (t) => {
  const folder = await tempFolder(t)
  const writer = new WalWriter({ start: startOf(2), segmentBytes })
  writeUpTo(writer, asLsn(startOf(3) + 20_000n))
  const fork = writer.position
  writer.timeline = 2
  writeUpTo(writer, asLsn(startOf(3) + 200_000n))
  const bytes = writer.paddedBytes()
  await put(folder, bytes, { 2: nameOf(2), 3: `${nameOf(3, 2)}.partial` })
  await writeFile(join(folder, historyName(2)), `1\t${formatLsn(fork)}\tno recovery target specified\n`)
  const scan = await recoverSpool(folder)
  assert.deepEqual(scan.end, { place: { timeline: 2, lsn: writer.position }, proved: true })
  const bytesOfIt = Number(writer.position - startOf(3))
  assert.deepEqual(listed(folder, scan), [`${nameOf(2)} ${segmentBytes}`, `${nameOf(3, 2)}.partial ${bytesOfIt}`])
})

test('what a left first segment has of its parent alone is not its own', async (t) => {
  const folder = await tempFolder(t)
  const writer = new WalWriter({ start: startOf(3), segmentBytes })
  writeUpTo(writer, asLsn(startOf(3) + 100_000n))
  await writeFile(join(folder, `${nameOf(3, 2)}.partial`), writer.paddedBytes())
  await writeFile(join(folder, historyName(2)), `1\t${formatLsn(asLsn(startOf(3) + 500_000n))}\tpromoted\n`)
  const third = new WalWriter({ start: startOf(3), segmentBytes, timeline: 3 })
  writeUpTo(third, asLsn(startOf(3) + 300_000n))
  await writeFile(join(folder, `${nameOf(3, 3)}.partial`), third.paddedBytes())
  const scan = await recoverSpool(folder)
  assert.deepEqual(scan.left, [])
  assert.equal(scan.end?.place.timeline, 3)
})

test('an older open copy beside a whole segment is never read in its place', async (t) => {
  const folder = await tempFolder(t)
  const writer = new WalWriter({ start: startOf(2), segmentBytes })
  writeUpTo(writer, startOf(3))
  await put(folder, writer.paddedBytes(), { 2: nameOf(2) })
  await writeFile(join(folder, `${nameOf(2)}.partial`), Buffer.from(writer.paddedBytes()).fill(0, 5000, segmentBytes))
  const spool = spoolOf(folder, await recoverSpool(folder))
  const file = await spool.openForRead({ timeline: 1, segno: 2 })
  try {
    const read = Buffer.alloc(segmentBytes)
    await file.read(read, 0, segmentBytes, 0)
    assert.ok(read.equals(writer.paddedBytes().subarray(0, segmentBytes)))
  } finally {
    await file.close()
  }
})

test('a whole segment that is streamed over once more is compared, and stays what it is', async (t) => {
  const folder = await tempFolder(t)
  const writer = new WalWriter({ start: startOf(2), segmentBytes })
  writeUpTo(writer, startOf(3))
  const whole = writer.paddedBytes().subarray(0, segmentBytes)
  await put(folder, writer.paddedBytes(), { 2: nameOf(2) })
  const stream = async (bytes: Buffer): Promise<{ spool: Spool; failure: unknown }> => {
    const spool = spoolOf(folder, await recoverSpool(folder))
    let failure: unknown = null
    const listener = { progress: quiet, hasRoom: quiet, failed: (error: unknown) => void (failure = error) }
    await spool.beginStream(1, startOf(2), listener)
    spool.append(bytes)
    spool.batchEnd()
    await spool.close()
    return { spool, failure }
  }
  const other = await stream(Buffer.from(whole).fill(9, 50_000, 60_000))
  assert.match(String(other.failure), /streams other bytes/)
  const same = await stream(Buffer.from(whole))
  assert.equal(same.failure, null)
  assert.equal(same.spool.segments().length, 1)
  assert.ok((await readFile(join(folder, nameOf(2)))).equals(whole))
})

test('a segment that is streamed over once more is not removed under the stream', async (t) => {
  const folder = await tempFolder(t)
  const writer = new WalWriter({ start: startOf(2), segmentBytes })
  writeUpTo(writer, startOf(3))
  await put(folder, writer.paddedBytes(), { 2: nameOf(2) })
  const spool = spoolOf(folder, await recoverSpool(folder))
  await spool.beginStream(1, startOf(2), { progress: quiet, hasRoom: quiet, failed: (error) => assert.fail(error) })
  spool.append(Buffer.from(writer.paddedBytes().subarray(0, 100_000)))
  spool.batchEnd()
  await spool.settle()
  await spool.remove({ timeline: 1, segno: 2 })
  assert.equal(spool.segments().length, 1)
  spool.append(Buffer.from(writer.paddedBytes().subarray(100_000, segmentBytes)))
  spool.batchEnd()
  await spool.close()
  assert.ok((await readFile(join(folder, nameOf(2)))).equals(writer.paddedBytes().subarray(0, segmentBytes)))
})
