/** The spool on a disk of its own that is full: a real one, in memory, which only root can mount. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, open, rm, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { describe, systemCode } from '../../src/kit/errors.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { testVersions, value } from '../support/postgres.ts'
import { Receiving } from './receiving.ts'
import { assertArchived, clientOf, flushedUpTo, segmentBytes, startServer, write } from './server.ts'

const run = promisify(execFile)

/** A folder that is a disk of so many megabytes, or why there is none. */
async function smallDisk(t: TestContext, megabytes: number): Promise<{ folder: string } | { reason: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'walferry-disk-'))
  let isMounted = false
  t.after(async () => {
    if (isMounted) await run('umount', ['--lazy', folder])
    await rm(folder, { recursive: true })
  })
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder])
    isMounted = true
  } catch (error) {
    return { reason: `a small disk cannot be mounted here: ${describe(error)}` }
  }
  return { folder }
}

/** Takes all room that is left. */
async function fill(path: string): Promise<void> {
  const file = await open(path, 'w')
  try {
    for (const bytes of [segmentBytes, 4096]) {
      const block = Buffer.alloc(bytes, 1)
      try {
        for (;;) await file.writeFile(block)
      } catch (error) {
        if (systemCode(error) !== 'ENOSPC') throw error
      }
    }
  } finally {
    await file.close()
  }
}

const [version] = (await testVersions()).toReversed()
if (version !== undefined) {
  test('a full disk stops the stream and not the server, is told all the while, and loses nothing', async (t) => {
    const disk = await smallDisk(t, 16)
    if ('reason' in disk) return t.skip(disk.reason)
    const cluster = await startServer(t, version)
    const client = await clientOf(t, cluster)
    const store = new FaultyStore()
    const spool = join(disk.folder, 'spool')
    const receiving = new Receiving(t, { server: cluster.connection, store, spool })
    await receiving.untilReady()
    await receiving.untilShipped(await write(client, 10_000))

    const ballast = join(disk.folder, 'ballast')
    await fill(ballast)
    await write(client, 2.5 * segmentBytes)
    await receiving.until(() => receiving.reasons.includes('SPOOL_FAILED'))
    const tries = (): number => receiving.count(/WARN .*code=SPOOL_FAILED.*The disk of the spool is full/)
    await receiving.until(async () => {
      assert.ok(receiving.reasons.includes('SPOOL_FAILED'), receiving.lines.join(''))
      // The server goes on, and its slot keeps what is not synced here.
      const kept = parseLsn(await value(client, 'SELECT restart_lsn FROM pg_replication_slots'))
      assert.ok(kept <= receiving.positions.synced)
      return tries() >= 6
    })
    await write(client, 2.5 * segmentBytes)
    assert.ok(receiving.positions.synced < (await flushedUpTo(client)))

    await unlink(ballast)
    const end = await write(client, 1000)
    await receiving.untilShipped(end)
    await receiving.untilReady()
    await assertArchived(cluster, store, end)
    await receiving.stop()
  })
}
