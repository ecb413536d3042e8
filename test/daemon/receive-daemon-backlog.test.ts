/** A stop, or a crash, with WAL in the spool that the archive has not: whoever recovers from the archive is told. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findBacklog, putBacklog } from '../../src/archive/backlog.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { Receiving } from '../fault/receiving.ts'
import { clientOf, startServer, write } from '../fault/server.ts'
import { FaultyStore } from '../ship/shipping.ts'
import { deadline, testVersions } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'

const [version] = (await testVersions()).toReversed()
if (version !== undefined) {
  test('a stop that cannot ship everything leaves a note, and the next start deletes it', async (t) => {
    const cluster = await startServer(t, version)
    const client = await clientOf(t, cluster)
    const store = new FaultyStore()
    const at = { server: cluster.connection, store, spool: await tempFolder(t) }
    const first = new Receiving(t, { ...at, config: { drainTimeoutMs: 100 } })
    await first.untilReady()
    await first.untilShipped(await write(client, 1000))
    store.before = (operation, key) => {
      if (operation === 'put' && !key.startsWith('walferry_001/backlog/')) {
        throw new WalferryError('STORE_UNREACHABLE', 'injected', { retryable: true })
      }
    }
    const end = await write(client, 1_500_000)
    await first.untilSynced(end)
    await first.stop()
    const note = await findBacklog(store, 'walferry', { signal: deadline() })
    assert.ok(note !== null && note.timeline === 1 && note.lsn >= end)

    // Without any server: what the spool holds is shipped all the same.
    store.before = () => undefined
    await client.end()
    await cluster.stop('fast', deadline())
    const second = new Receiving(t, at)
    await second.untilShipped(note.lsn)
    await second.until(async () => (await findBacklog(store, 'walferry', { signal: deadline() })) === null)

    // And after a crash between the last upload and the end of the note, with nothing left to ship.
    await second.stop()
    await putBacklog(store, 'walferry', note, { signal: deadline() })
    const third = new Receiving(t, at)
    await third.until(async () => (await findBacklog(store, 'walferry', { signal: deadline() })) === null)
    await third.stop()
  })
}
