import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { type TestContext, test } from 'node:test'
import { claimDurably, makeFolder, renameDurably, syncFolder } from '../../src/kit/durable-fs.ts'
import { tempFolder } from '../support/temp.ts'

/** A fresh folder with files of these contents. */
async function folderWith(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await tempFolder(t)
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  return folder
}

function contents(folder: string): Record<string, string> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]))
}

test('makeFolder creates the missing parents, and is content with what is there', async (t) => {
  const folder = join(await folderWith(t, {}), 'a', 'b', 'c')
  await makeFolder(folder)
  assert.ok(statSync(folder).isDirectory())
  await makeFolder(folder)
})

test('makeFolder takes a relative path and one with a slash at its end', async (t) => {
  const folder = await folderWith(t, {})
  await makeFolder(`${relative(process.cwd(), join(folder, 'a', 'b'))}/`)
  assert.ok(statSync(join(folder, 'a', 'b')).isDirectory())
})

test('makeFolder gives the folders that it creates the mode, and leaves the others theirs', async (t) => {
  const folder = await folderWith(t, {})
  const before = statSync(folder).mode
  await makeFolder(join(folder, 'a', 'b'), 0o700)
  assert.equal(statSync(join(folder, 'a')).mode & 0o777, 0o700)
  assert.equal(statSync(join(folder, 'a', 'b')).mode & 0o777, 0o700)
  assert.equal(statSync(folder).mode, before)
})

test('makeFolder rejects where a file is in the way', async (t) => {
  const folder = await folderWith(t, { a: '' })
  await assert.rejects(makeFolder(join(folder, 'a')), { code: 'EEXIST' })
  await assert.rejects(makeFolder(join(folder, 'a', 'b')), { code: 'ENOTDIR' })
})

test('makeFolder leaves no half way for two at once', async (t) => {
  const folder = join(await folderWith(t, {}), 'a', 'b')
  await Promise.all([makeFolder(folder), makeFolder(folder), makeFolder(join(folder, 'c'))])
  assert.deepEqual(readdirSync(folder), ['c'])
})

test('renameDurably replaces what was there', async (t) => {
  const folder = await folderWith(t, { 'x.tmp': 'new', x: 'old' })
  await renameDurably(join(folder, 'x.tmp'), join(folder, 'x'))
  assert.deepEqual(contents(folder), { x: 'new' })
})

test('renameDurably moves between folders', async (t) => {
  const [from, to] = [await folderWith(t, { x: 'content' }), await folderWith(t, {})]
  await renameDurably(join(from, 'x'), join(to, 'y'))
  assert.deepEqual([contents(from), contents(to)], [{}, { y: 'content' }])
})

test('claimDurably gives a free name, and keeps nothing under the temporary one', async (t) => {
  const folder = await folderWith(t, { 'x.tmp': 'mine' })
  assert.equal(await claimDurably(join(folder, 'x.tmp'), join(folder, 'x')), true)
  assert.deepEqual(contents(folder), { x: 'mine' })
})

test('claimDurably leaves a taken name alone, and removes the temporary one', async (t) => {
  const folder = await folderWith(t, { 'x.tmp': 'mine', x: 'theirs' })
  assert.equal(await claimDurably(join(folder, 'x.tmp'), join(folder, 'x')), false)
  assert.deepEqual(contents(folder), { x: 'theirs' })
})

test('of many who claim one name, one gets it', async (t) => {
  const names = Array.from({ length: 20 }, (_, n) => `${n}.tmp`)
  const folder = await folderWith(t, Object.fromEntries(names.map((name) => [name, name])))
  const won = await Promise.all(names.map((name) => claimDurably(join(folder, name), join(folder, 'x'))))
  assert.equal(won.filter(Boolean).length, 1)
  assert.deepEqual(contents(folder), { x: names[won.indexOf(true)] })
})

test('claimDurably rejects, and takes nothing away, where it cannot look', async (t) => {
  const folder = await folderWith(t, { 'x.tmp': 'mine' })
  await assert.rejects(claimDurably(join(folder, 'x.tmp'), join(folder, 'missing', 'x')), { code: 'ENOENT' })
  assert.ok(existsSync(join(folder, 'x.tmp')))
})

test('syncFolder rejects for a folder that is not there', async (t) => {
  await assert.rejects(syncFolder(join(await tempFolder(t), 'nowhere')), { code: 'ENOENT' })
})
