/** What `fetch` answers, rule by rule (0 served, 1 absent, 126 and above: stop), over archives of made-up WAL. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DataFolder } from './data-folder.ts'
import { chunkFolder, MadeArchive, nameOf } from './made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from './made-wal.ts'

/** Timeline 1 from segment 1 on, up to the middle of segment 4. */
function madeWal(): MadeWal {
  return new MadeWal().fillTo(4 * segmentBytes + 500_000, 'a')
}

/** Segments 1, 2 and 3 whole, 4 as a tail of the bytes up to `end`. */
async function usualArchive(wal: MadeWal): Promise<{ archive: MadeArchive; end: number }> {
  const archive = new MadeArchive()
  archive.identity(wal)
  for (const segno of [1, 2, 3]) await archive.segment(wal, segno)
  const end = wal.end % segmentBytes
  await archive.chunk(wal, 4, 0, 300_000)
  await archive.chunk(wal, 4, 300_000, end)
  return { archive, end }
}

test('whole segments and the tail come as they were, and what follows is absent', async (t) => {
  const wal = madeWal()
  const { archive } = await usualArchive(wal)
  const data = await DataFolder.make(t, systemIdentifier)
  for (const segno of [1, 2, 3, 4]) {
    const { code, file } = await data.ask(archive.store, nameOf(1, segno))
    assert.equal(code, 0)
    assert.ok(file?.equals(wal.segment(segno)), `segment ${segno}`)
  }
  assert.equal((await data.ask(archive.store, nameOf(1, 5))).code, 1)
  assert.equal((await data.ask(archive.store, '00000002.history')).code, 1)
})

describe('the right archive', () => {
  const names = [nameOf(1, 1), nameOf(1, 5), '00000001.history', '00000002.history']

  test('an empty prefix is none, whatever is asked for', async (t) => {
    for (const data of [await DataFolder.make(t), await DataFolder.make(t, systemIdentifier)]) {
      for (const name of names) assert.equal((await data.ask(new MadeArchive().store, name)).code, 203, name)
    }
  })

  test('neither is a prefix that holds other things: the prefix above an archive, or a backup of something', async (t) => {
    const { store } = new MadeArchive()
    store.set('archive/wal_005/000000010000000000000001.lz4', Buffer.from('x'))
    store.set('archive/walferry_001/identity.json', Buffer.from('x'))
    store.set('basebackups_005/base_000000010000000000000001_backup_stop_sentinel.json', Buffer.from('{}'))
    const data = await DataFolder.make(t, systemIdentifier)
    for (const name of names) assert.equal((await data.ask(store, name)).code, 203, name)
  })

  test("another cluster's archive is refused, whether it has what is asked for or not", async (t) => {
    const { archive } = await usualArchive(madeWal())
    await archive.history(2, '1\t0/400000\tno recovery target specified\n')
    const data = await DataFolder.make(t, systemIdentifier + 1n)
    for (const name of [...names, nameOf(1, 4)]) {
      assert.equal((await data.ask(archive.store, name)).code, 203, name)
    }
  })

  test("another cluster's archive without an identity is known by its first segment", async (t) => {
    const wal = madeWal()
    const archive = new MadeArchive()
    await archive.segment(wal, 2)
    const stranger = await DataFolder.make(t, systemIdentifier + 1n)
    assert.equal((await stranger.ask(archive.store, nameOf(1, 3))).code, 203)
    assert.ok((await stranger.ask(archive.store, nameOf(1, 2))).code >= 126)
    const data = await DataFolder.make(t, systemIdentifier)
    assert.equal((await data.ask(archive.store, nameOf(1, 3))).code, 1)
    assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 0)
  })

  test('without pg_control, as for a folder that is being restored, the archive is taken at its word', async (t) => {
    const { archive } = await usualArchive(madeWal())
    const data = await DataFolder.make(t)
    assert.equal((await data.ask(archive.store, nameOf(1, 4))).code, 0)
    assert.equal((await data.ask(archive.store, nameOf(1, 5))).code, 1)
  })

  test('an archive of which nobody can say whose it is answers nothing that would end a recovery', async (t) => {
    const wal = madeWal()
    const { archive } = await usualArchive(wal)
    archive.store.delete('walferry_001/identity.json')
    for (const segno of [1, 2, 3]) archive.store.delete(`wal_005/${nameOf(1, segno)}.lz4`)
    // Only the tail of segment 4 is left; and beside it, what makes the prefix an archive.
    await archive.history(2, '1\t0/700000\tno recovery target specified\n')
    const data = await DataFolder.make(t, systemIdentifier)
    for (const segno of [1, 3, 4]) {
      const { code, said } = await data.ask(archive.store, nameOf(1, segno))
      assert.ok(code >= 126, `segment ${segno}: ${code}, ${said}`)
    }
  })
})

describe('chunks', () => {
  test('chunks that overlap with equal bytes are one tail, in whatever order they came', async (t) => {
    const wal = madeWal()
    const { archive, end } = await usualArchive(wal)
    await archive.chunk(wal, 4, 0, 100_000, 'none')
    await archive.chunk(wal, 4, 250_000, 350_000)
    await archive.chunk(wal, 4, 299_999, end, 'none')
    const data = await DataFolder.make(t, systemIdentifier)
    const { code, file } = await data.ask(archive.store, nameOf(1, 4))
    assert.equal(code, 0)
    assert.ok(file?.equals(wal.segment(4)))
  })

  for (const [from, to] of [
    [0, 200_000],
    [200_000, 310_000],
    [299_000, 301_000],
    [400_000, 500_000],
  ] as const) {
    test(`chunks that overlap with other bytes in [${from}, ${to}) are a conflict`, async (t) => {
      const wal = madeWal()
      const { archive } = await usualArchive(wal)
      const other = new MadeWal().fillTo(4 * segmentBytes + 600_000, 'b')
      await archive.chunk(other, 4, from, to)
      const data = await DataFolder.make(t, systemIdentifier)
      assert.equal((await data.ask(archive.store, nameOf(1, 4))).code, 202)
    })
  }

  test('a tail reaches up to the first hole between its chunks', async (t) => {
    const wal = madeWal()
    const { archive, end } = await usualArchive(wal)
    archive.store.delete(`${chunkFolder(1, 4)}${hex8(300_000)}-${hex8(end)}.lz4`)
    await archive.chunk(wal, 4, 300_008, end)
    const data = await DataFolder.make(t, systemIdentifier)
    const { code, file } = await data.ask(archive.store, nameOf(1, 4))
    assert.equal(code, 0)
    const padded = Buffer.concat([wal.segment(4).subarray(0, 300_000), Buffer.alloc(segmentBytes - 300_000)])
    assert.ok(file?.equals(padded))
  })

  test('a tail of the full size is a whole segment, also with later WAL behind it', async (t) => {
    const wal = madeWal()
    const { archive } = await usualArchive(wal)
    archive.store.delete(`wal_005/${nameOf(1, 3)}.lz4`)
    await archive.chunk(wal, 3, 0, 700_000)
    await archive.chunk(wal, 3, 600_000, segmentBytes)
    const data = await DataFolder.make(t, systemIdentifier)
    const { code, file } = await data.ask(archive.store, nameOf(1, 3))
    assert.equal(code, 0)
    assert.ok(file?.equals(wal.segment(3)))
  })

  test('an object among the chunks that is none is damage: it might have been a part of the tail', async (t) => {
    for (const key of ['00000000-00000010.tmp', '00000000-00000010.lz4.tmp', '00000010-00000000.lz4', '0-1.lz4', 'x']) {
      const { archive } = await usualArchive(madeWal())
      archive.store.set(chunkFolder(1, 4) + key, Buffer.from('x'))
      const data = await DataFolder.make(t, systemIdentifier)
      assert.equal((await data.ask(archive.store, nameOf(1, 4))).code, 201, key)
    }
  })
})

describe('a hole', () => {
  const reasons: readonly { readonly later: string; readonly add: (archive: MadeArchive) => Promise<unknown> }[] = [
    { later: 'a segment', add: (archive) => archive.segment(madeWal(), 3) },
    { later: 'a segment far off', add: (archive) => archive.segment(madeWal(), 3, nameOf(1, 0xfff)) },
    { later: 'a chunk', add: (archive) => archive.chunk(madeWal(), 3, 0, 8192) },
    { later: 'a chunk that is no beginning', add: (archive) => archive.chunk(madeWal(), 4, 8192, 16_384) },
    {
      later: 'a .partial',
      add: async ({ store }) => store.set(`wal_005/${nameOf(1, 3)}.partial.lz4`, Buffer.from('x')),
    },
    {
      later: 'a .backup',
      add: async ({ store }) => store.set(`wal_005/${nameOf(1, 3)}.00000028.backup.lz4`, Buffer.from('x')),
    },
  ]
  for (const { later, add } of reasons) {
    for (const tail of [false, true]) {
      test(`before ${later}${tail ? ', with a tail in it,' : ''} is never "absent"`, async (t) => {
        const archive = new MadeArchive()
        const wal = madeWal()
        archive.identity(wal)
        await archive.segment(wal, 1)
        if (tail) await archive.chunk(wal, 2, 0, 100_000)
        await add(archive)
        const data = await DataFolder.make(t, systemIdentifier)
        const { code, said } = await data.ask(archive.store, nameOf(1, 2))
        assert.equal(code, 200, said)
      })
    }
  }

  test('a .partial or a .backup of the same segment is not later', async (t) => {
    const archive = new MadeArchive()
    const wal = madeWal()
    archive.identity(wal)
    await archive.segment(wal, 1)
    archive.store.set(`wal_005/${nameOf(1, 2)}.partial.lz4`, Buffer.from('x'))
    archive.store.set(`wal_005/${nameOf(1, 2)}.00000028.backup.lz4`, Buffer.from('x'))
    const data = await DataFolder.make(t, systemIdentifier)
    assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 1)
  })

  test('WAL of another timeline is not later, unless a history file says that it forked behind the hole', async (t) => {
    const wal = madeWal()
    const cases = [
      { history: null, wal: true, code: 1 },
      { history: '1\t0/300100\tno recovery target specified\n', wal: true, code: 200 },
      { history: '1\t0/300100\tno recovery target specified\n', wal: false, code: 1 },
      // In the same segment, or before: that timeline does not need it.
      { history: '1\t0/200100\tno recovery target specified\n', wal: true, code: 1 },
      { history: '1\t0/100100\tno recovery target specified\n', wal: true, code: 1 },
    ]
    for (const one of cases) {
      const archive = new MadeArchive()
      archive.identity(wal)
      await archive.segment(wal, 1)
      if (one.history !== null) await archive.history(2, one.history)
      if (one.wal) await archive.segment(wal.fork(2).fillTo(wal.end + 10_000, 'c'), 4, nameOf(2, 4))
      const data = await DataFolder.make(t, systemIdentifier)
      const { code, said } = await data.ask(archive.store, nameOf(1, 2))
      assert.equal(code, one.code, `${JSON.stringify(one)}: ${said}`)
    }
  })

  test('the fork may be named by any later timeline, through any number of others', async (t) => {
    const wal = madeWal()
    const archive = new MadeArchive()
    archive.identity(wal)
    await archive.segment(wal, 1)
    await archive.history(7, '1\t0/300100\tfirst\n\n5\t0/300200\tsecond\n')
    await archive.segment(wal, 4, nameOf(7, 4))
    const data = await DataFolder.make(t, systemIdentifier)
    assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 200)
    assert.equal((await data.ask(archive.store, nameOf(5, 2))).code, 200)
    assert.equal((await data.ask(archive.store, nameOf(4, 2))).code, 1)
  })

  test('is a hole also where nothing says how large a segment is', async (t) => {
    const wal = madeWal()
    const archive = new MadeArchive()
    // The first segment's header does not say that it is a long one; segment 3 is gone.
    const first = wal.segment(1)
    first.writeUInt16LE(0, 2)
    archive.store.set(`wal_005/${nameOf(1, 1)}`, first)
    await archive.segment(wal, 2)
    await archive.segment(wal, 4)
    const data = await DataFolder.make(t, systemIdentifier)
    const { code, said } = await data.ask(archive.store, nameOf(1, 3))
    assert.ok(code >= 126, `${code}, ${said}`)
  })
})

describe('what is served is what its name says', () => {
  const wrong: readonly { readonly what: string; readonly put: (archive: MadeArchive) => Promise<unknown> }[] = [
    { what: 'another segment', put: (archive) => archive.segment(madeWal(), 3, nameOf(1, 2)) },
    {
      what: 'a segment of another system',
      put: (archive) => archive.segment(new MadeWal({ systemIdentifier: 1n }).fillTo(4 * segmentBytes, 'a'), 2),
    },
    {
      what: 'a segment of a later timeline',
      put: (archive) => archive.segment(new MadeWal({ timeline: 2 }).fillTo(4 * segmentBytes, 'a'), 2),
    },
    { what: 'a segment that is too short', put: async (archive) => cut(archive, segmentBytes - 8192) },
    { what: 'an empty object', put: async ({ store }) => store.set(`wal_005/${nameOf(1, 2)}`, Buffer.alloc(0)) },
    { what: 'zeros', put: async ({ store }) => store.set(`wal_005/${nameOf(1, 2)}`, Buffer.alloc(segmentBytes)) },
    {
      what: 'a segment under the wrong extension',
      put: async ({ store }) => store.set(`wal_005/${nameOf(1, 2)}.zst`, madeWal().segment(2)),
    },
  ]
  for (const { what, put } of wrong) {
    test(`${what} under its name is damage`, async (t) => {
      const wal = madeWal()
      const archive = new MadeArchive()
      archive.identity(wal)
      await put(archive)
      const data = await DataFolder.make(t, systemIdentifier)
      const { code, said } = await data.ask(archive.store, nameOf(1, 2))
      assert.equal(code, 201, said)
    })
  }

  test('also in an archive without identity, for a folder without pg_control', async (t) => {
    const archive = new MadeArchive()
    await archive.segment(madeWal(), 3, nameOf(1, 2))
    const data = await DataFolder.make(t)
    assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 201)
  })

  test('so it is for tails: of another segment, another system, a later timeline, broken, or with empty pages', async (t) => {
    const broken = madeWal().segment(2)
    broken.writeUInt8(broken.readUInt8(50_000) ^ 1, 50_000)
    const emptied = madeWal().segment(2)
    emptied.fill(0, 49_152, 65_536)
    const tails = [
      madeWal().segment(3),
      new MadeWal({ systemIdentifier: 1n }).fillTo(4 * segmentBytes, 'a').segment(2),
      new MadeWal({ timeline: 2 }).fillTo(4 * segmentBytes, 'a').segment(2),
      broken,
      emptied,
    ]
    for (const [n, plain] of tails.entries()) {
      const archive = new MadeArchive()
      archive.identity(madeWal())
      archive.store.set(`${chunkFolder(1, 2)}00000000-${hex8(100_000)}`, plain.subarray(0, 100_000))
      const data = await DataFolder.make(t, systemIdentifier)
      assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 201, `tail ${n}`)
    }
  })

  test("a timeline's first segment, which begins with its parent's pages, is right", async (t) => {
    const parent = madeWal()
    const child = parent.fork(2).fillTo(5 * segmentBytes, 'c')
    const archive = new MadeArchive()
    archive.identity(parent)
    await archive.segment(child, 4, nameOf(2, 4))
    const data = await DataFolder.make(t, systemIdentifier)
    const { code, file, said } = await data.ask(archive.store, nameOf(2, 4))
    assert.equal(code, 0, said)
    assert.ok(file?.equals(child.segment(4)))
  })

  test('a segment that ends in an XLOG_SWITCH is right without a checksum, too, and one that was still open is not', async (t) => {
    const wal = new MadeWal().fillTo(2 * segmentBytes + 400_000, 'a')
    const switched = wal.fork().switch()
    const archive = new MadeArchive()
    archive.identity(wal)
    const data = await DataFolder.make(t, systemIdentifier)
    await archive.segment(switched, 2, nameOf(1, 2), 'none')
    const { code, file } = await data.ask(archive.store, nameOf(1, 2))
    assert.equal(code, 0)
    assert.ok(file?.equals(switched.segment(2)))
    await archive.segment(wal, 2, nameOf(1, 2), 'none')
    assert.equal((await data.ask(archive.store, nameOf(1, 2))).code, 201)
  })
})

test('history files are served as they are, refused where they are none', async (t) => {
  const wal = madeWal()
  const { archive } = await usualArchive(wal)
  const text = '1\t0/300100\tno recovery target specified\n'
  await archive.history(2, text)
  await archive.history(3, 'what is this\n')
  await archive.history(4, '')
  await archive.history(5, '6\t0/300100\tfrom the future\n')
  const data = await DataFolder.make(t, systemIdentifier)
  assert.equal((await data.ask(archive.store, '00000002.history')).file?.toString(), text)
  for (const name of ['00000003.history', '00000004.history', '00000005.history']) {
    assert.equal((await data.ask(archive.store, name)).code, 201, name)
  }
})

test('a name that is no WAL file is refused, not absent', async (t) => {
  const { archive } = await usualArchive(madeWal())
  const data = await DataFolder.make(t, systemIdentifier)
  const names = ['', 'x', '%f', nameOf(1, 4).toLowerCase().replace('0', 'a'), `${nameOf(1, 4)}.partial`, '../x']
  for (const name of names) assert.equal((await data.ask(archive.store, name)).code, 126, name)
})

function cut(archive: MadeArchive, bytes: number): void {
  archive.store.set(`wal_005/${nameOf(1, 2)}`, madeWal().segment(2).subarray(0, bytes))
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0')
}
