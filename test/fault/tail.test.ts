/** The tail of the newest segment while it is being shipped: readable and right at any moment, in few objects. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { memoryAt } from '../../src/archive/bytes-at.ts'
import type { Lsn } from '../../src/wal/lsn.ts'
import { segmentName, segmentStart, segnoBefore } from '../../src/wal/segment.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { collectGarbage } from '../support/garbage.ts'
import { deferred } from '../support/deferred.ts'
import { deadline, testVersions } from '../support/postgres.ts'
import { seededRandom } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { Receiving } from './receiving.ts'
import {
  assertArchived,
  clientOf,
  flushedUpTo,
  ownSegment,
  segmentBytes,
  startServer,
  write,
  Writer,
} from './server.ts'

for (const version of await testVersions()) {
  test(`at any moment a reader gets the server's bytes, as many as are shipped (PostgreSQL ${version.major})`, async (t) => {
    const random = seededRandom(t)
    const cluster = await startServer(t, version)
    const store = new FaultyStore()
    const archive = new Archive(store)
    // A reader's requests and the receiver's get mixed up as they would over a network.
    store.before = async () => {
      for (let turns = random.below(3); turns > 0; turns--) await new Promise(setImmediate)
    }
    const receiving = new Receiving(t, {
      server: cluster.connection,
      store,
      spool: await tempFolder(t),
      config: { shipIntervalMs: 20 },
    })
    await receiving.untilReady()
    const client = await clientOf(t, cluster)
    await receiving.untilShipped(await write(client, 1000))
    const writer = new Writer(t, cluster, () => random.pick([100, 3000, 60_000]))
    let most = 0
    const read = async (shipped: Lsn): Promise<'whole' | 'tail'> => {
      const segno = segnoBefore(shipped, segmentBytes)
      const name = segmentName({ timeline: 1, segno }, segmentBytes)
      const bytes = Buffer.alloc(segmentBytes)
      const found = await archive.readTail(name, segmentBytes, memoryAt(bytes), { signal: deadline() })
      const own = await ownSegment(cluster, segno)
      assert.ok(own !== null)
      if (found.found === 'whole') {
        const [object] = found.objects
        assert.ok(await archive.sameContent(object?.key ?? '', memoryAt(own), segmentBytes, { signal: deadline() }))
        return 'whole'
      }
      assert.ok(found.bytes >= Number(shipped - segmentStart(segno, segmentBytes)), `${found.bytes} bytes of ${name}`)
      assert.ok(bytes.subarray(0, found.bytes).equals(own.subarray(0, found.bytes)), `${name} is not the server's`)
      assert.deepEqual(found.unreachable, [])
      most = Math.max(most, (await archive.listChunks(name, { signal: deadline() })).length)
      return 'tail'
    }
    let reads = 0
    while (store.calls.put < 120 || reads < 40) {
      if ((await read(receiving.positions.shipped)) === 'tail') reads++
    }
    await writer.stop()
    const end = await flushedUpTo(client)
    await receiving.untilShipped(end)
    await receiving.stop()
    await assertArchived(cluster, store, end)
    t.diagnostic(`${reads} reads of a tail, ${store.calls.put} objects put, at most ${most} chunks at once`)
    assert.ok(most <= 28, `${most} chunks`)
  })
}

const [version] = (await testVersions()).toReversed()
if (version !== undefined) {
  test('a backlog lies on the disk, and not in memory', async (t) => {
    const cluster = await startServer(t, version)
    const client = await clientOf(t, cluster)
    const store = new FaultyStore()
    const receiving = new Receiving(t, { server: cluster.connection, store, spool: await tempFolder(t) })
    await receiving.untilReady()
    await receiving.untilShipped(await write(client, 1000))
    const hung = deferred()
    store.before = (operation) => (operation === 'put' ? hung.promise : undefined)
    const before = buffersNow()
    const end = await write(client, 64_000_000)
    await receiving.untilSynced(end)
    const grown = buffersNow() - before
    t.diagnostic(`${Math.round(grown / 1024)} kB for a backlog of ${receiving.positions.lag('ship').bytes >> 20} MB`)
    assert.ok(receiving.positions.lag('ship').bytes > 50_000_000)
    // Four uploads, each of a segment that is held as it is and compressed.
    assert.ok(grown < 24_000_000, `${grown} bytes`)
    hung.resolve()
    await receiving.untilShipped(end)
    await receiving.stop()
    await assertArchived(cluster, store, end)
  })
}

/** Bytes of all buffers that somebody still holds. */
function buffersNow(): number {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}
