/** Tar files from a store are hostile input. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Header } from 'tar-stream'
import { blockBytes } from '../../src/archive/tar-header.ts'
import { isError } from '../../src/kit/errors.ts'
import { parseMemberPath } from '../../src/restore/member-path.ts'
import { type Member, readTar } from '../../src/restore/tar-members.ts'
import { collect, failingAfter, inPieces, inRandomPieces } from '../archive/streams.ts'
import { seededRandom } from '../support/random.ts'
import { madeHeader, madeTar, summed } from '../backup/made-tar.ts'
import { packTar, type TarMember } from './made-tar.ts'

const key = 'basebackups_005/base_000000010000000000000002/tar_partitions/part_001.tar.lz4'

interface Seen {
  readonly members: Member[]
  readonly contents: Buffer[]
}

async function read(plain: AsyncIterable<Uint8Array>): Promise<Seen> {
  const seen: Seen = { members: [], contents: [] }
  await readTar(key, plain, async (member, content) => {
    seen.members.push(member)
    seen.contents.push(await collect(content))
  })
  return seen
}

function file(name: string, text = 'text', header: Partial<Header> = {}): TarMember {
  return { header: { name, mode: 0o600, ...header }, content: Buffer.from(text) }
}

/** Of 4095 bytes, in parts of 255. */
const longest = Array.from({ length: 16 }, () => 'n'.repeat(255)).join('/')

const paths: readonly (readonly [name: string, path: string, oid: string | null, within: string])[] = [
  ['base/5/16384', 'base/5/16384', null, 'base/5/16384'],
  ['/base/5/16384', 'base/5/16384', null, 'base/5/16384'],
  ['./pg_wal/archive_status/', 'pg_wal/archive_status', null, 'pg_wal/archive_status'],
  ['/', '', null, ''],
  ['./', '', null, ''],
  ['.', '', null, ''],
  ['pg_tblspc/', 'pg_tblspc', null, 'pg_tblspc'],
  ['pg_tblspc/16385/', 'pg_tblspc/16385', '16385', ''],
  ['/pg_tblspc/16385/PG_15_202209061/5/1', 'pg_tblspc/16385/PG_15_202209061/5/1', '16385', 'PG_15_202209061/5/1'],
  ['a..b/...', 'a..b/...', null, 'a..b/...'],
  [longest, longest, null, longest],
]

for (const [name, path, oid, within] of paths) {
  test(`the name ${shown(name)} has its place`, () => {
    assert.deepEqual(parseMemberPath(key, name), { path, oid, within })
  })
}

const strange = [
  '',
  '..',
  '../x',
  '/../x',
  './../x',
  'base/../../x',
  'base/..',
  '//etc/passwd',
  '/./x',
  'base//5',
  'base/./5',
  './/x',
  'a\0b',
  'a\uFFFDb',
  'pg_tblspc/x',
  'pg_tblspc/16385x/PG_15_202209061/1',
  'pg_tblspc/0/PG_15_202209061/1',
  'pg_tblspc/16385/authorized_keys',
  'pg_tblspc/16385/../x',
  `${longest}/`,
  'n'.repeat(256),
  `base/${'\u00e4'.repeat(128)}/x`,
  `${'d/'.repeat(20_000)}x`,
]

for (const name of strange) {
  test(`the name ${shown(name)} is refused`, () => {
    assert.throws(
      () => parseMemberPath(key, name),
      // However long the name is.
      (error) => isError(error, 'ARCHIVE_DAMAGED') && error.message.length < 500,
    )
  })
}

test('a name of more levels than any path is refused before the first of its folders is made', async () => {
  const name = `${'d/'.repeat(20_000)}x`
  const tar = await packTar([file('one', 'text', { pax: { path: name } })])
  const taken = readTar(key, inPieces(tar, 1000), () => assert.fail('it was handed over'))
  await assert.rejects(
    taken,
    (error) => isError(error, 'ARCHIVE_DAMAGED') && /is longer than any path/.test(error.message),
  )
})

const refusedMembers: readonly (readonly [what: string, member: TarMember, said: RegExp])[] = [
  ['a symbolic link', file('x', '', { type: 'symlink', linkname: '/etc/passwd' }), /is a link to "\/etc\/passwd"/],
  ['a symbolic link within the folder', file('x', '', { type: 'symlink', linkname: 'base' }), /is a link to "base"/],
  ['a link below a tablespace', file('pg_tblspc/1/PG_15_1', '', { type: 'symlink', linkname: '/' }), /is a link/],
  ['a hard link', file('x', '', { type: 'link', linkname: '../../etc/passwd' }), /is a link/],
  ['a device', file('x', '', { type: 'block-device', devmajor: 8 }), /is a block device/],
  ['a terminal', file('x', '', { type: 'character-device', devmajor: 5 }), /is a character device/],
  ['a pipe', file('x', '', { type: 'fifo' }), /is a pipe/],
  ['a file in place of the data folder', file('.'), /a file where a folder has to be/],
  ['a file in place of a tablespace', file('pg_tblspc/16385'), /a file where a folder has to be/],
  ['a file whose name is that of a folder', file('base/5/'), /a file where a folder has to be/],
  ['a name that leads out', file('base/../../x'), /leads elsewhere/],
  ['a name with a NUL', file('x', '', { pax: { path: 'a\0b' } }), /are no text/],
]

for (const [what, member, said] of refusedMembers) {
  test(`${what} is refused, and what stands before it was handed over`, async () => {
    const seen: string[] = []
    const tar = await packTar([file('PG_VERSION'), member, file('after')])
    const reading = readTar(key, inPieces(tar, 1000), async ({ path }, content) => {
      seen.push(path)
      await collect(content)
    })
    await assert.rejects(reading, (error: unknown) => isError(error, 'ARCHIVE_DAMAGED') && said.test(error.message))
    assert.deepEqual(seen, ['PG_VERSION'])
  })
}

test('the link of a tablespace, files of all sizes and folders come through, with their modes', async (t) => {
  const random = seededRandom(t)
  const contents = [0, 1, 511, 512, 513, 70_000].map((bytes) => random.bytes(bytes))
  const tar = await packTar([
    { header: { name: 'pg_tblspc/16385', type: 'symlink', linkname: '/mnt/fast' }, content: Buffer.alloc(0) },
    { header: { name: 'base/', type: 'directory', mode: 0o40750 }, content: Buffer.alloc(0) },
    ...contents.map((content, n) => ({ header: { name: `base/${n}`, mode: 0o104640 }, content })),
  ])
  const seen = await read(inRandomPieces(tar, random))
  const kinds = ['link', 'folder', ...contents.map(() => 'file')]
  assert.deepEqual(
    seen.members.map(({ kind }) => kind),
    kinds,
  )
  assert.deepEqual(
    seen.members.slice(1).map(({ mode }) => mode),
    [0o750, ...contents.map(() => 0o640)],
  )
  assert.deepEqual(seen.contents.slice(2), contents)
})

test('a tar file may end without its end blocks, and nowhere else', async () => {
  const members = [file('one', 'x'.repeat(700)), file('two', 'y'.repeat(512)), file('three', '')]
  const tar = await packTar(members)
  const whole = tar.length - 1024
  const ends = [0, 1536, 2560, whole]
  for (let cut = 0; cut <= tar.length; cut++) {
    // In the end blocks and in a member, all places are alike.
    if (cut % 512 > 2 && cut % 512 < 510) continue
    const reading = read(inPieces(tar.subarray(0, cut), 300))
    const isWhole = ends.includes(cut) || cut === whole + 512 || cut === tar.length
    if (isWhole)
      assert.equal((await reading).members.length, Math.min(ends.filter((end) => end <= cut).length - 1, 3), `${cut}`)
    else await assert.rejects(reading, (error) => isError(error, 'ARCHIVE_DAMAGED'), `cut at ${cut}`)
  }
})

test('a changed header is refused', async (t) => {
  const random = seededRandom(t)
  const tar = await packTar([file('one'), file('two')])
  for (let n = 0; n < 50; n++) {
    const at = random.below(512) + random.pick([0, 1024])
    const changed = Buffer.from(tar)
    changed.writeUInt8((changed.at(at) ?? 0) ^ 0x40, at)
    const seen = await read(inPieces(changed, 512)).catch((error: unknown) => {
      assert.ok(isError(error, 'ARCHIVE_DAMAGED'), `byte ${at}: ${String(error)}`)
      return null
    })
    // The checksum's own field ends in bytes that count for nothing.
    assert.ok(seen === null || (at % 512 >= 148 && at % 512 < 156), `byte ${at}`)
  }
})

test('what the source fails with, and what the taker throws, come out as they are', async () => {
  const tar = await packTar([file('one', 'x'.repeat(5000)), file('two')])
  await assert.rejects(read(failingAfter(tar.subarray(0, 2000), 'the store is away')), /the store is away/)
  await assert.rejects(read(failingAfter(tar.subarray(0, 6144), 'the store is away')), /the store is away/)
  const full = readTar(key, inPieces(tar, 300), () => Promise.reject(new Error('the disk is full')))
  await assert.rejects(full, /the disk is full/)
})

test('what an extended header says counts, as of an owner with a large number', async (t) => {
  const name = 'base/5/' + 'n'.repeat(120)
  const pax = { path: name, uid: '1000660000', comment: 'a\nb' }
  const tar = await packTar([file('one'), file('short', 'content', { pax }), file('two')])
  const seen = await read(inRandomPieces(tar, seededRandom(t)))
  assert.deepEqual(
    seen.members.map(({ path }) => path),
    ['one', name, 'two'],
  )
  assert.equal(String(seen.contents[1]), 'content')
})

const brokenExtended: readonly (readonly [what: string, records: string])[] = [
  ['no record', 'nothing of that kind'],
  ['a record that is longer than all', '99 path=x\n'],
  ['a record that is shorter than its own length', '3 path=x\n'],
  ['a record without a name', '6 =xx\n'],
  ['a size that is no number', '10 size=x\n'],
  ['a negative size', '11 size=-1\n'],
  ['holes', '22 GNU.sparse.major=1\n'],
]

for (const [what, records] of brokenExtended) {
  test(`an extended header with ${what} is refused`, async () => {
    const tar = Buffer.concat([madeExtended(records), await packTar([file('one')])])
    await assert.rejects(
      read(inPieces(tar, 512)),
      (error) => isError(error, 'ARCHIVE_DAMAGED') && /an extended header that cannot be read/.test(error.message),
    )
  })
}

test('an extended header with nothing behind it is refused', async () => {
  for (const [rest, said] of [
    [Buffer.alloc(0), /is cut/],
    [Buffer.alloc(1024), /an extended header of nothing/],
    [madeExtended('9 path=x\n'), /an extended header of nothing/],
  ] as const) {
    const tar = Buffer.concat([madeExtended('9 path=x\n'), rest])
    await assert.rejects(
      read(inPieces(tar, 512)),
      (error) => isError(error, 'ARCHIVE_DAMAGED') && said.test(error.message),
    )
  }
})

test('a size in an extended header counts, as of a file for whose size the header has no room', async (t) => {
  const random = seededRandom(t)
  const content = random.bytes(700)
  const blocks = [
    madeExtended('12 size=700\n'),
    madeHeader({ name: 'large' }),
    content,
    Buffer.alloc(2 * blockBytes - 700),
  ]
  const next = await packTar([file('next', 'content')])
  const seen = await read(inRandomPieces(Buffer.concat([...blocks, next]), random))
  assert.deepEqual(
    seen.members.map(({ path, bytes }) => [path, bytes]),
    [
      ['large', 700],
      ['next', 7],
    ],
  )
  assert.deepEqual(seen.contents, [content, Buffer.from('content')])
})

/** A header whose size is written in base 256: its first byte, and the eleven behind. */
function withSize(bytes: readonly number[]): (header: Buffer) => void {
  return (header) => header.set([0x80, ...bytes], 124)
}

const changedHeaders: readonly (readonly [what: string, change: (header: Buffer) => void, said: RegExp | null])[] = [
  ['a size in base 256', withSize([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]), null],
  ['a size above 2^53', withSize([0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]), /a number of 9007199254740992/],
  ['a size above 2^64', withSize([0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4]), /a number of 18446744073709551620/],
  ['a negative size', (header) => header.fill(0xff, 124, 136), /the number/],
  ['a size that is no number', (header) => header.write('0000000000x', 124), /the number/],
  ['no magic', (header) => header.fill(0, 257, 265), /a header of another form than ustar/],
]

for (const [what, change, said] of changedHeaders) {
  test(`a header with ${what} is ${said === null ? 'read' : 'refused'}`, async () => {
    const tar = madeTar([{ name: 'one', content: Buffer.from('text') }], true)
    const header = tar.subarray(0, blockBytes)
    change(header)
    summed(header)
    const reading = read(inPieces(tar, 512))
    if (said === null) assert.deepEqual((await reading).contents, [Buffer.from('text')])
    else await assert.rejects(reading, (error) => isError(error, 'ARCHIVE_DAMAGED') && said.test(error.message))
  })
}

test('a content stays where it lies: its pieces are parts of those that were read', async () => {
  const content = Buffer.alloc(100_000, 7)
  const tar = await packTar([{ header: { name: 'one' }, content }])
  const pieces = [tar.subarray(0, 40_000), tar.subarray(40_000)]
  const seen: Uint8Array[] = []
  await readTar(key, inTurn(pieces), async (_, parts) => {
    for await (const part of parts) seen.push(part)
  })
  assert.deepEqual(
    seen.map(({ buffer }) => buffer),
    pieces.map(({ buffer }) => buffer),
  )
  assert.deepEqual(Buffer.concat(seen), content)
})

function shown(name: string): string {
  return name.length < 100
    ? JSON.stringify(name)
    : `${JSON.stringify(name.slice(0, 10))}... of ${name.length} characters`
}

function madeExtended(records: string): Buffer {
  return madeTar([{ name: 'PaxHeaders.0/one', type: 'x', content: Buffer.from(records) }], false)
}

async function* inTurn(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces
}

test('in the form of GNU, no folder is put before a name', async () => {
  const header = madeHeader({ name: 'one', content: Buffer.from('x') })
  header.write('ustar  \0', 257)
  // There it has the time of the last access.
  header.write('14721664513\0', 345)
  const content = Buffer.alloc(512)
  content.write('x')
  const seen = await read(inPieces(Buffer.concat([summed(header), content]), 512))
  assert.deepEqual(
    seen.members.map(({ path }) => path),
    ['one'],
  )
})
