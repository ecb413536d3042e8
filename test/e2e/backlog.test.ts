/** A receiver that holds WAL which the store has refused: a recovery does not end without it, unless it is told to. */
import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { deadline, megabyte, newestVersion } from '../support/postgres.ts'
import { until } from '../support/prefetching.ts'
import { startS3Server } from '../support/s3-server.ts'
import { tempFolder } from '../support/temp.ts'
import { type Receive, restoreCommand, startReceive } from '../support/walferry.ts'
import { allRows, copyOf, flushedUpTo, insert, insertLarge, makeScene, recover, rowsOf, stops } from './scenario.ts'

function isNote(key: string): boolean {
  return key.includes('/backlog/')
}

for (const version of await newestVersion()) {
  test(`a recovery stops while a receiver holds more, and goes on once it is shipped (PostgreSQL ${version.major})`, async (t) => {
    const { server, copy, client } = await makeScene(t, version, megabyte)
    const s3 = await startS3Server()
    t.after(() => s3.stop())
    const store = `s3://${s3.bucket}/main`
    const spool = join(await tempFolder(t), 'spool')
    const args = ['--s3-endpoint', s3.endpoint, '--ship-interval', '0', '--drain-timeout', '100ms']
    const receive = (): Receive =>
      startReceive(t, { server: server.connection, store, spool, args, env: s3.environment })
    const first = receive()
    await first.waitForReady(deadline())
    await insert(client, 1, 500, 'shipped')
    const shipped = await allRows(client)
    await first.waitForShipped(await flushedUpTo(client), deadline())

    const held = s3.inject(
      { kind: 'error', status: 503, code: 'SlowDown' },
      ({ operation, key }) => operation === 'PutObject' && !isNote(key),
    )
    await insertLarge(client, 1000, megabyte)
    await insert(client, 1001, 1500, 'held')
    const all = await allRows(client)
    const end = await flushedUpTo(client)
    await first.waitUntil(async () => (await first.positions(deadline())).synced >= end, deadline())
    await server.kill(deadline())
    assert.deepEqual(await first.terminate(deadline()), { code: 0, signal: null })

    const command = (...options: string[]): string =>
      restoreCommand(['--store', store, '--s3-endpoint', s3.endpoint, ...options], s3.environment)
    const early = await copyOf(t, copy)
    const host = hostname()
    const said = new RegExp(`error: .*the receiver on ${host} held WAL .*\\nhint:  Start the receiver .* on ${host}: `)
    await stops(copy, command('--retry-for', '0'), 204, said)
    await recover(early, command('--retry-for', '0', '--ignore-backlog'))
    assert.deepEqual(await rowsOf(early), shipped)

    // The server is gone: the receiver ships what it has all the same.
    held.remove()
    const second = receive()
    await second.waitForShipped(end, deadline())
    await until(() => Promise.resolve(![...s3.objects.keys()].some(isNote)))
    await recover(copy, command('--retry-for', '0'))
    assert.deepEqual(await rowsOf(copy), all)
  })
}
