import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { backupFolder, claimPrefix, manifestKey, metadataKey } from '../../src/archive/backup-keys.ts'
import { readBackup } from '../../src/archive/backups.ts'
import { identityKey } from '../../src/archive/keys.ts'
import { formatSentinel } from '../../src/archive/sentinel.ts'
import type { BackupOptions } from '../../src/backup/backup.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { type ErrorCode, isError, WalferryError } from '../../src/kit/errors.ts'
import { type Labels, noMetrics } from '../../src/metrics/catalogue.ts'
import { MemoryStore } from '../support/memory-store.ts'
import {
  connect,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  newestVersion,
  type TestVersion,
  testVersions,
  value,
} from '../support/postgres.ts'
import { take, Warnings } from './taking.ts'

async function runningServer(t: TestContext, version: TestVersion): Promise<Cluster> {
  const settings = { autovacuum: false, checkpoint_timeout: '1h' }
  const server = await makeCluster({ version, segmentBytes: megabyte, settings })
  t.after(() => discardCluster(server))
  await server.start(deadline())
  return server
}

/** Of a backup: nothing that looks like one, and no claim. */
function leftOf(store: MemoryStore): readonly string[] {
  return store.keys.filter((key) => key.startsWith(backupFolder) || key.startsWith(claimPrefix))
}

function as(code: ErrorCode, about: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(isError(error, code), String(error))
    assert.match(`${error.message} ${error.hint}`, about)
    return true
  }
}

/** Stores the first sentinel, and says that it could not be reached. */
class ForgetfulStore extends MemoryStore {
  lost = 0

  override async put(...args: Parameters<MemoryStore['put']>): Promise<void> {
    await super.put(...args)
    if (!args[0].endsWith('_sentinel.json') || this.lost > 0) return
    this.lost++
    throw new WalferryError('STORE_UNREACHABLE', 'reset', { retryable: true })
  }
}

function refusePut(store: MemoryStore, about: RegExp): void {
  store.before = (operation, key) => {
    if (operation === 'put' && about.test(key)) throw denied
  }
}

const denied = new WalferryError('STORE_DENIED', 'no permission')

for (const version of await testVersions()) {
  test(`a base backup (PostgreSQL ${version.major})`, async (t) => {
    const server = await runningServer(t, version)
    const sql = await connect(server)
    t.after(() => sql.end())
    await sql.query('CREATE TABLE t AS SELECT n, md5(n::text) AS text FROM generate_series(1, 20000) n')

    await t.test('by a role that may replicate and nothing else tells what it is', async () => {
      await sql.query('CREATE ROLE modest LOGIN REPLICATION')
      const store = new MemoryStore()
      const change = { label: 'vor dem Umzug', isPermanent: true }
      const taken = await take(server, { store, change, target: { user: 'modest' } })
      const { name, startLsn, finishLsn, plainBytes, storedBytes, parts } = taken
      const found = await readBackup(store, name, { signal: deadline() })
      assert.ok(found)
      assert.equal(formatSentinel(found), formatSentinel(taken))
      assert.equal(found.label, 'vor dem Umzug')
      assert.equal(found.isPermanent, true)
      assert.equal(found.dataFolder, '')
      assert.equal(Math.floor(found.serverVersion / 10_000), version.major)
      assert.ok(startLsn < finishLsn && storedBytes < plainBytes && parts > 3)
      assert.ok(store.keys.includes(metadataKey(name)))
      // The manifest vouches for what is in them.
      for (const key of store.keys.filter((path) => path.endsWith('.tar.lz4'))) {
        assert.equal(Buffer.from(store.peek(key)).toString('hex', 0, 7), '04224d186050fb', key)
      }
      const manifest = await new Archive(store).readSmall(manifestKey(found.segment, 'lz4'), 2 ** 24, {
        signal: deadline(),
      })
      const files: unknown = JSON.parse(manifest.toString())
      assert.ok(typeof files === 'object' && files !== null && 'Files' in files && Array.isArray(files.Files))
      assert.ok(files.Files.length > 500)
    })

    await t.test('of a server with a damaged page fails at its end, and leaves nothing', async () => {
      const path = join(server.dataFolder, await value(sql, "SELECT pg_relation_filepath('t')"))
      await sql.query('CHECKPOINT')
      const file = await open(path, 'r+')
      const good = Buffer.alloc(8)
      await file.read(good, 0, 8, 8192 + 4000)
      await file.write(Buffer.from('damaged!'), 0, 8, 8192 + 4000)
      try {
        const store = new MemoryStore()
        await assert.rejects(take(server, { store }), as('PG_DAMAGED', /checksum verification fail.*--no-verify/s))
        assert.deepEqual(leftOf(store), [])
        await take(server, { change: { verifyChecksums: false } })
      } finally {
        await file.write(good, 0, 8, 8192 + 4000)
        await file.close()
      }
    })

    await t.test('that is aborted while it copies leaves nothing', async () => {
      const store = new MemoryStore()
      const stop = new AbortController()
      const change: Partial<BackupOptions> = {
        // Some seconds for all of it: the abort comes long before its end.
        maxRate: 4096,
        onProgress: ({ bytes }) => void (bytes > 5 * megabyte && stop.abort(new Error('stopped by SIGINT'))),
      }
      await assert.rejects(take(server, { store, change, signal: stop.signal }), /stopped by SIGINT/)
      assert.deepEqual(leftOf(store), [])
    })

    await t.test('without its WAL in the archive is none', async () => {
      const store = new MemoryStore()
      const change = { withWal: false, waitForWalMs: 0 }
      await assert.rejects(take(server, { store, change }), as('BACKUP_WITHOUT_WAL', /walferry receive/))
      assert.deepEqual(leftOf(store), [])
    })
  })
}

for (const version of await newestVersion()) {
  test('a base backup and its store', async (t) => {
    const server = await runningServer(t, version)

    for (const [what, about] of [
      ['a part', /part_002/],
      ['pg_control', /pg_control/],
      ['the manifest', /backup_manifest/],
      ['the metadata', /metadata/],
      ['the sentinel', /sentinel/],
    ] as const) {
      await t.test(`which refuses ${what}: nothing that looks like a backup is left`, async () => {
        const store = new MemoryStore()
        refusePut(store, about)
        await assert.rejects(take(server, { store }), as('STORE_DENIED', /no permission/))
        assert.deepEqual(leftOf(store), [])
      })
    }

    await t.test('which refuses a part, or takes them all: the uploads are counted', async () => {
      const store = new MemoryStore()
      refusePut(store, /part_002/)
      const counts = new Map<string, number>()
      const add = (name: string, value: number, labels: Labels = {}): void => {
        const series = [name, ...Object.values(labels)].join(' ')
        counts.set(series, (counts.get(series) ?? 0) + value)
      }
      const change = { metrics: { ...noMetrics, add } }
      await assert.rejects(take(server, { store, change }), as('STORE_DENIED', /./))
      assert.equal(counts.get('walferry_uploads_total backup failure'), 1)
      counts.clear()
      const all = new MemoryStore()
      const { parts, plainBytes, storedBytes } = await take(server, { store: all, change })
      // The parts, pg_control, and the manifest, whose size is not that of the backup.
      assert.equal(counts.get('walferry_uploads_total backup success'), parts + 2)
      assert.ok((counts.get('walferry_shipped_bytes_total backup') ?? 0) > plainBytes)
      assert.ok((counts.get('walferry_stored_bytes_total backup') ?? 0) > storedBytes)
      assert.equal(counts.has('walferry_uploads_total backup failure'), false)
    })

    await t.test('which is not there at first: that is told, and the backup is taken once it is', async () => {
      const store = new MemoryStore()
      let failures = 2
      store.before = () => {
        if (failures-- > 0) throw new WalferryError('STORE_UNREACHABLE', 'no such folder', { retryable: true })
      }
      const log = new Warnings()
      await take(server, { store, change: { log } })
      assert.match(log.lines[0] ?? '', /no such folder.*trying again/)
    })

    await t.test('which stores the sentinel and loses its answer: the backup is there', async () => {
      const store = new ForgetfulStore()
      const { name } = await take(server, { store })
      assert.equal(store.lost, 1)
      assert.notEqual(await readBackup(store, name, { signal: deadline() }), null)
    })

    await t.test('which cannot remove what was stored: it is told, and so it is by the next one', async () => {
      const store = new MemoryStore()
      store.before = (operation, key) => {
        if ((operation === 'put' && /part_002/.test(key)) || operation === 'deleteMany') throw denied
      }
      const first = new Warnings()
      await assert.rejects(take(server, { store, change: { log: first } }), as('STORE_DENIED', /./))
      assert.match(first.lines.join('\n'), /could not be removed/)
      store.before = () => undefined
      const second = new Warnings()
      await take(server, { store, change: { log: second } })
      assert.match(second.lines.join('\n'), /was begun and has no end/)
    })

    await t.test('which has WAL of a later time than the server, which was set back: nothing is written', async () => {
      const store = new MemoryStore()
      await take(server, { store })
      store.set('wal_005/0000000100000001000000AA.lz4')
      const before = store.keys
      await assert.rejects(take(server, { store }), as('SERVER_LOST_WAL', /archive of its own/))
      assert.deepEqual(store.keys, before)
    })

    await t.test('which belongs to another cluster: nothing is written', async () => {
      const store = new MemoryStore()
      const other = { systemIdentifier: '1', segmentBytes: megabyte, firstUse: new Date() }
      store.set(identityKey, Buffer.from(JSON.stringify(other)))
      await assert.rejects(take(server, { store }), as('ARCHIVE_FOREIGN', /another bucket/))
      assert.deepEqual(store.keys, [identityKey])
    })
  })
}
