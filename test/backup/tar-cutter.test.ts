import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { promisify } from 'node:util'
import tarStream from 'tar-stream'
import { type Cut, TarCutter } from '../../src/backup/tar-cutter.ts'
import { blockBytes } from '../../src/archive/tar-header.ts'
import { isError } from '../../src/kit/errors.ts'
import { type Random, seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { type MadeMember, madeHeader, madeTar, summed } from './made-tar.ts'

interface Part {
  readonly isControl: boolean
  readonly bytes: Buffer
}

interface Archive {
  readonly oid: string | null
  readonly members: readonly MadeMember[]
}

const control: MadeMember = { name: 'global/pg_control', content: Buffer.alloc(8192, 7) }

/** Collects parts, and holds the order of the cuts. */
class Collector {
  readonly parts: Part[] = []
  #open: { isControl: boolean; pieces: Buffer[] } | null = null

  take(cuts: Iterable<Cut>): void {
    for (const cut of cuts) {
      if (cut.kind === 'open') {
        assert.equal(this.#open, null, 'a part begins within another one')
        this.#open = { isControl: cut.isControl, pieces: [] }
      } else if (cut.kind === 'bytes') {
        assert.ok(this.#open, 'bytes outside of a part')
        this.#open.pieces.push(Buffer.from(cut.bytes))
      } else {
        assert.ok(this.#open, 'an end of no part')
        this.parts.push({ isControl: this.#open.isControl, bytes: Buffer.concat(this.#open.pieces) })
        this.#open = null
      }
    }
  }
}

function cutAll(
  archives: readonly Archive[],
  partBytes: number,
  { ends = true, pieces = (bytes: Buffer) => [bytes] }: { ends?: boolean; pieces?: (bytes: Buffer) => Buffer[] } = {},
): Part[] {
  const cutter = new TarCutter(partBytes)
  const collector = new Collector()
  for (const { oid, members } of archives) {
    cutter.beginArchive(oid)
    for (const piece of pieces(madeTar(members, ends))) collector.take(cutter.feed(piece))
  }
  collector.take(cutter.finish())
  return collector.parts
}

/** The members of a tar archive, as another reader of tar sees them. */
async function read({ bytes }: Part): Promise<MadeMember[]> {
  const found: MadeMember[] = []
  const extract = tarStream.extract()
  Readable.from([bytes]).pipe(extract)
  for await (const entry of extract) {
    const content: Buffer[] = []
    for await (const piece of entry) if (piece instanceof Uint8Array) content.push(Buffer.from(piece))
    found.push({ name: entry.header.name, content: Buffer.concat(content) })
  }
  return found
}

async function filesOf(parts: readonly Part[]): Promise<MadeMember[]> {
  return (await Promise.all(parts.map(read))).flat()
}

function isControl({ name }: MadeMember): boolean {
  return name === control.name
}

/** In the order in which they come out: pg_control last. */
function expected(archives: readonly Archive[]): MadeMember[] {
  const all = archives.flatMap(({ oid, members }) =>
    members.map(({ name, content = Buffer.alloc(0) }) => ({
      name: oid === null ? name : `pg_tblspc/${oid}/${name}`,
      content,
    })),
  )
  return [...all.filter((one) => !isControl(one)), ...all.filter(isControl)]
}

function randomArchives(random: Random): Archive[] {
  const member = (n: number): MadeMember => ({
    name: `${random.pick(['base/1/', 'PG_18_202506291/16385/', ''])}${'f'.repeat(random.pick([1, 20, 70]))}${n}`,
    content: random.bytes(random.pick([0, 1, 511, 512, 513, 3000])),
  })
  const members = (): MadeMember[] => Array.from({ length: random.below(8) }, (_, n) => member(n))
  const spaces = Array.from({ length: random.below(3) }, (_, n) => ({ oid: String(16_384 + n), members: members() }))
  const base = [{ name: 'backup_label', content: Buffer.from('START WAL LOCATION') }, ...members()]
  base.splice(1 + random.below(base.length), 0, control)
  return [...spaces, { oid: null, members: base }]
}

test('any cut of the input, any size of parts and both ways of ending give the same files', async (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 60; round++) {
    const archives = randomArchives(random)
    const partBytes = random.pick([512, 2048, 4096, 10_000, 1_000_000])
    const longest = random.pick([1, 100, 511, 513, 5000])
    const pieces = (bytes: Buffer): Buffer[] => {
      const cut: Buffer[] = []
      for (let at = 0; at < bytes.length; ) {
        const end = at + 1 + random.below(longest)
        cut.push(bytes.subarray(at, end))
        at = end
      }
      return cut
    }
    const parts = cutAll(archives, partBytes, { ends: random.below(2) === 0, pieces })
    const context = `round ${round}: parts of ${partBytes}, pieces of up to ${longest}`
    assert.deepEqual(await filesOf(parts), expected(archives), context)
    assert.deepEqual(
      parts.map(({ isControl }) => isControl),
      parts.map((_, at) => at === parts.length - 1),
      `${context}: pg_control is the last part, by itself`,
    )
    for (const part of parts.slice(0, -1)) {
      const alone = (await read(part)).length === 1
      assert.ok(alone || part.bytes.length <= partBytes, `${context}: a part of ${part.bytes.length}`)
      assert.ok(part.bytes.subarray(-2 * blockBytes).every((byte) => byte === 0))
    }
  }
})

function file(name: string, blocks: number): MadeMember {
  return { name, content: Buffer.alloc(blocks * blockBytes, name) }
}

test('parts are as few as their size allows, and a file that is larger has one by itself', async () => {
  const members = [file('a', 1), file('b', 1), file('c', 9), file('d', 0), file('e', 2), control]
  const parts = cutAll([{ oid: null, members }], 8 * blockBytes)
  const names = await Promise.all(parts.map(async (part) => (await read(part)).map(({ name }) => name)))
  assert.deepEqual(names, [['a', 'b'], ['c'], ['d', 'e'], ['global/pg_control']])
})

test('the system’s tar unpacks a part, with a tablespace’s files in their folder', async (t) => {
  const folder = await tempFolder(t)
  const name = `PG_18_202506291/5/${'9'.repeat(80)}`
  const members = [
    { name: 'PG_18_202506291', type: '5' },
    { name, content: Buffer.from('rows') },
  ]
  const [first] = cutAll(
    [
      { oid: '16384', members },
      { oid: null, members: [control] },
    ],
    1_000_000,
  )
  await writeFile(join(folder, 'part.tar'), first?.bytes ?? '')
  await promisify(execFile)('tar', ['--extract', '--file', 'part.tar', '--no-same-owner'], { cwd: folder })
  assert.equal(await readFile(join(folder, 'pg_tblspc/16384', name), 'utf8'), 'rows')
})

test('a tablespace’s global/pg_control is a file like any other', async () => {
  const archives = [
    { oid: '16384', members: [control] },
    { oid: null, members: [control] },
  ]
  const files = await filesOf(cutAll(archives, 1_000_000))
  assert.deepEqual(
    files.map(({ name }) => name),
    ['pg_tblspc/16384/global/pg_control', 'global/pg_control'],
  )
})

test('a size of 8 GiB and more is read, and the file has a part by itself', () => {
  const bytes = 9 * 2 ** 30
  const header = madeHeader({ name: 'base/1/2' })
  header.fill(0, 124, 136)
  header[124] = 0x80
  header.writeBigUInt64BE(BigInt(bytes), 128)
  const cutter = new TarCutter(2 ** 30)
  cutter.beginArchive(null)
  const collector = new Collector()
  collector.take(cutter.feed(summed(header)))
  const piece = Buffer.alloc(2 ** 20)
  let seen = 0
  for (let at = 0; at < bytes; at += piece.length) {
    for (const cut of cutter.feed(piece)) seen += cut.kind === 'bytes' ? cut.bytes.length : 0
  }
  assert.equal(seen, bytes)
  assert.doesNotThrow(() => cutter.endArchive())
})

const good = madeTar([control], false)
const wrongSum = madeHeader({ name: 'a' })
wrongSum[0] = 0x62
const inTwoParts = madeHeader({ name: 'a' })
inTwoParts.write('folder', 345)
const latin = madeHeader({ name: 'caf?.txt' })
latin[3] = 0xe9
const refusals: readonly (readonly [string, Buffer])[] = [
  ['a header with a wrong sum', wrongSum],
  ['a name in two parts', summed(inTwoParts)],
  ['a hard link', madeHeader({ name: 'a', type: '1' })],
  ['a device', madeHeader({ name: 'a', type: '3' })],
  ['an extended header', madeHeader({ name: 'a', type: 'x' })],
  ['an absolute name', madeHeader({ name: '/etc/passwd' })],
  ['a name that leaves its folder', madeHeader({ name: 'base/../../x' })],
  ['a name that is no text, which no restore could make', summed(latin)],
  ['no name', madeHeader({ name: '' })],
  ['an end in a file', madeTar([{ name: 'a', content: Buffer.alloc(600) }], false).subarray(0, 1100)],
  ['an end in a header', good.subarray(0, 100)],
  ['a file behind its end', Buffer.concat([Buffer.alloc(blockBytes), good])],
  ['two files pg_control', Buffer.concat([good, good])],
  ['no pg_control', madeTar([{ name: 'a' }], true)],
  ['a pg_control without end', madeTar([{ name: 'global/pg_control', content: Buffer.alloc(100_000) }], true)],
]
for (const [what, bytes] of refusals) {
  test(`an archive with ${what} is refused`, () => {
    const cutter = new TarCutter(1_000_000)
    cutter.beginArchive(null)
    assert.throws(
      () => {
        for (const cut of cutter.feed(bytes)) void cut
        for (const cut of cutter.finish()) void cut
      },
      (error) => isError(error, 'PG_PROTOCOL'),
    )
  })
}
