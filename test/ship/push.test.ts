/** `push` on made-up WAL and a store in memory: what is stored under which key, and what is refused. */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import type { WritableCodec } from '../../src/archive/codec-name.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { pushFile } from '../../src/ship/push.ts'
import type { Pushed } from '../../src/ship/push-request.ts'
import { chunkFolder, MadeArchive, nameOf } from '../restore/made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from '../restore/made-wal.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { FaultyStore, unreachable } from './shipping.ts'

/** Segments 1 and 2 are whole, 3 ends in a switch, 4 is open. */
const wal = new MadeWal()
  .fillTo(3 * segmentBytes + 200_000, 'a')
  .switch()
  .fillTo(4 * segmentBytes + 300_000, 'b')
const other = new MadeWal().fillTo(4 * segmentBytes, 'other')
const history = '1\t0/4049400\tno recovery target specified\n'
const key = (name: string): string => `wal_005/${name}`

interface Place {
  readonly store: MemoryStore
  readonly folder: string
  /** Writes a file into pg_wal and pushes it. */
  readonly push: (name: string, content: Buffer | string, codec?: WritableCodec) => Promise<Pushed>
  /** What the archive gives back. */
  readonly read: (key: string) => Promise<Buffer>
}

async function makePlace(t: TestContext, store = new MemoryStore()): Promise<Place> {
  const folder = join(await tempFolder(t), 'pg_wal')
  await mkdir(folder)
  const archive = new Archive(store)
  return {
    store,
    folder,
    push: async (name, content, codec = 'lz4') => {
      const path = join(folder, name)
      await writeFile(path, content)
      return await pushFile({ archive, path, codec }, deadline())
    },
    read: (at) => archive.readSmall(at, 2 * segmentBytes, { signal: deadline() }),
  }
}

/** The keys below `wal_005/` and those that walferry has for itself, but for the identity. */
function keysOf(store: MemoryStore): string[] {
  return store.keys.filter((one) => one !== 'walferry_001/identity.json')
}

function isUntouched(store: MemoryStore): void {
  assert.deepEqual(store.calls, new MemoryStore().calls)
}

describe('a complete segment', () => {
  for (const [what, segno] of [
    ['that ends within a record', 1],
    ['that ends in a switch', 3],
  ] as const) {
    test(`${what} is stored under its name, in an archive that is its cluster's from then on`, async (t) => {
      const place = await makePlace(t)
      const name = nameOf(1, segno)
      const pushed = await place.push(name, wal.segment(segno))
      assert.deepEqual(pushed, { key: key(`${name}.lz4`), warnings: [] })
      assert.ok((await place.read(pushed.key)).equals(wal.segment(segno)))
      const identity: unknown = JSON.parse(Buffer.from(place.store.peek('walferry_001/identity.json')).toString())
      assert.ok(identity !== null && typeof identity === 'object' && 'systemIdentifier' in identity)
      assert.equal(identity.systemIdentifier, String(systemIdentifier))
    })
  }

  test('is stored once, whichever compression it is pushed with', async (t) => {
    const place = await makePlace(t)
    const name = nameOf(1, 1)
    assert.equal((await place.push(name, wal.segment(1), 'none')).key, key(name))
    const { put } = place.store.calls
    for (const codec of ['none', 'lz4'] as const) {
      assert.equal((await place.push(name, wal.segment(1), codec)).key, key(name))
    }
    assert.equal(place.store.calls.put, put)
    assert.deepEqual(keysOf(place.store), [key(name)])
  })

  test('is refused where other content has its name, and nothing is changed', async (t) => {
    const place = await makePlace(t)
    const name = nameOf(1, 1)
    await place.push(name, wal.segment(1))
    const before = place.store.peek(key(`${name}.lz4`))
    await assert.rejects(place.push(name, other.segment(1)), { code: 'ARCHIVE_CONFLICT', message: new RegExp(name) })
    assert.deepEqual(keysOf(place.store), [key(`${name}.lz4`)])
    assert.deepEqual(place.store.peek(key(`${name}.lz4`)), before)
  })

  test('takes the place of its chunks', async (t) => {
    const place = await makePlace(t)
    const made = new MadeArchive(place.store)
    made.identity(wal)
    await made.chunk(wal, 1, 0, 5000)
    await made.chunk(wal, 1, 5000, 700_000, 'none')
    await made.chunk(wal, 2, 0, 5000)
    await place.push(nameOf(1, 1), wal.segment(1))
    assert.deepEqual(keysOf(place.store), [key(`${nameOf(1, 1)}.lz4`), `${chunkFolder(1, 2)}00000000-00001388.lz4`])
  })

  test('is refused before it is stored where a chunk of it holds other WAL, and the chunks stay', async (t) => {
    const place = await makePlace(t)
    const made = new MadeArchive(place.store)
    made.identity(wal)
    const chunks = [await made.chunk(wal, 1, 0, 5000), await made.chunk(other, 1, 5000, 6000)]
    await assert.rejects(place.push(nameOf(1, 1), wal.segment(1)), {
      code: 'ARCHIVE_CONFLICT',
      message: /1388-00001770/,
    })
    assert.deepEqual(keysOf(place.store), chunks)
  })

  test('is stored where a receiver deletes its chunks just then', async (t) => {
    const place = await makePlace(t)
    const made = new MadeArchive(place.store)
    made.identity(wal)
    const chunk = await made.chunk(wal, 1, 0, 5000)
    await made.chunk(wal, 1, 5000, 6000)
    place.store.before = (operation, at) => {
      if (operation === 'get' && at === chunk) place.store.delete(chunk)
    }
    await place.push(nameOf(1, 1), wal.segment(1))
    assert.deepEqual(keysOf(place.store), [key(`${nameOf(1, 1)}.lz4`)])
  })

  test('is stored once where two push it at the same time', async (t) => {
    const place = await makePlace(t)
    const name = nameOf(1, 1)
    await Promise.all([1, 2, 3].map(() => place.push(name, wal.segment(1))))
    assert.deepEqual(keysOf(place.store), [key(`${name}.lz4`)])
  })

  test('is stored through a short outage, and an answer that is lost', async (t) => {
    const store = new FaultyStore()
    const place = await makePlace(t, store)
    let failures = 1
    store.before = () => {
      if (failures-- > 0) throw unreachable()
    }
    let lost = 1
    store.stored = (at) => {
      if (at.startsWith('wal_005/') && lost-- > 0) throw unreachable()
    }
    await place.push(nameOf(1, 1), wal.segment(1))
    assert.deepEqual(keysOf(store), [key(`${nameOf(1, 1)}.lz4`)])
  })

  test('fails at once where the store refuses, with the reason of the store', async (t) => {
    const place = await makePlace(t)
    place.store.before = (operation) => {
      if (operation === 'put') throw new WalferryError('STORE_DENIED', 'injected')
    }
    await assert.rejects(place.push(nameOf(1, 1), wal.segment(1)), { code: 'STORE_DENIED' })
    assert.deepEqual(place.store.keys, [])
  })
})

describe('a segment that is not complete', () => {
  /** The open segment as a standby has it that restored a tail, and as one that streamed into a recycled file. */
  const padded = wal.segment(4)
  const former = Buffer.concat([padded.subarray(0, 400_000), wal.segment(2).subarray(400_000)])

  for (const [what, content] of [
    ['padded with zeros', padded],
    ['in a recycled file', former],
  ] as const) {
    test(`${what} does not get the name, and is kept as a .partial, with a warning`, async (t) => {
      const place = await makePlace(t)
      const name = nameOf(1, 4)
      for (let round = 0; round < 2; round++) {
        const pushed = await place.push(name, content)
        assert.equal(pushed.key, key(`${name}.partial.lz4`))
        assert.match(pushed.warnings.join(), /4 is not complete \(.*\): it was not stored under its own name, but as/)
      }
      assert.deepEqual(keysOf(place.store), [key(`${name}.partial.lz4`)])
      assert.ok((await place.read(key(`${name}.partial.lz4`))).equals(content))
    })
  }

  test("that looks complete, because the archive's tail ends within its last record, does not get the name", async (t) => {
    const place = await makePlace(t)
    const made = new MadeArchive(place.store)
    made.identity(wal)
    const end = segmentBytes - 40
    const chunks = [await made.chunk(wal, 1, 0, 5000), await made.chunk(wal, 1, 5000, end)]
    const cut = Buffer.from(wal.segment(1)).fill(0, end)
    const pushed = await place.push(nameOf(1, 1), cut)
    assert.match(pushed.warnings.join(), /not complete \(it ends in zeros from where the archive's tail ends\)/)
    assert.deepEqual(keysOf(place.store), [pushed.key, ...chunks])
    assert.deepEqual((await place.push(nameOf(1, 1), wal.segment(1))).warnings, [])
  })

  test('is not one that ends in a switch, of which the archive has the tail', async (t) => {
    const place = await makePlace(t)
    const made = new MadeArchive(place.store)
    made.identity(wal)
    await made.chunk(wal, 3, 0, 300_000)
    assert.deepEqual((await place.push(nameOf(1, 3), wal.segment(3))).warnings, [])
    assert.deepEqual(keysOf(place.store), [key(`${nameOf(1, 3)}.lz4`)])
  })

  test('does not keep the complete one from its name', async (t) => {
    const place = await makePlace(t)
    const name = nameOf(1, 4)
    await place.push(name, padded)
    const whole = wal
      .fork()
      .fillTo(5 * segmentBytes, 'c')
      .segment(4)
    assert.deepEqual(await place.push(name, whole), { key: key(`${name}.lz4`), warnings: [] })
    assert.match((await place.push(name, padded)).warnings.join(), /not complete/)
    assert.ok((await place.read(key(`${name}.lz4`))).equals(whole))
  })
})

describe('a .partial', () => {
  const name = `${nameOf(1, 4)}.partial`

  test('is stored compressed, also with the compression none', async (t) => {
    const place = await makePlace(t)
    assert.deepEqual(await place.push(name, wal.segment(4), 'none'), { key: key(`${name}.lz4`), warnings: [] })
    assert.deepEqual(await place.push(name, wal.segment(4), 'lz4'), { key: key(`${name}.lz4`), warnings: [] })
    assert.deepEqual(keysOf(place.store), [key(`${name}.lz4`)])
  })

  test('with other content than one that is there is kept beside it, once, with a warning', async (t) => {
    const place = await makePlace(t)
    await place.push(name, wal.segment(4))
    const second = Buffer.from(wal.segment(4))
    second.fill('garbage', 900_000)
    for (let round = 0; round < 2; round++) {
      const pushed = await place.push(name, second, 'none')
      assert.match(pushed.key, /^walferry_001\/partial\/00000001-00000000-00000004-[0-9a-f]{12}\.lz4$/)
      assert.match(pushed.warnings.join(), /4\.partial\.lz4 holds other content than/)
      assert.ok((await place.read(pushed.key)).equals(second))
    }
    assert.equal(keysOf(place.store).length, 2)
    assert.ok((await place.read(key(`${name}.lz4`))).equals(wal.segment(4)))
  })
})

describe('a history file and the note of a backup', () => {
  const backup = `${nameOf(1, 2)}.00000028.backup`
  const note = 'START WAL LOCATION: 0/200028 (file 000000010000000000000002)\n'

  for (const [name, content, another] of [
    ['00000002.history', history, history.replace('4049400', '4049500')],
    [backup, note, `${note}STOP WAL LOCATION: 0/200100\n`],
  ] as const) {
    test(`${name} is stored once, and other content is refused`, async (t) => {
      const place = await makePlace(t)
      await writeFile(join(place.folder, nameOf(1, 4)), wal.segment(4))
      for (const codec of ['none', 'lz4'] as const) {
        assert.deepEqual(await place.push(name, content, codec), { key: key(name), warnings: [] })
      }
      await assert.rejects(place.push(name, another), { code: 'ARCHIVE_CONFLICT', message: new RegExp(name) })
      assert.deepEqual(keysOf(place.store), [key(name)])
      assert.equal((await place.read(key(name))).toString(), content)
    })

    test(`${name} is refused by the archive of another cluster, and where nothing says whose it is`, async (t) => {
      const place = await makePlace(t)
      await assert.rejects(place.push(name, content), { code: 'BAD_INPUT', message: /no segment lies beside it/ })
      // Made in advance, and empty still.
      await writeFile(join(place.folder, nameOf(1, 5)), Buffer.alloc(segmentBytes))
      await assert.rejects(place.push(name, content), { code: 'BAD_INPUT', message: /no segment lies beside it/ })
      isUntouched(place.store)
      await writeFile(join(place.folder, nameOf(1, 6)), wal.segment(4))
      new MadeArchive(place.store).identity(new MadeWal({ systemIdentifier: 42n }))
      await assert.rejects(place.push(name, content), { code: 'ARCHIVE_FOREIGN' })
      assert.deepEqual(keysOf(place.store), [])
    })
  }

  test('that is none, or empty, is refused before the store is touched', async (t) => {
    const place = await makePlace(t)
    await writeFile(join(place.folder, nameOf(1, 4)), wal.segment(4))
    for (const content of [
      '',
      'no line of a history',
      '2\t0/4049400\tits own parent\n',
      Buffer.alloc(2_000_000, '1'),
    ]) {
      await assert.rejects(place.push('00000002.history', content), { code: 'WAL_DAMAGED' })
    }
    await assert.rejects(place.push(backup, ''), { code: 'WAL_DAMAGED' })
    isUntouched(place.store)
  })
})

describe('the history file of a timeline that was born in a segment', () => {
  const fork = wal.end % segmentBytes
  const born = `1\t0/${wal.end.toString(16).toUpperCase()}\tno recovery target specified\n`
  const second = wal.fork(2).fillTo(5 * segmentBytes, 'on timeline 2')
  const first = nameOf(2, 4)
  const folder = 'walferry_001/tail/00000002-00000000-00000004/'
  const chunk = `${folder}00000000-${fork.toString(16).padStart(8, '0')}.lz4`

  async function promoted(t: TestContext): Promise<Place> {
    const place = await makePlace(t)
    await writeFile(join(place.folder, nameOf(1, 3)), wal.segment(3))
    await writeFile(join(place.folder, first), second.segment(4))
    return place
  }

  test('follows what the segment holds before the fork, and the whole segment takes its place', async (t) => {
    const place = await promoted(t)
    const put: string[] = []
    place.store.before = (operation, at) => void (operation === 'put' && put.push(at))
    await place.push('00000002.history', born)
    assert.deepEqual(put, ['walferry_001/identity.json', chunk, key('00000002.history.lz4')])
    assert.ok((await place.read(chunk)).equals(wal.segment(4).subarray(0, fork)))
    await place.push('00000002.history', born)
    assert.equal(put.length, 3)
    await place.push(first, second.segment(4))
    assert.deepEqual(keysOf(place.store), [key('00000002.history.lz4'), key(`${first}.lz4`)])
  })

  test('is pushed again with it after a crash between the two', async (t) => {
    const place = await promoted(t)
    place.store.before = (operation, at) => {
      if (operation === 'put' && at.includes('history')) throw new WalferryError('STORE_DENIED', 'injected')
    }
    await assert.rejects(place.push('00000002.history', born), { code: 'STORE_DENIED' })
    assert.deepEqual(keysOf(place.store), [chunk])
    place.store.before = () => undefined
    await place.push('00000002.history', born)
    assert.deepEqual(keysOf(place.store), [chunk, key('00000002.history.lz4')].toSorted())
  })

  test('goes alone where a receiver has as much or more, or the whole segment', async (t) => {
    for (const there of ['chunk', 'more', 'whole'] as const) {
      const place = await promoted(t)
      const made = new MadeArchive(place.store)
      made.identity(wal)
      const bytes = there === 'chunk' ? fork : fork + 8192
      if (there === 'whole') await made.segment(second, 4, first, 'none')
      else
        place.store.set(
          `${folder}00000000-${bytes.toString(16).padStart(8, '0')}`,
          second.segment(4).subarray(0, bytes),
        )
      const before = keysOf(place.store)
      await place.push('00000002.history', born)
      assert.deepEqual(keysOf(place.store), [...before, key('00000002.history.lz4')].toSorted())
    }
  })

  test('goes alone where the segment is not there, or the fork lies between two', async (t) => {
    const place = await makePlace(t)
    await writeFile(join(place.folder, nameOf(1, 3)), wal.segment(3))
    await place.push('00000002.history', born)
    await place.push('00000003.history', '1\t0/500000\tno recovery target specified\n')
    assert.deepEqual(keysOf(place.store), [key('00000002.history.lz4'), key('00000003.history.lz4')])
  })

  test('is refused before anything of it is stored where the archive knows another birth', async (t) => {
    const place = await promoted(t)
    const made = new MadeArchive(place.store)
    made.identity(wal)
    const before = [await made.history(2, history)]
    await assert.rejects(place.push('00000002.history', born), { code: 'ARCHIVE_CONFLICT' })
    place.store.delete(before[0] ?? '')
    before[0] = `${folder}00000000-00000100`
    place.store.set(before[0], other.segment(3).subarray(0, 256))
    await assert.rejects(place.push('00000002.history', born), { code: 'ARCHIVE_CONFLICT' })
    assert.deepEqual(keysOf(place.store), before)
  })
})

describe('before the store is touched', () => {
  for (const name of [
    'xlogtemp.17',
    nameOf(1, 0x2a).toLowerCase(),
    `${nameOf(1, 1)}.lz4`,
    `${nameOf(1, 1)}.`,
    `${nameOf(1, 1)}.backup`,
    `${nameOf(1, 1)}.00000028.backup.partial`,
    '2.history',
    '00000002.history.lz4',
    'RECOVERYXLOG',
  ]) {
    test(`the name ${name} is refused`, async (t) => {
      const place = await makePlace(t)
      await assert.rejects(place.push(name, wal.segment(1)), { code: 'BAD_INPUT', message: new RegExp(`"${name}"`) })
      isUntouched(place.store)
    })
  }

  for (const [what, name, content] of [
    ['of another number', nameOf(1, 2), wal.segment(1)],
    ['of a later timeline', nameOf(1, 1), new MadeWal({ timeline: 2 }).fillTo(2 * segmentBytes, 'a').segment(1)],
    ['that is cut', nameOf(1, 1), wal.segment(1).subarray(0, segmentBytes - 8192)],
    ['with more behind it', nameOf(1, 1), Buffer.concat([wal.segment(1), Buffer.alloc(8192)])],
    ['of zeros', nameOf(1, 1), Buffer.alloc(segmentBytes)],
    ['that is empty', nameOf(1, 1), Buffer.alloc(0)],
    ['with a flipped bit', nameOf(1, 1), flipped(wal.segment(1), 500_000)],
    ['under the name of a .partial', `${nameOf(1, 2)}.partial`, wal.segment(1)],
  ] as const) {
    test(`a file ${what} is refused`, async (t) => {
      const place = await makePlace(t)
      await assert.rejects(place.push(name, content), { code: 'WAL_DAMAGED', message: new RegExp(name) })
      isUntouched(place.store)
    })
  }

  test('a file that is not there is refused', async (t) => {
    const { store, folder } = await makePlace(t)
    for (const name of [nameOf(1, 1), '00000002.history']) {
      const push = pushFile({ archive: new Archive(store), path: join(folder, name), codec: 'lz4' }, deadline())
      await assert.rejects(push, { code: 'BAD_INPUT', message: /cannot be read$/ })
    }
    isUntouched(store)
  })
})

test('an archive of another cluster is refused, and both are named', async (t) => {
  const foreign = new MadeWal({ systemIdentifier: 42n }).fillTo(2 * segmentBytes, 'a')
  for (const begin of [
    (made: MadeArchive) => Promise.resolve(made.identity(foreign)),
    // As WAL-G would have begun it.
    (made: MadeArchive) => made.segment(foreign, 1),
  ]) {
    const place = await makePlace(t)
    await begin(new MadeArchive(place.store))
    const before = place.store.keys
    for (const name of [nameOf(1, 1), `${nameOf(1, 1)}.partial`]) {
      const expected = { code: 'ARCHIVE_FOREIGN', message: new RegExp(`identifier 42, not to ${systemIdentifier}`) }
      await assert.rejects(place.push(name, wal.segment(1)), expected)
    }
    assert.deepEqual(place.store.keys, before)
  }
})

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}
