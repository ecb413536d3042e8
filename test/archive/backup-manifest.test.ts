/** The server's manifest, as PostgreSQL 15 wrote one: it lies among the files of test/fixtures/walg-local. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { partKey } from '../../src/archive/backup-keys.ts'
import { Checksum, parseManifest, withFile } from '../../src/archive/backup-manifest.ts'
import { isError } from '../../src/kit/errors.ts'
import { readTar } from '../../src/restore/tar-members.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { formatLsn } from '../../src/wal/lsn.ts'
import { deadline } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { collect, flipped } from './streams.ts'

const key = 'walferry_001/backups/00000002-00000000-00000008/backup_manifest.lz4'
const archive = new Archive(new DirectoryStore(join(import.meta.dirname, '../../../test/fixtures/walg-local')))

async function sample(): Promise<Buffer> {
  const part = partKey('base_000000020000000000000008', 1, 'zst')
  const plain = await archive.readObject(part, { atMost: 2 ** 30 }, { signal: deadline() })
  let found: Buffer = Buffer.alloc(0)
  await readTar(part, plain, async ({ path }, content) => {
    if (path === 'backup_manifest') found = await collect(content)
  })
  return found
}

const manifest = await sample()

test('files with their checksums, and the WAL that the backup needs, are read', () => {
  const { files, walRanges } = parseManifest(key, manifest)
  assert.equal(files.size, 968)
  assert.deepEqual(files.get('PG_VERSION'), { bytes: 3, checksum: { algorithm: 'CRC32C', hex: '8a744722' } })
  const [range] = walRanges
  assert.deepEqual([range?.timeline, formatLsn(range?.start ?? assert.fail())], [1, '0/5000028'])
})

test('any changed byte, and any cut, is an error', (t) => {
  const random = seededRandom(t)
  for (let n = 0; n < 30; n++) {
    const at = random.below(manifest.length)
    const changed = flipped(manifest, at, 1 << random.below(8))
    assert.throws(
      () => parseManifest(key, changed),
      (error) => isError(error, 'ARCHIVE_DAMAGED'),
      `byte ${at}`,
    )
    const cut = manifest.subarray(0, random.below(manifest.length))
    assert.throws(
      () => parseManifest(key, cut),
      (error) => isError(error, 'ARCHIVE_DAMAGED'),
      `cut at ${cut.length}`,
    )
  }
})

/** A manifest whose own checksum is right, whatever it says. */
function summed(lines: string): Buffer {
  const sum = createHash('sha256').update(lines).digest('hex')
  return Buffer.from(`${lines}"Manifest-Checksum": "${sum}"}\n`)
}

const range = '"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }\n],\n'
const entry = '{ "Path": "x", "Size": 1, "Last-Modified": "2026-11-20 10:42:23 GMT" }'

function manifestOf(version: number, files: string, more = ''): Buffer {
  return summed(`{ "PostgreSQL-Backup-Manifest-Version": ${version},\n${more}"Files": [\n${files}\n],\n${range}`)
}

test('version 2, of PostgreSQL 17, and files without a checksum or with a name that is no text are read', () => {
  const system = '"System-Identifier": 7710202200355448818,\n'
  const encoded = '{ "Encoded-Path": "6221c3bc", "Size": 0, "Last-Modified": "2026-11-20 10:42:23 GMT" }'
  const { files } = parseManifest(key, manifestOf(2, `${entry},\n${encoded}`, system))
  assert.deepEqual([...files.keys()], ['x', 'b!ü'])
  assert.equal(files.get('x')?.checksum, null)
})

const wrong: readonly (readonly [what: string, content: Buffer])[] = [
  ['a later version', manifestOf(3, entry)],
  ['a file that is listed twice', manifestOf(1, `${entry},\n${entry}`)],
  ['a file without a name', manifestOf(1, entry.replace('"Path": "x", ', ''))],
  ['a negative size', manifestOf(1, entry.replace('1', '-1'))],
  ['an unknown checksum', manifestOf(1, entry.replace('GMT"', 'GMT", "Checksum-Algorithm": "MD5", "Checksum": "00"'))],
  ['a checksum without its kind', manifestOf(1, entry.replace('GMT"', 'GMT", "Checksum": "00"'))],
  ['no WAL', summed(`{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [],\n`)],
]

for (const [what, content] of wrong) {
  test(`${what} is an error`, () => {
    assert.throws(
      () => parseManifest(key, content),
      (error) => isError(error, 'ARCHIVE_DAMAGED'),
    )
  })
}

test('the manifest of a changed file differs in its line and in the last one', () => {
  const changed = withFile(manifest, 'PG_VERSION', Buffer.from('15\n16\n'))
  const file = parseManifest(key, changed).files.get('PG_VERSION')
  const sum = new Checksum('CRC32C')
  sum.add(Buffer.from('15\n16\n'))
  assert.deepEqual(file, { bytes: 6, checksum: { algorithm: 'CRC32C', hex: sum.hex() } })
  const [before, after] = [manifest, changed].map((content) => content.toString().split('\n'))
  assert.equal(before?.filter((line, n) => line !== after?.[n]).length, 2)
  assert.deepEqual(withFile(manifest, 'PG_VERSION', Buffer.from('15\n')), manifest)
  assert.deepEqual(withFile(manifest, 'not/there', Buffer.from('x')), manifest)
})

test('checksums are written as the server writes them', () => {
  const expected = {
    CRC32C: '839206e3',
    SHA224: createHash('sha224').update('123456789').digest('hex'),
    SHA512: createHash('sha512').update('123456789').digest('hex'),
  } as const
  for (const algorithm of ['CRC32C', 'SHA224', 'SHA512'] as const) {
    const sum = new Checksum(algorithm)
    for (const piece of ['1234', '', '56789']) sum.add(Buffer.from(piece))
    assert.equal(sum.hex(), expected[algorithm])
  }
})
