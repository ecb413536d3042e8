/** The background process's work, in this process: when it ends, what it leaves, and what it does not take. */
import assert from 'node:assert/strict'
import { readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { makePrefetchFolder, prefetchFolder, tellPrefetch } from '../../src/restore/prefetch-folder.ts'
import { prefetch, type PrefetchJob } from '../../src/restore/prefetch.ts'
import { until } from '../support/prefetching.ts'
import { DataFolder } from './data-folder.ts'
import { MadeArchive, nameOf } from './made-archive.ts'
import { MadeWal, segmentBytes, systemIdentifier } from './made-wal.ts'

const wal = new MadeWal().fillTo(5 * segmentBytes, 'a')
const key = `${process.pid}\t1700000000\t--store\tx`

async function makeJob(t: TestContext, system = systemIdentifier): Promise<{ job: PrefetchJob; made: MadeArchive }> {
  const made = new MadeArchive()
  made.identity(wal)
  for (const segno of [1, 2, 3, 4]) await made.segment(wal, segno)
  const data = await DataFolder.make(t, system)
  await writeFile(join(data.path, 'postmaster.pid'), `${process.pid}\n${data.path}\n1700000000\n`)
  await writeFile(join(data.path, 'recovery.signal'), '')
  const folder = prefetchFolder(data.dest)
  await makePrefetchFolder(folder, key, nameOf(1, 1))
  const archive = new Archive(made.store)
  return { job: { archive, folder, key, dest: data.dest, segmentBytes, segments: 2, idleMs: 60_000 }, made }
}

test('it ends after a time without a request, and leaves an empty folder', async (t) => {
  const { job } = await makeJob(t)
  await prefetch({ ...job, idleMs: 100 })
  assert.deepEqual(await readdir(job.folder), [])
})

test('it ends when its folder is moved away, and does not make it again', async (t) => {
  const { job } = await makeJob(t)
  const working = prefetch(job)
  await until(async () => (await readdir(job.folder)).includes(nameOf(1, 3)))
  await rename(job.folder, `${job.folder}-1`)
  await Promise.allSettled([working])
  await assert.rejects(readdir(job.folder))
})

test('it takes nothing from the archive of another cluster', async (t) => {
  const { job } = await makeJob(t, systemIdentifier + 1n)
  await assert.rejects(prefetch(job), /belongs to system identifier/)
  assert.deepEqual(await readdir(job.folder), [])
})

test('a segment whose pages come from a timeline that is no ancestor is not kept', async (t) => {
  const { job, made } = await makeJob(t)
  const own = new MadeWal({ timeline: 3 }).fillTo(6 * segmentBytes, 'c')
  await made.history(3, '2\t0/300000\tno recovery target specified\n')
  await made.segment(wal, 4, nameOf(3, 4))
  await made.segment(own, 5, nameOf(3, 5))
  await writeFile(join(job.folder, 'asked'), nameOf(3, 3))
  const working = prefetch(job)
  await until(async () => (await readdir(job.folder)).includes(nameOf(3, 5)))
  assert.ok(!(await readdir(job.folder)).includes(nameOf(3, 4)))
  await rename(job.folder, `${job.folder}-1`)
  await Promise.allSettled([working])
})

test('it is told of a request only while it is alive, and serves the same', async (t) => {
  const { job } = await makeJob(t)
  assert.equal(await tellPrefetch(job.folder, `${key}y`, nameOf(1, 2)), false)
  assert.equal(await tellPrefetch(job.folder, key, nameOf(1, 2)), true)
  await prefetch({ ...job, idleMs: 0 })
  assert.equal(await tellPrefetch(job.folder, key, nameOf(1, 3)), false)
})
