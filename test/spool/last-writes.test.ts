import assert from 'node:assert/strict'
import { utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { lastWrites } from '../../src/spool/last-writes.ts'
import { tempFolder } from '../support/temp.ts'

const segmentBytes = 1024 * 1024

test('each segment in the spool is told with when it was last written to, whole or not, and nothing else', async (t) => {
  const folder = await tempFolder(t)
  const files = [
    ['000000010000000000000004.partial', 3000],
    ['000000010000000000000003', 1000],
    ['000000020000000000000004', 2000],
    ['00000002.history', 4000],
    ['lock', 5000],
  ] as const
  for (const [name, seconds] of files) {
    await writeFile(join(folder, name), '')
    await utimes(join(folder, name), seconds, seconds)
  }
  assert.deepEqual(await lastWrites(folder, segmentBytes), [
    { start: BigInt(3 * segmentBytes), atMs: 1_000_000 },
    { start: BigInt(4 * segmentBytes), atMs: 3_000_000 },
    { start: BigInt(4 * segmentBytes), atMs: 2_000_000 },
  ])
})

test('a folder that cannot be read is a failure of the spool', async () => {
  await assert.rejects(lastWrites('/nonexistent/spool', segmentBytes), { code: 'SPOOL_FAILED' })
})
