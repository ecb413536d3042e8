/** What a restore writes, what it refuses, and what an interrupted one leaves. */
import assert from 'node:assert/strict'
import { lstat, mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { controlKey, manifestKey, metadataKey, partKey, sentinelKey } from '../../src/archive/backup-keys.ts'
import { encodeLz4 } from '../../src/archive/codecs/lz4-encode.ts'
import { isError } from '../../src/kit/errors.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import { seededRandom } from '../support/random.ts'
import { smallDisk } from '../support/small-disk.ts'
import { tempFolder } from '../support/temp.ts'
import { collect, flipped, inPieces } from '../archive/streams.ts'
import {
  controlFile,
  file,
  folder,
  jobOf,
  madeName,
  madeSegment,
  makeBackup,
  makeManifest,
  needed,
  restoreMade,
} from './made-backup.ts'
import type { TarMember } from './made-tar.ts'

const mark = 'walferry_restore_unfinished'
const files = needed.filter(({ header }) => header.type !== 'directory')

/** Every path below, with what it is. */
async function tree(top: string): Promise<string[]> {
  const found: string[] = []
  for (const name of (await readdir(top, { recursive: true })).toSorted()) {
    const info = await lstat(join(top, name))
    const kind = info.isDirectory() ? '/' : info.isSymbolicLink() ? ` -> ${await readlink(join(top, name))}` : ''
    found.push(name + kind)
  }
  return found
}

/** Restores into `data` of a folder that holds something else, too; it must reject, and touch nothing but `data`. */
async function assertRefused(
  t: TestContext,
  store: MemoryStore,
  said: RegExp,
  code = 'ARCHIVE_DAMAGED',
): Promise<void> {
  const top = await tempFolder(t)
  await writeFile(join(top, 'precious'), 'precious')
  const restoring = restoreMade(store, jobOf(join(top, 'data')))
  await assert.rejects(restoring, (error: unknown) => {
    assert.ok(isError(error) && error.code === code && said.test(error.message), String(error))
    return true
  })
  const others = (await tree(top)).filter((path) => !path.startsWith('data'))
  assert.deepEqual(others, ['precious'])
  assert.equal(await readFile(join(top, 'precious'), 'utf8'), 'precious')
  // No server starts in what is left.
  await assert.rejects(stat(join(top, 'data', 'global', 'pg_control')))
}

test('files, empty folders and modes come back, with what a recovery needs beside them', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const more = [
    folder('base/5/', 0o750),
    file('base/5/16384', 'x'.repeat(9000), 0o640),
    folder('pg_wal/archive_status/'),
  ]
  const restored = await restoreMade(await makeBackup({ parts: [needed, more] }), jobOf(data))
  assert.deepEqual(await tree(data), [
    'PG_VERSION',
    'backup_label',
    'base/',
    'base/5/',
    'base/5/16384',
    'global/',
    'global/pg_control',
    'pg_tblspc/',
    'pg_wal/',
    'pg_wal/archive_status/',
    'postgresql.auto.conf',
    'postgresql.conf',
    'recovery.signal',
  ])
  assert.equal((await stat(data)).mode & 0o777, 0o700)
  assert.equal((await stat(join(data, 'base/5'))).mode & 0o777, 0o750)
  assert.equal((await stat(join(data, 'base/5/16384'))).mode & 0o7777, 0o640)
  assert.deepEqual(await readFile(join(data, 'global/pg_control')), controlFile().content)
  assert.equal(restored.checkedBy, 'nothing')
  assert.equal(restored.files, 5)
})

test('a group that may read the files may enter the folder', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const parts = [
    needed.map(({ header, content }) => ({ header: { ...header, mode: (header.mode ?? 0) | 0o040 }, content })),
  ]
  await restoreMade(await makeBackup({ parts }), jobOf(data))
  assert.equal((await stat(data)).mode & 0o777, 0o750)
  assert.equal((await stat(join(data, 'postgresql.auto.conf'))).mode & 0o777, 0o640)
})

test('leading slashes, and backup_label in a tar file of its own, are as WAL-G writes them', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const slashed = needed.map(({ header, content }) => ({ header: { ...header, name: `/${header.name}` }, content }))
  const parts = [[folder('/'), ...slashed.slice(1)], [needed[0] ?? assert.fail()]]
  await restoreMade(
    await makeBackup({ parts, control: [file('/global/pg_control', controlFile().content)] }),
    jobOf(data),
  )
  assert.match(await readFile(join(data, 'backup_label'), 'utf8'), /^START WAL LOCATION/)
})

test('a standby that the backup was taken from leaves no standby.signal behind, unless one is asked for', async (t) => {
  const top = await tempFolder(t)
  const store = await makeBackup({ parts: [[...needed, file('standby.signal', '')]] })
  await restoreMade(store, jobOf(join(top, 'one')))
  await restoreMade(store, jobOf(join(top, 'two'), { standby: true }))
  const signals = async (data: string) => (await readdir(join(top, data))).filter((name) => name.endsWith('.signal'))
  assert.deepEqual([await signals('one'), await signals('two')], [['recovery.signal'], ['standby.signal']])
})

const tablespaces = [
  { oid: '16385', location: '/nowhere/one' },
  { oid: '16386', location: '/nowhere/two' },
]

test('tablespaces go to their places, with links, and tablespace_map and the manifest say the same', async (t) => {
  const top = await tempFolder(t)
  const map = file('tablespace_map', '16385 /nowhere/one\n16386 /nowhere/two\n')
  const inside = [file('pg_tblspc/16385/PG_15_1/5/1'), file('pg_tblspc/16386/PG_15_1/5/2')]
  const parts = [[...needed, map], inside]
  const listed = [...files, map, ...inside, controlFile()]
  const mapping = new Map(tablespaces.map(({ location }) => [location, join(top, location.slice(9))]))
  const store = await makeBackup({ parts, listed, sentinel: { tablespaces } })
  const restored = await restoreMade(store, jobOf(join(top, 'data'), { tablespaceMapping: mapping }))
  assert.equal(restored.checkedBy, 'manifest')
  assert.equal(await readlink(join(top, 'data/pg_tblspc/16385')), join(top, 'one'))
  assert.deepEqual(await tree(join(top, 'two')), ['PG_15_1/', 'PG_15_1/5/', 'PG_15_1/5/2'])
  const mapped = file('tablespace_map', `16385 ${join(top, 'one')}\n16386 ${join(top, 'two')}\n`)
  assert.equal(await readFile(join(top, 'data/tablespace_map'), 'utf8'), mapped.content.toString())
  const expected = makeManifest([...files, mapped, ...inside, controlFile()])
  assert.equal(await readFile(join(top, 'data/backup_manifest'), 'utf8'), expected.toString())
})

const hostile: readonly (readonly [what: string, parts: readonly (readonly TarMember[])[], said: RegExp])[] = [
  ['a file that is there twice', [[...needed, file('x')], [file('x')]], /"x" is there twice/],
  ['a file below a file', [[...needed, file('x'), file('x/y')]], /is a folder and a file/],
  ['a folder in place of a file', [[...needed, file('x'), folder('x/')]], /is a folder and a file/],
  ['a file in place of a folder', [[...needed, folder('x/'), file('x')]], /is there twice/],
  [
    'a file below a link',
    [
      [
        ...needed,
        { header: { name: 'x', type: 'symlink', linkname: '..' }, content: Buffer.alloc(0) },
        file('x/precious'),
      ],
    ],
    /"x" is a link to "\.\."/,
  ],
  ['a file that leads out', [[...needed, file('../precious')]], /leads elsewhere/],
  ['a tablespace that the backup does not have', [[...needed, file('pg_tblspc/9/PG_15_1/x')]], /does not have/],
  ['the mark of a restore', [[...needed, file(mark)]], /is there twice/],
  ['another pg_control', [[...needed, controlFile(1n)]], /is there twice, and differs/],
  ['no backup_label', [needed.slice(1)], /holds no backup_label/],
  [
    'the backup_label of another backup',
    [[file('backup_label', 'START WAL LOCATION: 0/3000028 (file x)\n'), ...needed.slice(1)]],
    /begins at 0\/3000028/,
  ],
  [
    'another version',
    [[file('PG_VERSION', '14\n'), ...needed.filter(({ header }) => header.name !== 'PG_VERSION')]],
    /is of PostgreSQL 14/,
  ],
  [
    'a tablespace_map with more than the sentinel',
    [[...needed, file('tablespace_map', '16385 /etc\n')]],
    /does not have the tablespaces of tablespace_map/,
  ],
]

for (const [what, parts, said] of hostile) {
  test(`${what} is refused, and nothing else is touched`, async (t) => {
    await assertRefused(t, await makeBackup({ parts }), said)
  })
}

test('a pg_control of another cluster, and one with a wrong checksum, are refused', async (t) => {
  await assertRefused(t, await makeBackup({ control: [controlFile(1n)] }), /is of the cluster 1,/)
  const wrong = file('global/pg_control', flipped(controlFile().content, 100, 1))
  await assertRefused(t, await makeBackup({ control: [wrong] }), /wrong checksum/)
})

test('what the manifest does not list, lists otherwise, or lists in vain is refused', async (t) => {
  const listed = [...files, controlFile()]
  const cases: readonly (readonly [readonly TarMember[], RegExp])[] = [
    [listed.slice(1), /"backup_label", which the server's manifest does not list/],
    [[...listed, file('x'), file('y')], /lists "x", and 1 more, which no part/],
    [[...listed.slice(1), file('backup_label', 'longer')], /bytes of backup_label, and the server sent 6/],
    [
      [...listed.filter(({ header }) => header.name !== 'PG_VERSION'), file('PG_VERSION', '16\n')],
      /another PG_VERSION/,
    ],
    [[...files, controlFile(1n)], /another global\/pg_control/],
  ]
  for (const [members, said] of cases) await assertRefused(t, await makeBackup({ listed: members }), said)
})

test('a manifest that is gone, or of another backup, is refused', async (t) => {
  const store = await makeBackup({ listed: [...files, controlFile()] })
  store.delete(manifestKey(madeSegment, 'none'))
  await assertRefused(t, store, /is not there, and the backup was taken with one/)
  store.set(manifestKey(madeSegment, 'none'), makeManifest([...files, controlFile()], '0/3000028'))
  await assertRefused(t, store, /is that of another backup/)
})

test('where all that was kept beside the parts is gone, a part without a checksum is refused', async (t) => {
  const store = await makeBackup()
  const plain = inPieces(store.peek(partKey(madeName, 1, 'none')), 1000)
  const part = partKey(madeName, 1, 'lz4')
  store.set(part, await collect(encodeLz4(plain, { hasChecksum: false })))
  store.delete(partKey(madeName, 1, 'none'))
  await assertRefused(t, store, /part_001.tar.lz4 has no checksum of its own, and the server's manifest/)
})

test('objects that do not belong there, or are missing, are refused', async (t) => {
  const store = await makeBackup()
  store.set(`basebackups_005/${madeName}/tar_partitions/notes.txt`)
  await assertRefused(t, store, /its name is not that of a part/)
  const gone = await makeBackup()
  gone.delete(controlKey(madeName, 'none'))
  await assertRefused(t, gone, /pg_control.tar is not there/)
})

test('a changed byte in any object is an error', async (t) => {
  const random = seededRandom(t)
  const keys = [partKey(madeName, 1, 'none'), controlKey(madeName, 'none'), manifestKey(madeSegment, 'none')]
  for (const key of [...keys, ...keys, ...keys]) {
    const store = await makeBackup({ listed: [...files, controlFile()] })
    const bytes = store.peek(key)
    const at = placeThatCounts(key, Buffer.from(bytes), random.below(bytes.length))
    store.set(key, flipped(bytes, at, 1 << random.below(7)))
    const data = join(await tempFolder(t), 'data')
    await assert.rejects(
      restoreMade(store, jobOf(data)),
      (error) => isError(error, 'ARCHIVE_DAMAGED'),
      `${key}: byte ${at}`,
    )
  }
})

test('a changed bit of a part whose frame has no checksum is an error, or changes nothing that comes back', async (t) => {
  const random = seededRandom(t)
  const more = [
    folder('base/5/'),
    file('base/5/16384', random.bytes(300)),
    file('base/5/16385', 'x'.repeat(9000), 0o640),
  ]
  const plain = await makeBackup({ parts: [needed, more], listed: [...files, ...more.slice(1), controlFile()] })
  const good = join(await tempFolder(t), 'data')
  await restoreMade(plain, jobOf(good))
  const wanted = await contents(good)
  const pieces = inPieces(plain.peek(partKey(madeName, 2, 'none')), 1000)
  const encoded = await collect(encodeLz4(pieces, { hasChecksum: false }))
  plain.delete(partKey(madeName, 2, 'none'))
  let refused = 0
  for (let n = 0; n < 100; n++) {
    const at = random.below(encoded.length)
    plain.set(partKey(madeName, 2, 'lz4'), flipped(encoded, at, 1 << random.below(8)))
    const data = join(await tempFolder(t), 'data')
    try {
      await restoreMade(plain, jobOf(data))
    } catch (error) {
      assert.ok(isError(error, 'ARCHIVE_DAMAGED'), `byte ${at}: ${String(error)}`)
      refused++
      continue
    }
    assert.deepEqual(await contents(data), wanted, `byte ${at}`)
  }
  assert.ok(refused > 80, `${refused} refused`)
})

/** Every path below with its mode, and a file's bytes. */
async function contents(top: string): Promise<unknown[]> {
  return await Promise.all(
    (await tree(top)).map(async (path) => {
      const { mode } = await stat(join(top, path))
      return [path, mode, path.endsWith('/') ? null : await readFile(join(top, path), 'latin1')]
    }),
  )
}

/**
 * In a tar file, the zeros that fill up blocks count for nothing, and a header's own checksum can be written in several
 * ways.
 */
function placeThatCounts(key: string, bytes: Buffer, at: number): number {
  if (!key.includes('.tar')) return at
  let place = at
  while (bytes.at(place) === 0 || (place % 512 >= 148 && place % 512 < 156)) place = (place + 1) % bytes.length
  return place
}

test('a changed byte in the sentinel is an error, but in what says nothing about the backup', async (t) => {
  const random = seededRandom(t)
  const store = await makeBackup({ listed: [...files, controlFile()] })
  const key = sentinelKey(madeName)
  const bytes = Buffer.from(store.peek(key))
  const silent = /"(?:FilesMetadataDisabled|Version|IsPermanent)":\w+,?/g
  const spans = [...bytes.toString().matchAll(silent)].map(
    (match) => [match.index, match.index + match[0].length] as const,
  )
  for (let n = 0; n < 40; n++) {
    const at = random.below(bytes.length)
    if (spans.some(([from, to]) => at >= from && at < to)) continue
    store.set(key, flipped(bytes, at, 1 << random.below(7)))
    const data = join(await tempFolder(t), 'data')
    await assert.rejects(restoreMade(store, jobOf(data)), (error) => isError(error, 'ARCHIVE_DAMAGED'), `byte ${at}`)
    await assert.rejects(stat(data), 'nothing was written')
  }
  store.set(key, bytes)
  store.set(metadataKey(madeName), Buffer.from('{'))
  await assertRefused(t, store, /is no JSON/)
})

test('an old WAL-G left fields out, or all of metadata.json', async (t) => {
  const top = await tempFolder(t)
  const store = await makeBackup()
  const key = sentinelKey(madeName)
  store.set(key, Buffer.from(Buffer.from(store.peek(key)).toString().replace('"Hostname":"db.example",', '')))
  await restoreMade(store, jobOf(join(top, 'one')))
  store.delete(metadataKey(madeName))
  await restoreMade(store, jobOf(join(top, 'two')))
  // One that we took has them all.
  const ours = await makeBackup({ listed: [...files, controlFile()] })
  ours.set(key, store.peek(key))
  await assertRefused(t, ours, /contradict each other: Hostname is not hostname/)
})

test('a command that no file of settings can hold is refused before anything is written', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const job = jobOf(data)
  const settings = { ...job.settings, restoreCommand: 'a\nb' }
  await assert.rejects(restoreMade(await makeBackup(), { ...job, settings }), /has a line break/)
  await assert.rejects(stat(data))
})

test('a delta backup of WAL-G is refused with what to do instead', async (t) => {
  const store = await makeBackup()
  const text = Buffer.from(store.peek(sentinelKey(madeName))).toString()
  store.set(sentinelKey(madeName), Buffer.from(text.replace('{', '{"DeltaFrom":"base_000000010000000000000001",')))
  await assertRefused(t, store, /only what has changed since base_000000010000000000000001/, 'BAD_INPUT')
})

test('a folder that is not empty is refused, with --force, too', async (t) => {
  const store = await makeBackup()
  for (const force of [false, true]) {
    const data = await tempFolder(t)
    await writeFile(join(data, 'x'), '')
    await assert.rejects(restoreMade(store, jobOf(data, { force })), /is not empty/)
    assert.deepEqual(await tree(data), ['x'])
  }
})

test('a folder in which a server runs is refused, with --force, too', async (t) => {
  const data = await tempFolder(t)
  await writeFile(join(data, 'postmaster.pid'), `${process.pid}\n${data}\n`)
  await assert.rejects(restoreMade(await makeBackup(), jobOf(data, { force: true })), /a server runs in/)
})

test('what was restored is not thrown away by another restore', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const store = await makeBackup()
  await restoreMade(store, jobOf(data))
  // A crash just before the mark was removed.
  for (const left of [false, true]) {
    if (left) await writeFile(join(data, mark), '{}')
    await assert.rejects(restoreMade(store, jobOf(data, { force: true })), left ? /a finished restore/ : /is not empty/)
    await stat(join(data, 'global/pg_control'))
  }
})

test('what an interrupted restore has left is replaced by --force, in the places of tablespaces, too', async (t) => {
  const top = await tempFolder(t)
  const [tablespace = assert.fail()] = tablespaces
  const sentinel = { tablespaces: [tablespace] }
  const job = jobOf(join(top, 'data'), { tablespaceMapping: new Map([[tablespace.location, join(top, 'one')]]) })
  const inside = file('pg_tblspc/16385/PG_15_1/5/1')
  const broken = await makeBackup({ parts: [[...needed, inside], [file('../x')]], sentinel })
  await assert.rejects(restoreMade(broken, job), (error) => isError(error, 'ARCHIVE_DAMAGED'))
  assert.ok((await tree(top)).includes(`one/${mark}`))
  await mkdir(join(top, 'elsewhere'))
  await writeFile(join(top, 'elsewhere/precious'), '')
  await symlink(join(top, 'elsewhere'), join(top, 'data/link'))

  const whole = await makeBackup({ parts: [[...needed, inside]], sentinel })
  await assert.rejects(restoreMade(whole, job), /a restore that was interrupted/)
  await restoreMade(whole, { ...job, force: true })
  assert.deepEqual(await tree(join(top, 'one')), ['PG_15_1/', 'PG_15_1/5/', 'PG_15_1/5/1'])
  assert.ok(!(await tree(join(top, 'data'))).some((path) => path === mark || path.startsWith('link')))
  assert.deepEqual(await tree(join(top, 'elsewhere')), ['precious'])
})

test('a place of a tablespace that holds something is refused, with --force, too, if it is not our own', async (t) => {
  const top = await tempFolder(t)
  const [tablespace = assert.fail()] = tablespaces
  await mkdir(join(top, 'one'))
  await writeFile(join(top, 'one/precious'), '')
  const store = await makeBackup({ sentinel: { tablespaces: [tablespace] } })
  const mapping = new Map([[tablespace.location, join(top, 'one')]])
  const job = jobOf(join(top, 'data'), { tablespaceMapping: mapping })
  await assert.rejects(restoreMade(store, job), /the place of a tablespace, is not empty/)
  assert.deepEqual(await tree(top), ['one/', 'one/precious'])
  await mkdir(join(top, 'data'))
  await writeFile(join(top, 'data', mark), JSON.stringify({ id: 'x', backup: madeName, places: [join(top, 'one')] }))
  await assert.rejects(restoreMade(store, { ...job, force: true }), /the place of a tablespace, is not empty/)
  assert.deepEqual(await tree(join(top, 'one')), ['precious'])
})

test('another restore that is filling the folder is not disturbed', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const store = await makeBackup()
  store.before = async (operation, key) => {
    if (operation !== 'get' || !key.includes('part_001')) return
    store.before = () => undefined
    await assert.rejects(restoreMade(store, jobOf(data, { force: true })), /another restore is filling/)
  }
  await restoreMade(store, jobOf(data))
})

test('an abort leaves what the next restore replaces', async (t) => {
  const data = join(await tempFolder(t), 'data')
  const store = await makeBackup()
  const stop = new AbortController()
  store.before = (operation, key) => {
    if (operation === 'get' && key.includes('pg_control')) stop.abort(new Error('stopped by SIGINT'))
  }
  await assert.rejects(restoreMade(store, jobOf(data), stop.signal), /stopped by SIGINT/)
  assert.ok((await readdir(data)).includes(mark))
  store.before = () => undefined
  await restoreMade(store, jobOf(data, { force: true }))
  assert.ok(!(await readdir(data)).includes(mark))
})

test('a disk that is full is told as such, in the midst of it, and leaves what can be replaced', async (t) => {
  const disk = await smallDisk(t, 1)
  if ('reason' in disk) return t.skip(disk.reason)
  const data = join(disk.folder, 'data')
  // Without a manifest and sizes in the sentinel, nobody can know before.
  const store = await makeBackup({ parts: [[...needed, file('base/1', Buffer.alloc(2 * 1024 * 1024))]] })
  const told = /base\/1 could not be written/
  await assert.rejects(
    restoreMade(store, jobOf(data)),
    (error) => isError(error, 'RESTORE_FAILED') && told.test(error.message),
  )
  await restoreMade(await makeBackup(), jobOf(data, { force: true }))
})

test('a backup of a server that runs in a folder with a left mark can be restored', async (t) => {
  const members = [...needed, file(mark, '{}')]
  const data = join(await tempFolder(t), 'data')
  const listed = [...files, file(mark, '{}'), controlFile()]
  const store = await makeBackup({ parts: [members], listed })
  await restoreMade(store, jobOf(data))
  assert.ok(!(await readdir(data)).includes(mark))
  await stat(join(data, 'global', 'pg_control'))
})

test('a backup that does not fit is refused before anything is written', async (t) => {
  const disk = await smallDisk(t, 1)
  if ('reason' in disk) return t.skip(disk.reason)
  const large = file('base/1', Buffer.alloc(2 * 1024 * 1024))
  const store = await makeBackup({ parts: [[...needed, large]], listed: [...files, large, controlFile()] })
  await assert.rejects(restoreMade(store, jobOf(join(disk.folder, 'data'))), /needs \d+ bytes .* are missing/)
  assert.deepEqual(await tree(disk.folder), [])
})
