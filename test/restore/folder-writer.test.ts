/** What a disk does to a file that is restored. */
import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { FolderWriter } from '../../src/restore/folder-writer.ts'
import { tempFolder } from '../support/temp.ts'

const pieceBytes = 1024 * 1024
const pieces = 70

/** Writes a file of 70 MiB, in which each call of `datasync` is answered by `sync`. */
async function writeLarge(t: TestContext, sync: () => Promise<void>): Promise<void> {
  const folder = await tempFolder(t)
  const file = await open(join(folder, 'any'), 'w')
  t.mock.method(Object.getPrototypeOf(file), 'datasync', sync)
  await file.close()
  const content = async function* (): AsyncGenerator<Uint8Array> {
    for (let n = 0; n < pieces; n++) yield Buffer.alloc(pieceBytes, n)
  }
  const bytes = pieces * pieceBytes
  const member = { kind: 'file', path: 'base/1', oid: null, within: 'base/1', mode: 0o600, bytes } as const
  await new FolderWriter(folder, [], null).taker('part_001.tar.lz4')(member, content())
}

test('a large file is synced while it is written, and what a sync on the way has failed with is not passed over', async (t) => {
  let syncs = 0
  await writeLarge(t, async () => void syncs++)
  assert.equal(syncs, 2)
  t.mock.restoreAll()
  for (const failing of [1, 2]) {
    let count = 0
    const failed = writeLarge(t, async () => {
      if (++count === failing) throw Object.assign(new Error('EIO: injected'), { code: 'EIO' })
    })
    await assert.rejects(failed, { code: 'RESTORE_FAILED', message: 'base/1 could not be written' })
    t.mock.restoreAll()
  }
})
