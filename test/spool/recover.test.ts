import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { Positions } from '../../src/spool/positions.ts'
import { emptySpool, recoverSpool, type SpoolScan } from '../../src/spool/recover.ts'
import { Spool } from '../../src/spool/spool.ts'
import { asLsn, type Lsn, plus } from '../../src/wal/lsn.ts'
import { segmentName, segmentStart } from '../../src/wal/segment.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { testVersions } from '../support/postgres.ts'
import { type Random, seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { WalWriter } from '../wal/wal-writer.ts'
import { realWal, type RealWal } from './real-wal.ts'

const segmentBytes = 1024 * 1024

/** Files of a spool by their index from the first segment on; `partial` where its bytes are said to be cut. */
class MadeSpool {
  readonly #wal: RealWal
  readonly folder: string

  constructor(wal: RealWal, folder: string) {
    this.#wal = wal
    this.folder = folder
  }

  segment(n: number): Buffer {
    const segment = this.#wal.segments[n]
    if (segment === undefined) throw new RangeError(`no segment ${n}`)
    return segment
  }

  nameOf(n: number): string {
    return segmentName({ timeline: 1, segno: this.#wal.firstSegno + n }, segmentBytes)
  }

  startOf(n: number): Lsn {
    return segmentStart(this.#wal.firstSegno + n, segmentBytes)
  }

  async whole(...indexes: readonly number[]): Promise<void> {
    for (const n of indexes) await writeFile(join(this.folder, this.nameOf(n)), this.segment(n))
  }

  /** Writes `<name>.partial` of full size, with zeros from `cut` on. Returns where the first byte is missing. */
  async partial(n: number, cut = segmentBytes): Promise<Lsn> {
    const bytes = Buffer.from(this.segment(n)).fill(0, cut)
    await writeFile(join(this.folder, `${this.nameOf(n)}.partial`), bytes)
    return plus(this.startOf(n), firstDifference(bytes, this.segment(n)))
  }

  /** Where the records that are whole before `place` end, but not before segment `n`. */
  endBefore(place: Lsn, n: number): Lsn {
    const start = this.startOf(n)
    const end = this.#wal.records.findLast((one) => one.end <= place)?.end ?? start
    return end > start ? end : start
  }

  /** True if a record begins where a walk from the start of segment `from` sees the first bytes of segment `n`. */
  isProved(n: number, from: number): boolean {
    return this.#wal.records.some(({ start }) => start >= this.startOf(from) && start <= plus(this.startOf(n), 40))
  }
}

/** What a spool that starts on this scan would ship: each segment's name and bytes. */
function shippable(folder: string, scan: SpoolScan): [string, number][] {
  const positions = new Positions(new FakeClock())
  const spool = new Spool({ folder, segmentBytes, positions }, scan)
  return spool.segments().map((one) => [one.whole ? one.name : `${one.name}.partial`, one.syncedBytes])
}

/** Everything in a folder, to see that nothing was changed. */
async function snapshot(folder: string): Promise<unknown> {
  const names = (await readdir(folder)).sort()
  return await Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs, ino } = await stat(join(folder, name))
      return [name, size, mtimeMs, ino]
    }),
  )
}

/** The file is there under another name, with what it held, and counts for nothing. */
async function isSetAside(folder: string, name: string, message: RegExp): Promise<SpoolScan> {
  const before = await readFile(join(folder, name))
  const scan = await recoverSpool(folder)
  const [aside] = scan.setAside
  assert.equal(aside?.name, name)
  assert.match(`${name} ${aside.fault}`, message)
  assert.ok(before.equals(await readFile(join(folder, aside.as))))
  await assert.rejects(readFile(join(folder, name)), { code: 'ENOENT' })
  assert.deepEqual((await recoverSpool(folder)).setAside, [])
  return scan
}

for (const version of await testVersions()) {
  describe(`a spool of WAL of PostgreSQL ${version.major}, found at a start`, () => {
    let wal: RealWal
    before(async () => {
      wal = await realWal(version)
    })

    /** Segments that have one before them and do not end in a switch. */
    const pickOpen = (random: Random): number => {
      const indexes = wal.segments.map((_, n) => n).slice(1, -1)
      return random.pick(indexes.filter((n) => !wal.switched.includes(n)))
    }

    test('ends with its last whole record, wherever the open segment is cut', async (t) => {
      const random = seededRandom(t)
      for (let round = 0; round < 25; round++) {
        const made = new MadeSpool(wal, await tempFolder(t))
        const n = pickOpen(random)
        const cut = random.below(segmentBytes + 1)
        await made.whole(n - 1)
        const missing = await made.partial(n, cut)
        const { end, wholes, identity } = await recoverSpool(made.folder)
        const lsn = made.endBefore(missing, n)
        // A record that is larger than a segment began even before the whole one.
        const proved = made.isProved(n, n - 1) || lsn === made.startOf(n)
        assert.deepEqual(end, { place: { timeline: 1, lsn }, proved }, `cut at ${cut} of segment ${n}`)
        assert.equal(wholes.length, 1)
        assert.deepEqual(identity, { systemIdentifier: wal.systemIdentifier, segmentBytes })
        // Neither a longer nor a shorter file: somebody may still go on with it.
        assert.equal((await stat(join(made.folder, `${made.nameOf(n)}.partial`))).size, segmentBytes)
      }
    })

    test('without the segment before it, is proved only where its first record begins in it', async (t) => {
      const random = seededRandom(t)
      for (let n = 0; n < wal.segments.length; n++) {
        const made = new MadeSpool(wal, await tempFolder(t))
        const cut = 10_000 + random.below(segmentBytes - 10_000)
        const missing = await made.partial(n, cut)
        const scan = await recoverSpool(made.folder)
        const proved = made.isProved(n, n)
        const bytes = Number((scan.end?.place.lsn ?? 0n) - made.startOf(n))
        if (bytes > 0) assert.equal(scan.end?.place.lsn, made.endBefore(missing, n))
        const shipped = bytes === 0 ? [] : [[`${made.nameOf(n)}.partial`, proved ? bytes : 0]]
        assert.deepEqual(shippable(made.folder, scan), shipped)
        assert.ok(bytes === 0 || scan.end?.proved === proved)
      }
    })

    test('gives final names to open segments that are followed without a hole', async (t) => {
      const random = seededRandom(t)
      for (let round = 0; round < 15; round++) {
        const made = new MadeSpool(wal, await tempFolder(t))
        const candidates = wal.segments.map((_, index) => index).slice(1, -1)
        const n = random.pick(candidates.filter((index) => made.isProved(index, index - 1)))
        const cut = 40 + random.below(segmentBytes - 40)
        await made.whole(n - 1)
        await made.partial(n)
        const missing = await made.partial(n + 1, cut)
        const scan = await recoverSpool(made.folder)
        const reached = made.endBefore(missing, n)
        // A record that began in the first may be cut in the second: then the first is still open.
        const isWhole = reached >= made.startOf(n + 1)
        const names = [
          made.nameOf(n - 1),
          isWhole ? made.nameOf(n) : `${made.nameOf(n)}.partial`,
          `${made.nameOf(n + 1)}.partial`,
        ]
        assert.deepEqual((await readdir(made.folder)).sort(), names, `cut at ${cut} of segment ${n + 1}`)
        assert.equal(scan.wholes.length, isWhole ? 2 : 1)
        assert.deepEqual(scan.end, { place: { timeline: 1, lsn: reached }, proved: true })
        assert.ok((await readFile(join(made.folder, names[1] ?? ''))).equals(made.segment(n)))
      }
    })

    test('an open segment whose records end in a switch ends there, until it is followed', async (t) => {
      for (const n of wal.switched.filter((index) => index > 0)) {
        const made = new MadeSpool(wal, await tempFolder(t))
        await made.whole(n - 1)
        await made.partial(n)
        const switchEnd = made.endBefore(made.startOf(n + 1), n)
        const scan = await recoverSpool(made.folder)
        assert.deepEqual(scan.end, { place: { timeline: 1, lsn: switchEnd }, proved: true })
        assert.ok(switchEnd < made.startOf(n + 1))
        const missing = await made.partial(n + 1, 100_000)
        const followed = await recoverSpool(made.folder)
        assert.equal(followed.wholes.length, 2)
        assert.equal(followed.end?.place.lsn, made.endBefore(missing, n + 1))
      }
      assert.ok(wal.switched.length > 1)
    })

    test('after a power cut ends before the first page that was lost', async (t) => {
      const random = seededRandom(t)
      for (let round = 0; round < 25; round++) {
        const made = new MadeSpool(wal, await tempFolder(t))
        const n = pickOpen(random)
        await made.whole(n - 1)
        const synced = random.below(segmentBytes)
        const bytes = Buffer.from(made.segment(n))
        for (let page = Math.ceil(synced / 4096); page < segmentBytes / 4096; page++) {
          if (random.below(3) === 0) bytes.fill(0, page * 4096, (page + 1) * 4096)
        }
        await writeFile(join(made.folder, `${made.nameOf(n)}.partial`), bytes)
        const lost = firstDifference(bytes, made.segment(n))
        const scan = await recoverSpool(made.folder)
        // A record that fills the segment before can be verified from nowhere: then this one is only received again.
        if (scan.end?.proved === false) {
          assert.equal(made.isProved(n, n - 1), false)
          continue
        }
        const lsn = made.endBefore(plus(made.startOf(n), lost), n)
        assert.deepEqual(scan.end?.place, { timeline: 1, lsn }, `first lost byte ${lost} of segment ${n}`)
        assert.ok(lsn >= made.endBefore(plus(made.startOf(n), synced), n), 'less than what was synced')
      }
    })

    test('goes on where pg_receivewal stopped, whatever it left open', async (t) => {
      const made = new MadeSpool(wal, await tempFolder(t))
      await made.whole(0, 1)
      await writeFile(join(made.folder, `${made.nameOf(2)}.partial`), '')
      assert.deepEqual((await recoverSpool(made.folder)).end, wholeEnd(made, 1))
      await made.partial(2, 0)
      const scan = await recoverSpool(made.folder)
      assert.deepEqual(scan.end, wholeEnd(made, 1))
      assert.deepEqual(shippable(made.folder, scan), [
        [made.nameOf(0), segmentBytes],
        [made.nameOf(1), segmentBytes],
      ])
    })

    test('a cut whole segment, or one of another size, is set aside', async (t) => {
      const made = new MadeSpool(wal, await tempFolder(t))
      await made.whole(0)
      await made.partial(1, 5000)
      const path = join(made.folder, made.nameOf(0))
      for (const bytes of [0, 1, 8192, segmentBytes - 1, segmentBytes + 1, 16 * segmentBytes]) {
        await writeFile(path, Buffer.concat([made.segment(0), Buffer.alloc(15 * segmentBytes)]).subarray(0, bytes))
        await isSetAside(made.folder, made.nameOf(0), new RegExp(`has ${bytes} bytes, where a segment has 1048576`))
      }
      await made.whole(0)
      await writeFile(join(made.folder, `${made.nameOf(1)}.partial`), made.segment(1).subarray(0, 8192))
      await isSetAside(made.folder, `${made.nameOf(1)}.partial`, /\.partial has 8192 bytes/)
    })

    test('a file that is not the segment that its name says is set aside', async (t) => {
      const damage: [(head: Buffer) => void, RegExp][] = [
        [(head) => void head.writeBigUInt64LE(42n, 24), /is of the system 42/],
        [(head) => void head.writeUInt32LE(9, 4), /is of timeline 9/],
        [(head) => void head.writeBigUInt64LE(0n, 8), /says that it is the one at 0\/0/],
        [(head) => void head.writeUInt16LE(0xabcd, 0), /is no WAL page/],
        [(head) => void head.fill(0, 0, 40), /is empty/],
      ]
      for (const suffix of ['', '.partial']) {
        for (const [change, message] of damage) {
          const made = new MadeSpool(wal, await tempFolder(t))
          await made.whole(0)
          const bytes = Buffer.from(made.segment(1))
          change(bytes)
          await writeFile(join(made.folder, made.nameOf(1) + suffix), bytes)
          // An open segment that begins with zeros was never written to.
          if (suffix === '.partial' && bytes.readUInt16LE(0) === 0)
            assert.deepEqual((await recoverSpool(made.folder)).end, wholeEnd(made, 0))
          else {
            const scan = await isSetAside(made.folder, made.nameOf(1) + suffix, message)
            assert.deepEqual(scan.end, wholeEnd(made, 0))
          }
        }
      }
    })

    test('a folder of strangers only is as an empty one', async (t) => {
      const made = new MadeSpool(wal, await tempFolder(t))
      for (const [name, bytes] of [
        [made.nameOf(0), Buffer.alloc(segmentBytes)],
        [`${made.nameOf(0)}.partial`, Buffer.alloc(segmentBytes, 'no WAL')],
        [made.nameOf(0), Buffer.alloc(0)],
      ] as const) {
        const folder = await tempFolder(t)
        await writeFile(join(folder, name), bytes)
        assert.equal((await isSetAside(folder, name, /does not begin as a segment does/)).end, null)
      }
    })

    test('what follows a gap does not hide what is missing', async (t) => {
      const made = new MadeSpool(wal, await tempFolder(t))
      await made.whole(0)
      await made.partial(2, 500_000)
      assert.deepEqual((await recoverSpool(made.folder)).end, wholeEnd(made, 0))
      const missing = await made.partial(1, 300_000)
      const lsn = made.endBefore(missing, 1)
      const expected = { place: { timeline: 1, lsn }, proved: true }
      await made.partial(3, 500_000)
      assert.deepEqual((await recoverSpool(made.folder)).end, expected)
    })

    test('an open copy beside the whole segment is of no account', async (t) => {
      const made = new MadeSpool(wal, await tempFolder(t))
      await made.whole(0, 1)
      await made.partial(1, 200_000)
      const scan = await recoverSpool(made.folder)
      assert.deepEqual(scan.end, wholeEnd(made, 1))
      assert.equal(scan.wholes.length, 2)
    })

    test('other files are left alone', async (t) => {
      const made = new MadeSpool(wal, await tempFolder(t))
      await made.whole(0)
      for (const name of ['tail-from-archive', `${made.nameOf(1)}.gz`, '.hidden']) {
        await writeFile(join(made.folder, name), 'something')
      }
      await mkdir(join(made.folder, 'lost+found'))
      const before = await snapshot(made.folder)
      assert.equal((await recoverSpool(made.folder)).wholes.length, 1)
      assert.deepEqual(await snapshot(made.folder), before)
    })
  })
}

describe('a spool found at a start', () => {
  test('that is empty says nothing', async (t) => {
    assert.deepEqual(await recoverSpool(await tempFolder(t)), emptySpool)
  })

  test('with open segments of several timelines ends on the newest', async (t) => {
    const folder = await tempFolder(t)
    const start = asLsn(3 * segmentBytes)
    const writeOpen = async (timeline: number, records: number): Promise<Lsn> => {
      const writer = new WalWriter({ start, segmentBytes, timeline })
      for (let n = 0; n < records; n++) writer.record(Buffer.alloc(100, n))
      const name = `${segmentName({ timeline, segno: 3 }, segmentBytes)}.partial`
      await writeFile(join(folder, name), writer.paddedBytes())
      return writer.position
    }
    const left = await writeOpen(1, 500)
    const lsn = await writeOpen(2, 300)
    const scan = await recoverSpool(folder)
    assert.deepEqual(scan.end, { place: { timeline: 2, lsn }, proved: true })
    assert.deepEqual(shippable(folder, scan), [
      [`${segmentName({ timeline: 1, segno: 3 }, segmentBytes)}.partial`, Number(left - start)],
      [`${segmentName({ timeline: 2, segno: 3 }, segmentBytes)}.partial`, Number(lsn - start)],
    ])
  })
})

function wholeEnd(made: MadeSpool, n: number): SpoolScan['end'] {
  return { place: { timeline: 1, lsn: made.startOf(n + 1) }, proved: true }
}

function firstDifference(a: Buffer, b: Buffer): number {
  const at = a.findIndex((byte, i) => byte !== b[i])
  return at < 0 ? a.length : at
}
