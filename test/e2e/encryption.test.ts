/** All of it with a key: nothing readable leaves the machine, and backup and WAL bring back every row with the key alone. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Cluster } from '../../src/cluster/cluster.ts'
import { openLikeWalG } from '../archive/encryption/native.ts'
import { copyCluster, deadline, discardCluster, megabyte, newestVersion } from '../support/postgres.ts'
import { startS3Server } from '../support/s3-server.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'
import { type Finished, program, restoreCommand, runProgram, startReceive, urlOf } from '../support/walferry.ts'
import { allRows, flushedUpTo, insert, makeScene, recover, rowsOf, stops } from './scenario.ts'

const raw = Buffer.from('4c0829fdfe7ae1987918edc585b1a90556d901eaea963c7625bb5734576dfb59', 'hex')
const mark = 'nobody-else-may-read-this'

/** A folder with a key file, and one with another key. */
async function keyFiles(t: TestContext): Promise<{ right: string[]; wrong: string[] }> {
  const folder = await tempFolder(t)
  const options = async (name: string, key: Buffer): Promise<string[]> => {
    await writeFile(join(folder, name), `${key.toString('hex')}\n`, { mode: 0o600 })
    return ['--encryption-key-file', join(folder, name), '--encryption-key-transform', 'hex']
  }
  return { right: await options('right', raw), wrong: await options('wrong', Buffer.alloc(32, 1)) }
}

/** Every file of an archive, by its path. */
async function filesOf(folder: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return new Map(await Promise.all(paths.map(async (path) => [path, await readFile(path)] as const)))
}

async function walferry(...args: string[]): Promise<Finished> {
  return await runProgram(program('walferry'), args, { signal: deadline() })
}

for (const version of await newestVersion()) {
  test(`what is backed up and received with a key is recovered with that key alone (PostgreSQL ${version.major})`, async (t) => {
    const { server, copy, client } = await makeScene(t, version, megabyte)
    const second = await copyCluster(copy)
    t.after(() => discardCluster(second))
    const keys = await keyFiles(t)
    const store = join(await tempFolder(t), 'archive')
    await mkdir(store)
    const spool = join(await tempFolder(t), 'spool')
    const inFolder = { server: server.connection, store, spool }
    const s3 = await startS3Server()
    t.after(() => s3.stop())
    const variables = {
      ...s3.environment,
      WALG_LIBSODIUM_KEY: raw.toString('base64'),
      WALG_LIBSODIUM_KEY_TRANSFORM: 'base64',
    }
    const s3Place = ['--store', `s3://${s3.bucket}/main`, '--s3-endpoint', s3.endpoint]

    const receives = [
      startReceive(t, { ...inFolder, args: [...keys.right, '--compression', 'none'] }),
      startReceive(t, {
        server: server.connection,
        store: `s3://${s3.bucket}/main`,
        spool: join(await tempFolder(t), 'spool'),
        slot: 'other',
        args: ['--s3-endpoint', s3.endpoint],
        env: variables,
      }),
    ]
    for (const receive of receives) await receive.waitForReady(deadline())
    await insert(client, 1, 1000, mark)
    await client.query('SELECT pg_switch_wal()')
    const backup = ['backup', '--url', urlOf(server.connection), '--store', store, '--fast']
    const taken = await walferry(...backup, ...keys.right)
    assert.equal(taken.code, 0, taken.stderr)
    await insert(client, 1001, 3000, mark)
    const committed = await flushedUpTo(client)
    const rows = await allRows(client)
    for (const receive of receives) {
      await receive.waitUntil(async () => (await receive.positions(deadline())).synced >= committed, deadline())
    }
    await server.kill(deadline())
    for (const receive of receives) {
      assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null }, receive.stderr)
      assert.match(receive.stderr, /everything is shipped/)
    }

    // Plain WAL without compression would show the texts. Another libsodium reads what lies there.
    let seen = 0
    for (const [path, bytes] of await filesOf(store)) {
      if (path.endsWith('.json')) continue
      assert.ok(!bytes.includes(mark), path)
      if (openLikeWalG(bytes, raw).includes(mark)) seen++
    }
    assert.ok(seen >= 2, `${seen} objects hold the rows`)

    // A receiver without the key, or with another one, is refused before it has shipped anything, also without a server.
    const before = await filesOf(store)
    for (const [args, said] of [
      [[], /is encrypted, and no key was given/],
      [keys.wrong, /is encrypted, and another key was given/],
    ] as const) {
      const refused = startReceive(t, { ...inFolder, args })
      assert.deepEqual(await refused.exit, { code: 1, signal: null })
      assert.match(refused.stderr, said)
      assert.match(refused.stderr, /\[ENCRYPTION_KEY\]/)
    }
    const data = join(await tempFolder(t), 'data')
    const withoutKey = await walferry('restore', data, '--store', store)
    assert.equal(withoutKey.code, 1)
    assert.match(withoutKey.stderr, /no key was given \[ENCRYPTION_KEY\]/)
    assert.deepEqual(await filesOf(store), before)

    const fetch = (...options: string[]): string => restoreCommand(['--store', store, '--retry-for', '0', ...options])
    await stops(copy, fetch(), 205, /is encrypted, and no key was given \[ENCRYPTION_KEY\]/)
    await stops(copy, fetch(...keys.wrong), 205, /is encrypted, and another key was given \[ENCRYPTION_KEY\]/)
    const restored = await walferry('restore', data, '--store', store, ...keys.right)
    assert.equal(restored.code, 0, restored.stderr)
    const folder = await serverFolder(t)
    const third = await Cluster.open({ binaries: version.binaries, folder, dataFolder: data, tcp: true })
    t.after(() => discardCluster(third))
    await third.start(deadline())
    await third.waitForPromotion(deadline())
    assert.deepEqual(await rowsOf(third), rows)
    await recover(second, restoreCommand(s3Place, variables))
    assert.deepEqual(await rowsOf(second), rows)
  })
}
