/** How `receive` ends: by a signal, at a position, with the connection; and that the server can always end, too. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { identityKey } from '../../src/archive/keys.ts'
import { orAbort } from '../../src/kit/abort.ts'
import { formatLsn, type Lsn, parseLsn } from '../../src/wal/lsn.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { MadeWal, segmentBytes as madeBytes } from '../restore/made-wal.ts'
import { deadline, newestVersion, value } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { type Receive, startReceive } from '../support/walferry.ts'
import { assertArchived, clientOf, segmentBytes, startServer, write } from './server.ts'

const never = ['--ship-interval', '1h']

for (const version of await newestVersion()) {
  test(`receive ends as it is told (PostgreSQL ${version.major})`, async (t) => {
    const cluster = await startServer(t, version)
    let client = await clientOf(t, cluster)
    const archive = join(await tempFolder(t), 'archive')
    await mkdir(archive)
    const spool = await tempFolder(t)
    const store = new DirectoryStore(archive)
    const begin = (args: readonly string[]) =>
      startReceive(t, { server: cluster.connection, store: archive, spool, args })

    await t.test('SIGTERM ships what is synced, also what would wait for an hour, and exits 0', async () => {
      const receive = begin(never)
      await receive.waitForReady(deadline())
      const end = await write(client, segmentBytes / 3)
      await receive.waitUntil(async () => (await receive.positions(deadline())).synced >= end, deadline())
      assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
      await assertArchived(cluster, store, end)
    })

    await t.test('--endpos exits 0 once everything up to it is shipped', async () => {
      const end = await write(client, segmentBytes)
      const receive = begin([...never, '--endpos', formatLsn(end)])
      assert.deepEqual(await receive.exit, { code: 0, signal: null })
      await assertArchived(cluster, store, end)
    })

    await t.test(
      'with the store away SIGTERM waits for --drain-timeout, exits 0, and the next start ships it',
      async () => {
        const receive = begin([...never, '--drain-timeout', '300ms'])
        await receive.waitForReady(deadline())
        const end = await write(client, segmentBytes / 3)
        await receive.waitUntil(async () => (await receive.positions(deadline())).synced >= end, deadline())
        await rename(archive, `${archive}.away`)
        assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
        assert.match(receive.stderr, /stays in the spool/)
        await rename(`${archive}.away`, archive)
        // Without the server: what is in the spool needs none.
        const next = startReceive(t, { server: 'postgres://postgres@127.0.0.1:1/', store: archive, spool })
        await next.waitForShipped(end, deadline())
        await next.kill9()
        await assertArchived(cluster, store, end)
      },
    )

    await t.test('an empty folder in the place of the archive is not taken for it', async () => {
      const receive = begin([])
      await receive.waitForReady(deadline())
      await receive.waitForShipped(await write(client, segmentBytes / 3), deadline())
      // As if its disk was not mounted any more.
      await rename(archive, `${archive}.away`)
      await mkdir(archive)
      const end = await write(client, 3 * segmentBytes)
      await receive.waitForLog(/is not the archive that was there before/, deadline())
      assert.equal((await receive.readyz(deadline())).ready, false)
      // At once: a put that had begun before may still be under way in there.
      await rename(archive, `${archive}.empty`)
      await rename(`${archive}.away`, archive)
      await receive.waitForShipped(end, deadline())
      assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
      await assertArchived(cluster, store, end)
    })

    await t.test('a second signal ends it at once, and loses nothing of the spool', async () => {
      const receive = begin([...never, '--drain-timeout', '1h'])
      await receive.waitForReady(deadline())
      const end = await write(client, segmentBytes / 3)
      await receive.waitUntil(async () => (await receive.positions(deadline())).synced >= end, deadline())
      await rename(archive, `${archive}.away`)
      receive.send('SIGTERM')
      await receive.waitForLog(/stopping/, deadline())
      assert.deepEqual(await receive.terminate(deadline()), { code: null, signal: 'SIGTERM' })
      await rename(`${archive}.away`, archive)
      const next = begin([])
      await next.waitForShipped(end, deadline())
      await next.terminate(deadline())
      await assertArchived(cluster, store, end)
    })

    for (const ack of ['spool', 'store']) {
      await t.test(`the server stops fast with the store away and --ack ${ack}, and loses nothing`, async () => {
        const receive = begin([...never, '--ack', ack])
        await receive.waitForReady(deadline())
        await rename(archive, `${archive}.away`)
        const end = await write(client, segmentBytes / 3)
        // Well before 30 s, after which the receiver gives up on the store by itself.
        await cluster.stop('fast', deadline(25_000))
        await rename(`${archive}.away`, archive)
        await cluster.start(deadline())
        client = await clientOf(t, cluster)
        await receive.waitForReady(deadline())
        await receive.terminate(deadline())
        await assertArchived(cluster, store, end)
      })
    }

    await t.test('--ack store acknowledges what is in the store, and nothing else', async () => {
      const receive = begin(['--ack', 'store', '--ship-interval', '1h'])
      await receive.waitForReady(deadline())
      const flush = async (): Promise<Lsn> =>
        parseLsn(await value(client, "SELECT coalesce(min(flush_lsn), '0/0') FROM pg_stat_replication"))
      const end = await write(client, segmentBytes / 3)
      await receive.waitUntil(async () => (await flush()) >= end, deadline())
      await assertArchived(cluster, store, end)
      await rename(archive, `${archive}.away`)
      const unshipped = await write(client, segmentBytes / 3)
      await receive.waitUntil(async () => (await receive.positions(deadline())).synced >= unshipped, deadline())
      assert.ok((await flush()) < unshipped)
      await rename(`${archive}.away`, archive)
      await receive.waitUntil(async () => (await flush()) >= unshipped, deadline())
      await receive.terminate(deadline())
    })

    await t.test('--no-loop exits 1 when the connection is lost', async () => {
      const receive = begin(['--no-loop'])
      await receive.waitForReady(deadline())
      await cluster.kill(deadline())
      assert.equal((await receive.exit).code, 1)
      assert.match(receive.stderr, /error: .*\[PG_CONNECTION_LOST\]/)
    })
  })
}

test('a file system that hangs does not keep it from ending, after the time to drain in or at a second signal', async (t) => {
  const [folder, wal] = [await tempFolder(t), new MadeWal().fillTo(1.5 * madeBytes, 'x')]
  const archive = join(folder, 'archive')
  await mkdir(join(archive, dirname(identityKey)), { recursive: true })
  // Who opens it to read waits for one who writes, as for an NFS server that is away, in a thread that heeds nobody.
  execFileSync('mkfifo', [join(archive, identityKey)])
  const begin = async (name: string): Promise<Receive> => {
    const spool = join(folder, name)
    await mkdir(spool)
    await writeFile(join(spool, '000000010000000000000001'), wal.segment(1))
    const args = ['--drain-timeout', '100ms']
    const receive = startReceive(t, { server: 'postgres://postgres@127.0.0.1:1/', store: archive, spool, args })
    await receive.waitForLog(/found in the spool/, deadline())
    receive.send('SIGTERM')
    await receive.waitForLog(/stays in the spool/, deadline())
    return receive
  }
  const [patient, urged] = await Promise.all([begin('patient'), begin('urged')])
  assert.deepEqual(await urged.terminate(deadline()), { code: null, signal: 'SIGTERM' })
  assert.deepEqual(await orAbort(patient.exit, deadline()), { code: null, signal: 'SIGTERM' })
  assert.match(patient.stderr, / ERROR stopped at once: .* hint=.*hang/)
})
