/** Files that are set aside keep their content, get names of their own, and are counted until somebody removes them. */
import assert from 'node:assert/strict'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { countSetAside, setAside } from '../../src/spool/set-aside.ts'
import { tempFolder } from '../support/temp.ts'

const name = '000000010000000000000007'

test('files of one name are kept beside each other, and counted while they lie there', async (t) => {
  const folder = await tempFolder(t)
  assert.equal(await countSetAside(folder), 0)
  for (const content of ['first', 'second', 'third']) {
    await writeFile(join(folder, name), content)
    await setAside(folder, name)
  }
  await writeFile(join(folder, name), 'a segment')
  const names = await readdir(folder)
  assert.deepEqual(names.toSorted(), [name, `${name}.set-aside`, `${name}.set-aside-2`, `${name}.set-aside-3`])
  assert.equal(await readFile(join(folder, `${name}.set-aside-2`), 'utf8'), 'second')
  assert.equal(await countSetAside(folder), 3)
  await rm(join(folder, `${name}.set-aside`))
  assert.equal(await countSetAside(folder), 2)
})
