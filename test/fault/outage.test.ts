/**
 * The store away and back, slow, and hung: capture goes on into the spool, the server is answered all the while, what
 * is wrong can be seen; and when the store is back, everything is there, byte by byte.
 */
import assert from 'node:assert/strict'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { DirectoryStore } from '../../src/store/directory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { S3Store } from '../../src/store/s3.ts'
import { formatLsn } from '../../src/wal/lsn.ts'
import { setEnvironment } from '../support/environment.ts'
import { testVersions, value } from '../support/postgres.ts'
import type { S3Request } from '../support/s3/request.ts'
import { startS3Server } from '../support/s3-server.ts'
import { tempFolder } from '../support/temp.ts'
import { Receiving } from './receiving.ts'
import { assertArchived, clientOf, flushedUpTo, segmentBytes, startServer, write } from './server.ts'

interface Outage {
  readonly store: ObjectStore
  begin(): Promise<void> | void
  end(): Promise<void> | void
}

/** Every way in which a store can fail to answer. A slow one answers in the end, so nothing needs to be told. */
const outages: Record<string, { readonly isTold: boolean; readonly open: (t: TestContext) => Promise<Outage> }> = {
  'a folder that is away': {
    isTold: true,
    async open(t) {
      const folder = join(await tempFolder(t), 'archive')
      await mkdir(folder)
      return {
        store: new DirectoryStore(folder),
        begin: () => rename(folder, `${folder}.away`),
        end: () => rename(`${folder}.away`, folder),
      }
    },
  },
  'S3 that refuses connections': {
    isTold: true,
    async open(t) {
      const { server, store } = await openS3(t)
      return { store, begin: () => server.refuse(), end: () => server.accept() }
    },
  },
  'S3 that hangs': {
    isTold: true,
    async open(t) {
      const { server, store } = await openS3(t)
      const ends: (() => void)[] = []
      return {
        store,
        begin: () => {
          const injection = server.inject({ kind: 'noAnswer', how: 'stall' })
          ends.push(() => injection.remove())
        },
        end: () => ends.forEach((end) => end()),
      }
    },
  },
  'S3 whose answers are lost after it has done what it was asked for': {
    isTold: false,
    async open(t) {
      const { server, store } = await openS3(t)
      const lose = (): void => void server.inject({ kind: 'lostAnswer', how: 'reset' }, isPut, 3)
      return { store, begin: lose, end: lose }
    },
  },
  'S3 that is slow': {
    isTold: false,
    async open(t) {
      const { server, store } = await openS3(t)
      const ends: (() => void)[] = []
      return {
        store,
        begin: () => {
          const injection = server.inject({ kind: 'slow', latencyMs: 100, bytesPerSecond: 2_000_000 })
          ends.push(() => injection.remove())
        },
        end: () => ends.forEach((end) => end()),
      }
    },
  },
}

function isPut({ operation }: S3Request): boolean {
  return operation === 'PutObject'
}

async function openS3(t: TestContext) {
  const server = await startS3Server({ bucket: 'bucket' })
  t.after(() => server.stop())
  t.after(setEnvironment(server.environment))
  const store = new S3Store({
    bucket: server.bucket,
    prefix: 'archive',
    endpoint: server.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    // A hung call is given up soon, so that the test is.
    connectTimeoutMs: 1000,
    idleTimeoutMs: 3000,
  })
  t.after(() => store.close())
  return { server, store }
}

for (const version of await testVersions()) {
  for (const [name, { isTold, open }] of Object.entries(outages)) {
    test(`${name}: nothing is lost, and the server is answered (PostgreSQL ${version.major})`, async (t) => {
      const cluster = await startServer(t, version)
      const client = await clientOf(t, cluster)
      const outage = await open(t)
      const receiving = new Receiving(t, {
        server: cluster.connection,
        store: outage.store,
        spool: await tempFolder(t),
      })
      await receiving.untilReady()
      await receiving.untilShipped(await write(client, 1000))

      await outage.begin()
      const shipped = receiving.positions.shipped
      for (let n = 0; n < 6; n++) await write(client, segmentBytes / 2)
      const during = await flushedUpTo(client)
      await receiving.untilSynced(during)
      const confirmed = `SELECT flush_lsn >= '${formatLsn(during)}' FROM pg_stat_replication`
      await receiving.until(async () => (await value(client, confirmed)) === 't')
      if (isTold) {
        await receiving.until(() => receiving.reasons.includes('STORE_UNREACHABLE'))
        assert.equal(receiving.positions.shipped, shipped)
        assert.ok(receiving.positions.lag('ship').bytes > 0)
      }
      await outage.end()

      const end = await write(client, 1000)
      await receiving.untilShipped(end)
      await receiving.untilReady()
      await receiving.stop()
      await assertArchived(cluster, outage.store, end)
    })
  }
}
