/** One byte is flipped, anywhere in any object: the damage is told, and never served or taken for "absent". */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { RecordWalker } from '../../src/wal/record-walker.ts'
import { flipped } from '../archive/streams.ts'
import { type Random, seededRandom } from '../support/random.ts'
import { type Asked, DataFolder } from './data-folder.ts'
import { MadeArchive, nameOf } from './made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from './made-wal.ts'

const edgeBytes = 64
const randomPlaces = 32

/** Every place within 64 bytes of either end, and some between; each with one bit to flip. */
function flips(bytes: number, random: Random): { at: number; mask: number }[] {
  const places = new Set<number>()
  for (let n = 0; n < Math.min(edgeBytes, bytes); n++) places.add(n).add(bytes - 1 - n)
  for (let n = 0; n < randomPlaces; n++) places.add(random.below(bytes))
  return [...places].map((at) => ({ at, mask: 1 << random.below(8) }))
}

interface Sample {
  readonly archive: MadeArchive
  /** What the answers are without damage. */
  readonly history: string
  readonly wal: MadeWal
}

/** Segment 2 whole, 3 in two chunks of lz4 and one without compression, a history file, an identity. */
async function sample(random: Random): Promise<Sample> {
  const wal = new MadeWal()
  while (wal.end < 3 * segmentBytes + 200_000) wal.record(random.bytes(random.below(4000)))
  const archive = new MadeArchive()
  const history = '1\t0/300100\tno recovery target specified\n'
  archive.identity(wal)
  await archive.segment(wal, 2)
  await archive.chunk(wal, 3, 0, 90_000)
  await archive.chunk(wal, 3, 90_000, 150_000)
  await archive.chunk(wal, 3, 150_000, wal.end % segmentBytes, 'none')
  await archive.history(2, history)
  return { archive, history, wal }
}

/** Flips each place in turn, and asks each time. */
async function spoil(
  t: TestContext,
  random: Random,
  { archive }: Sample,
  key: string,
  ask: () => Promise<void>,
): Promise<void> {
  const good = archive.store.peek(key)
  const places = flips(good.length, random)
  for (const { at, mask } of places) {
    archive.store.set(key, flipped(good, at, mask))
    try {
      await ask()
    } catch (error) {
      t.diagnostic(`byte ${at} of ${key}, of ${good.length} bytes, mask ${mask}`)
      throw error
    }
  }
  archive.store.set(key, good)
}

function assertRefused({ code, said }: Asked, codes: readonly number[]): void {
  assert.ok(codes.includes(code), `answered ${code}: ${said}`)
}

test('in a whole segment', async (t) => {
  const random = seededRandom(t)
  const made = await sample(random)
  const data = await DataFolder.make(t)
  await spoil(t, random, made, `wal_005/${nameOf(1, 2)}.lz4`, async () => {
    assertRefused(await data.ask(made.archive.store, nameOf(1, 2)), [201])
  })
})

test('in a chunk, the last one without any checksum of its own included', async (t) => {
  const random = seededRandom(t)
  const made = await sample(random)
  const data = await DataFolder.make(t, systemIdentifier)
  const chunks = made.archive.store.keys.filter((key) => key.startsWith('walferry_001/tail/'))
  assert.equal(chunks.length, 3)
  for (const key of chunks) {
    await spoil(t, random, made, key, async () => {
      const asked = await data.ask(made.archive.store, nameOf(1, 3))
      // Bytes that belong to nothing, as the padding behind a record, have no checksum but that of LZ4.
      if (asked.file !== null && !key.endsWith('.lz4')) assert.equal(endOfRecords(asked.file), made.wal.end)
      else assertRefused(asked, [201])
    })
  }
})

test('in a history file', async (t) => {
  const random = seededRandom(t)
  const made = await sample(random)
  const data = await DataFolder.make(t, systemIdentifier)
  await spoil(t, random, made, 'wal_005/00000002.history.lz4', async () => {
    assertRefused(await data.ask(made.archive.store, '00000002.history'), [201])
  })
})

test('in the identity', async (t) => {
  const random = seededRandom(t)
  const made = await sample(random)
  const { store } = made.archive
  const data = await DataFolder.make(t, systemIdentifier)
  await spoil(t, random, made, 'walferry_001/identity.json', async () => {
    for (const name of [nameOf(1, 2), nameOf(1, 3), nameOf(1, 4), '00000002.history', '00000003.history']) {
      const asked = await data.ask(store, name)
      const truth = name === nameOf(1, 4) || name === '00000003.history' ? 1 : 0
      const mayBeTrue = onlyTimeDiffers(store.peek('walferry_001/identity.json'))
      assertRefused(asked, mayBeTrue ? [truth, 201] : [201, 203])
    }
  })
})

test('in the identity, so that it names another system: foreign where pg_control can tell, and served nowhere', async (t) => {
  const random = seededRandom(t)
  const made = await sample(random)
  const { store } = made.archive
  made.archive.identity(new MadeWal({ systemIdentifier: systemIdentifier + 100n }))
  const beside = await DataFolder.make(t, systemIdentifier)
  for (const name of [nameOf(1, 2), nameOf(1, 3), nameOf(1, 4), '00000002.history', '00000003.history']) {
    assertRefused(await beside.ask(store, name), [203])
  }
  const alone = await DataFolder.make(t)
  for (const name of [nameOf(1, 2), nameOf(1, 3)]) assertRefused(await alone.ask(store, name), [201])
})

function endOfRecords(bytes: Buffer): number {
  const walker = RecordWalker.ofSegment({ segment: { timeline: 1, segno: 3 }, segmentBytes, systemIdentifier })
  walker.push(bytes)
  return Number(walker.validEnd)
}

/** Nothing depends on the time of the first use: another one is read, or refused, as it comes. */
function onlyTimeDiffers(identity: Uint8Array): boolean {
  return Buffer.from(identity)
    .toString('latin1')
    .startsWith(`{"systemIdentifier":"${systemIdentifier}","segmentBytes":${segmentBytes},"firstUse":"`)
}
