/** What `fetch` answers where there are several timelines, over archives of made-up WAL. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { DataFolder } from './data-folder.ts'
import { MadeArchive, nameOf } from './made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from './made-wal.ts'

/** Timeline 1 up to the middle of segment 4; there, timeline 2 begins, and the old primary writes on. */
const shared = new MadeWal().fillTo(4 * segmentBytes + 300_000, 'a')
const fork = shared.end
const forkOffset = fork % segmentBytes
const child = shared.fork(2).fillTo(5 * segmentBytes + 100_000, 'c')
const lost = shared.fork().fillTo(5 * segmentBytes + 100_000, 'l')
const first = nameOf(2, 4)
const history = `1\t0/${fork.toString(16).toUpperCase()}\tno recovery target specified\n`

/** Whole segments of timeline 1 before the fork's, and the history of timeline 2. */
async function forkedArchive(): Promise<MadeArchive> {
  const archive = new MadeArchive()
  archive.identity(shared)
  for (const segno of [1, 2, 3]) await archive.segment(shared, segno)
  await archive.history(2, history)
  return archive
}

async function server(t: TestContext): Promise<DataFolder> {
  return await DataFolder.make(t, systemIdentifier)
}

function padded(wal: MadeWal, segno: number, bytes: number): Buffer {
  return Buffer.concat([wal.segment(segno).subarray(0, bytes), Buffer.alloc(segmentBytes - bytes)])
}

describe('a history file that is not there', () => {
  test('is a hole while WAL of its timeline is in the archive, of whatever kind, and is waited for', async (t) => {
    const data = await server(t)
    const kinds: readonly ((archive: MadeArchive) => Promise<unknown>)[] = [
      (archive) => archive.segment(child, 4, first),
      (archive) => archive.chunk(child, 4, 0, forkOffset, 'lz4', 2),
      async ({ store }) => store.set(`wal_005/${first}.partial.lz4`, Buffer.from('x')),
    ]
    for (const add of kinds) {
      const archive = await forkedArchive()
      archive.store.delete('wal_005/00000002.history.lz4')
      await add(archive)
      const { code, said } = await data.ask(archive.store, '00000002.history')
      assert.equal(code, 200, said)
      assert.match(said, /has WAL of timeline 2, but no 00000002\.history/)
      const asked = data.ask(archive.store, '00000002.history', {
        retryForMs: 30_000,
        onRetry: () => void archive.history(2, history),
      })
      assert.equal((await asked).file?.toString(), history)
    }
  })

  test('is a hole where a newer one is in the archive, unless pg_wal has that one, or it itself', async (t) => {
    const archive = await forkedArchive()
    await archive.history(7, history)
    for (const [own, code] of [
      [null, 200],
      ['00000002.history', 200],
      ['00000003.history', 1],
      ['00000007.history', 1],
    ] as const) {
      const data = await server(t)
      if (own !== null) await writeFile(join(data.pgWal, own), history)
      const asked = await data.ask(archive.store, '00000003.history')
      assert.equal(asked.code, code, `${own}: ${asked.said}`)
      assert.equal((await data.ask(archive.store, '00000007.history')).code, 0)
      assert.equal((await data.ask(archive.store, '00000008.history')).code, 1)
      assert.equal((await data.ask(archive.store, '00000001.history')).code, 1)
    }
  })

  test('is served if it lands while we look for what needs it', async (t) => {
    const archive = await forkedArchive()
    const key = 'wal_005/00000002.history.lz4'
    const bytes = archive.store.peek(key)
    archive.store.delete(key)
    await archive.segment(child, 4, first)
    // The first listing of WAL comes after the first look for the file.
    archive.store.before = (operation, prefix) => {
      if (operation === 'list' && prefix.startsWith('wal_005/')) archive.store.set(key, bytes)
    }
    assert.equal((await (await server(t)).ask(archive.store, '00000002.history')).code, 0)
  })
})

describe('a tail of the first segment of a timeline that ends before the fork', () => {
  const short = Math.floor(forkOffset / 3)

  for (const [what, add] of [
    ['segment', (archive: MadeArchive) => archive.segment(lost, 4)],
    ['tail', (archive: MadeArchive) => archive.chunk(shared, 4, 0, forkOffset)],
    ['tail, which goes on behind the fork,', (archive: MadeArchive) => archive.chunk(lost, 4, 0, forkOffset + 90_000)],
  ] as const) {
    test(`is filled up from the parent's ${what} to the fork, and no further`, async (t) => {
      const archive = await forkedArchive()
      await archive.chunk(child, 4, 0, short, 'lz4', 2)
      await add(archive)
      const { code, file, said } = await (await server(t)).ask(archive.store, first)
      assert.equal(code, 0, said)
      assert.ok(file?.equals(padded(child, 4, forkOffset)))
    })
  }

  test('is a hole where the parent has no more, and names how far the WAL is good', async (t) => {
    for (const parent of [0, short - 5000, short + 5000, forkOffset - 1]) {
      const archive = await forkedArchive()
      await archive.chunk(child, 4, 0, short, 'lz4', 2)
      if (parent > 0) await archive.chunk(shared, 4, 0, parent)
      const { code, said } = await (await server(t)).ask(archive.store, first)
      assert.equal(code, 200, said)
      const goodUpTo = (4 * segmentBytes + Math.max(short, parent)).toString(16).toUpperCase()
      assert.match(said, new RegExp(`${first} up to 0/${goodUpTo} only, before its fork at`))
    }
  })

  test("is a conflict where the parent's bytes differ", async (t) => {
    const other = new MadeWal().fillTo(4 * segmentBytes + 10_000, 'a').fillTo(5 * segmentBytes, 'x')
    const archive = await forkedArchive()
    await archive.chunk(child, 4, 0, short, 'lz4', 2)
    await archive.segment(other, 4)
    assert.equal((await (await server(t)).ask(archive.store, first)).code, 202)
  })

  test('is a hole where later WAL of its timeline is there', async (t) => {
    const archive = await forkedArchive()
    await archive.chunk(child, 4, 0, short, 'lz4', 2)
    await archive.chunk(shared, 4, 0, forkOffset)
    await archive.chunk(child, 5, 0, 8192, 'lz4', 2)
    assert.equal((await (await server(t)).ask(archive.store, first)).code, 200)
  })

  test('and one that reaches the fork is served as it is', async (t) => {
    for (const bytes of [forkOffset, forkOffset + 100_000]) {
      const archive = await forkedArchive()
      await archive.chunk(child, 4, 0, bytes, 'lz4', 2)
      await archive.segment(lost, 4)
      const { code, file, said } = await (await server(t)).ask(archive.store, first)
      assert.equal(code, 0, said)
      assert.ok(file?.equals(padded(child, 4, bytes)))
    }
  })
})

describe('the first segment of a timeline that is not there at all', () => {
  const answers = [
    { parent: 'nothing', add: async () => undefined, code: 1 },
    { parent: 'a tail up to the fork', add: (a: MadeArchive) => a.chunk(shared, 4, 0, forkOffset), code: 1 },
    { parent: 'a tail before the fork', add: (a: MadeArchive) => a.chunk(shared, 4, 0, 8192), code: 1 },
    {
      parent: 'a tail with the beginning of a record behind the fork',
      add: (a: MadeArchive) => a.chunk(lost, 4, 0, forkOffset + 100),
      code: 1,
    },
    {
      parent: 'a tail with a record behind the fork',
      add: (a: MadeArchive) => a.chunk(lost, 4, 0, forkOffset + 9000),
      code: 200,
    },
    { parent: 'a segment that goes on', add: (a: MadeArchive) => a.segment(lost, 4), code: 200 },
  ]
  for (const { parent, add, code } of answers) {
    test(`is ${code === 1 ? 'absent' : 'an error'} where the parent has ${parent}`, async (t) => {
      const archive = await forkedArchive()
      await add(archive)
      const { code: answered, said } = await (await server(t)).ask(archive.store, first)
      assert.equal(answered, code, said)
      if (code === 200) assert.match(said, /timeline 1 behind the fork at/)
    })
  }

  test('is absent where pg_wal has it from the fork on, and not where it has less', async (t) => {
    const archive = await forkedArchive()
    await archive.segment(lost, 4)
    for (const [bytes, code] of [
      [forkOffset - 8, 200],
      [forkOffset, 1],
      [forkOffset + 50_000, 1],
    ] as const) {
      const data = await server(t)
      await data.keep(first, padded(child, 4, bytes))
      const asked = await data.ask(archive.store, first)
      assert.equal(asked.code, code, `${bytes}: ${asked.said}`)
    }
  })

  test('is waited for by a standby, however long it takes, and told; the hole behind it changes nothing', async (t) => {
    for (const later of [false, true]) {
      const archive = await forkedArchive()
      await archive.segment(lost, 4)
      if (later) await archive.chunk(child, 5, 0, 8192, 'lz4', 2)
      const told: string[] = []
      const asked = await (await server(t)).ask(archive.store, first, {
        standby: true,
        onStuck: (error) => {
          told.push(error.code)
          void archive.segment(child, 4, first)
        },
      })
      assert.deepEqual(told, ['ARCHIVE_LOST_BRANCH'])
      assert.ok(asked.file?.equals(child.segment(4)), asked.said)
    }
  })

  test('counts as not there with --no-tail, where it has a tail only', async (t) => {
    const archive = await forkedArchive()
    await archive.chunk(child, 4, 0, forkOffset + 10_000, 'lz4', 2)
    const data = await server(t)
    assert.equal((await data.ask(archive.store, first, { tails: false })).code, 1)
    await archive.segment(lost, 4)
    assert.equal((await data.ask(archive.store, first, { tails: false })).code, 200)
    assert.equal((await data.ask(archive.store, first)).code, 0)
  })

  test('is known by the history file in pg_wal where the archive has none', async (t) => {
    const archive = await forkedArchive()
    archive.store.delete('wal_005/00000002.history.lz4')
    await archive.segment(lost, 4)
    const data = await server(t)
    assert.equal((await data.ask(archive.store, first)).code, 1)
    await writeFile(join(data.pgWal, '00000002.history'), history)
    assert.equal((await data.ask(archive.store, first)).code, 200)
  })

  test('may begin with the fork itself', async (t) => {
    const switched = new MadeWal().fillTo(3 * segmentBytes - 9000, 'a').switch()
    const archive = new MadeArchive()
    archive.identity(switched)
    for (const segno of [1, 2]) await archive.segment(switched, segno)
    await archive.history(2, '1\t0/300000\tno recovery target specified\n')
    const data = await server(t)
    const name = nameOf(2, 3)
    assert.equal((await data.ask(archive.store, name)).code, 1)
    await archive.segment(switched.fork().fillTo(4 * segmentBytes, 'l'), 3)
    assert.equal((await data.ask(archive.store, name)).code, 200)
    await archive.chunk(switched.fork(2).fillTo(4 * segmentBytes, 'c'), 3, 0, 8192, 'lz4', 2)
    assert.equal((await data.ask(archive.store, name)).code, 0)
  })

  test('looks at every timeline that was left in the segment', async (t) => {
    const second = shared.fork(2).fillTo(fork + 50_000, 'c')
    const archive = await forkedArchive()
    const at = second.end.toString(16).toUpperCase()
    await archive.history(3, `${history}\n2\t0/${at}\tno recovery target specified\n`)
    const data = await server(t)
    assert.equal((await data.ask(archive.store, nameOf(3, 4))).code, 1)
    await archive.segment(lost, 4)
    assert.match((await data.ask(archive.store, nameOf(3, 4))).said, /WAL of timeline 1 behind the fork/)
  })
})

describe('the timelines of pages', () => {
  test('must be ancestors where the history is known, in segments and in tails', async (t) => {
    // Written on timeline 2 up to the fork, and named after timeline 4, which comes from 1.
    const strange = new MadeWal({ timeline: 2 })
      .fillTo(fork, 'a')
      .fork(4)
      .fillTo(5 * segmentBytes, 'c')
    for (const known of [false, true]) {
      for (const tail of [false, true]) {
        const archive = new MadeArchive()
        archive.identity(strange)
        if (known) await archive.history(4, history)
        if (tail) await archive.chunk(strange, 4, 0, forkOffset + 50_000, 'lz4', 4)
        else await archive.segment(strange, 4, nameOf(4, 4))
        const { code, said } = await (await server(t)).ask(archive.store, nameOf(4, 4))
        assert.equal(code, known ? 201 : 0, said)
        if (known) assert.match(said, /begins with WAL of timeline 2, from which timeline 4 does not come/)
      }
    }
  })

  test('cost a look at the history only where they are not those of the name', async (t) => {
    const archive = await forkedArchive()
    await archive.segment(child, 4, first)
    const data = await server(t)
    const { store } = archive
    const calls = async (name: string): Promise<number[]> => {
      const before = { ...store.calls }
      assert.equal((await data.ask(store, name)).code, 0)
      return [store.calls.get - before.get, store.calls.findAmong - before.findAmong, store.calls.list - before.list]
    }
    assert.deepEqual(await calls(nameOf(1, 2)), [2, 0, 0], 'the identity, and the segment')
    assert.deepEqual(await calls(first), [3, 1, 0], 'and a look for the history file, which is read')
  })
})
