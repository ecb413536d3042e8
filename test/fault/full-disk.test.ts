/** The spool on a disk of its own that is full. */
import assert from 'node:assert/strict'
import { open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemCode } from '../../src/kit/errors.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { testVersions, value } from '../support/postgres.ts'
import { smallDisk } from '../support/small-disk.ts'
import { Receiving } from './receiving.ts'
import { assertArchived, clientOf, flushedUpTo, segmentBytes, startServer, write } from './server.ts'

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
    let { synced } = receiving.positions
    await receiving.until(async () => {
      // The last bytes that find room are progress, for a moment.
      const isTold = receiving.reasons.includes('SPOOL_FAILED')
      assert.ok(isTold || receiving.positions.synced !== synced, receiving.lines.join(''))
      synced = receiving.positions.synced
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
