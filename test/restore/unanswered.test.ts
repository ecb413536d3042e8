/** What a standby is told of an ancestor's segment, after an outage was told as "not there" of its own timeline's. */
import assert from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { noteUnanswered, unansweredBefore, waitsFor } from '../../src/restore/unanswered.ts'
import { DataFolder } from './data-folder.ts'
import { nameOf } from './made-archive.ts'

const run = '71234\t1769860800'
const note = `${run}\t${nameOf(3, 7)}\n`

for (const { what, text = note, by = run, name, waits } of [
  { what: "the parent's segment of that number", name: nameOf(2, 7), waits: true },
  { what: "an older ancestor's", name: nameOf(1, 7), waits: true },
  { what: 'the segment itself', name: nameOf(3, 7), waits: false },
  { what: 'that of a newer timeline', name: nameOf(4, 7), waits: false },
  { what: "the parent's segment before it", name: nameOf(2, 6), waits: false },
  { what: "the parent's segment behind it", name: nameOf(2, 8), waits: false },
  { what: 'another run of the server', by: '71234\t1769860801', name: nameOf(2, 7), waits: false },
  { what: 'a run whose start is cut', text: `71234\t17698608001\t${nameOf(3, 7)}\n`, name: nameOf(2, 7), waits: false },
  { what: 'a note that a crash has cut', text: note.slice(0, -5), name: nameOf(2, 7), waits: false },
  { what: 'an empty note', text: '', name: nameOf(2, 7), waits: false },
]) {
  test(`${what} ${waits ? 'waits' : 'does not wait'} for the one that could not be looked for`, () => {
    assert.equal(waitsFor(text, by, name), waits ? nameOf(3, 7) : null)
  })
}

async function runningServer(t: TestContext): Promise<DataFolder> {
  const data = await DataFolder.make(t, 1n)
  await writeFile(join(data.path, 'postmaster.pid'), `71234\n${data.path}\n1769860800\n5432\n`)
  return data
}

describe('a note of a segment that could not be looked for', () => {
  test('counts for its ancestors, one after the other, until anything else is asked for', async (t) => {
    const { dest, pgWal } = await runningServer(t)
    await noteUnanswered({ dest, name: nameOf(3, 7) })
    for (const timeline of [2, 1]) {
      assert.equal(await unansweredBefore({ dest, name: nameOf(timeline, 7) }), nameOf(3, 7))
    }
    assert.equal(await unansweredBefore({ dest, name: '00000004.history' }), null)
    assert.equal(await unansweredBefore({ dest, name: nameOf(2, 7) }), nameOf(3, 7))
    for (const name of [nameOf(3, 7), nameOf(2, 7)]) assert.equal(await unansweredBefore({ dest, name }), null)
    assert.deepEqual(await readdir(pgWal), [])
  })

  test('takes away what was fetched ahead: it would be served without a question', async (t) => {
    const { dest, pgWal } = await runningServer(t)
    const folder = join(pgWal, '.walferry-prefetch')
    await mkdir(folder)
    await writeFile(join(folder, nameOf(2, 7)), 'WAL')
    await noteUnanswered({ dest, name: nameOf(3, 7) })
    assert.deepEqual(await readdir(pgWal), ['.walferry-unanswered'])
  })

  test('is not made for who is no server, nor for a history file', async (t) => {
    const data = await DataFolder.make(t, 1n)
    await noteUnanswered({ dest: data.dest, name: nameOf(3, 7) })
    const server = await runningServer(t)
    await noteUnanswered({ dest: server.dest, name: '00000003.history' })
    assert.deepEqual([await readdir(data.pgWal), await readdir(server.pgWal)], [[], []])
  })
})
