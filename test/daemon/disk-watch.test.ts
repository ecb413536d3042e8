import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { DiskWatch, diskSpaceOf } from '../../src/daemon/disk-watch.ts'
import type { DiskSpace } from '../../src/daemon/known.ts'
import { deferred } from '../support/deferred.ts'
import { tempFolder } from '../support/temp.ts'

test('the room of a folder is that of its disk', async (t) => {
  const folder = await tempFolder(t)
  const space = await new DiskWatch(() => diskSpaceOf(folder)).space()
  assert.ok(space !== null && space.freeBytes > 0 && space.bytes > space.freeBytes)
  assert.equal(space.setAsideFiles, 0)
})

test('what was set aside is counted, also by an earlier start', async (t) => {
  const folder = await tempFolder(t)
  await writeFile(join(folder, '000000010000000000000007.set-aside'), 'no segment')
  assert.equal((await diskSpaceOf(folder)).setAsideFiles, 1)
})

test('a folder that is not there has none, and nobody is troubled', async () => {
  assert.equal(await new DiskWatch(() => diskSpaceOf('/nowhere/at/all')).space(), null)
})

test('a disk that hangs is asked once, and keeps nobody waiting; when it answers, it is known again', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const answer = { freeBytes: 1, bytes: 2, setAsideFiles: 0 }
  const hanging = deferred<DiskSpace>()
  let asked = 0
  const watch = new DiskWatch(() => (++asked === 1 ? hanging.promise : Promise.resolve(answer)))
  const first = Promise.all([watch.space(), watch.space(), watch.space()])
  t.mock.timers.tick(500)
  assert.deepEqual(await first, [null, null, null])
  assert.equal(await watch.space(), null, 'at once: no time passes any more')
  assert.equal(asked, 1)
  hanging.resolve(answer)
  await setImmediate()
  assert.deepEqual(await watch.space(), answer)
})
