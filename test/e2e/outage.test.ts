/** A store that goes away in the middle of a recovery stops the server: it is not promoted, and loses nothing. */
import assert from 'node:assert/strict'
import { readdir, readFile, rename } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { isSegmentName } from '../../src/wal/segment.ts'
import { deadline, megabyte, type TestVersion, testVersions } from '../support/postgres.ts'
import { until } from '../support/prefetching.ts'
import { startS3Server } from '../support/s3-server.ts'
import { restoreCommand } from '../support/walferry.ts'
import {
  allRows,
  archiveInFolder,
  flushedUpTo,
  insert,
  insertLarge,
  makeScene,
  recover,
  rowsOf,
  type Rows,
} from './scenario.ts'

interface Archived {
  readonly copy: Cluster
  readonly archive: string
  readonly rows: Rows
  /** A segment in the middle of those that the copy has to replay. */
  readonly middle: string
}

async function archived(t: TestContext, version: TestVersion): Promise<Archived> {
  const { server, copy, client } = await makeScene(t, version, megabyte)
  const { receive, archive } = await archiveInFolder(t, server)
  for (let n = 1; n <= 3; n++) {
    await insertLarge(client, 1000 + n, megabyte)
    await insert(client, n, n, 'row')
  }
  const rows = await allRows(client)
  await receive.waitForShipped(await flushedUpTo(client), deadline())
  await server.kill(deadline())
  await receive.terminate(deadline())
  const wholes = (await readdir(join(archive, 'wal_005'))).map((name) => name.slice(0, 24)).filter(isSegmentName)
  return { copy, archive, rows, middle: wholes.toSorted().at(-2) ?? '' }
}

/** Starts a recovery that has to fail, and has not been taken for its end. */
async function stops(cluster: Cluster, command: string): Promise<void> {
  await cluster.setRecovery('recovery', { restore_command: command })
  await cluster.launch(deadline())
  assert.deepEqual(await cluster.waitForExit(deadline()), { code: 1, signal: null })
  const log = await cluster.log.read()
  assert.match(log, /error: .*\[STORE_UNREACHABLE\]/)
  // What PostgreSQL makes of 126.
  assert.match(log, /FATAL: {2}could not restore file "0{7}1[0-9A-F]{16}" from archive: command not executable/)
  assert.doesNotMatch(log, /archive recovery complete|selected new timeline/)
  const pgWal = join(cluster.dataFolder, 'pg_wal')
  assert.deepEqual(
    (await readdir(pgWal)).filter((name) => name.endsWith('.history')),
    [],
  )
  // What fetched ahead ends soon after the server, and leaves nothing.
  await until(async () => !(await readdir(pgWal)).some((name) => name.includes('walferry')))
  assert.ok((await readdir(cluster.dataFolder)).includes('recovery.signal'))
}

/** Takes the store away once the server asks for that segment; `comesBack` is its way back. */
interface Outage {
  readonly name: string
  readonly prepare: (
    t: TestContext,
    archived: Archived,
  ) => Promise<{ readonly fails: string; readonly works: string; readonly comesBack: () => Promise<void> }>
}

const refusedS3: Outage = {
  name: 'S3 refuses connections',
  prepare: async (t, { archive, middle }) => {
    const s3 = await startS3Server()
    t.after(() => s3.stop())
    for (const entry of await readdir(archive, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isFile()) s3.objects.set(`main/${relative(archive, path)}`, await readFile(path))
    }
    const goesAway = s3
      .arrival(({ operation, key }) => operation === 'GetObject' && key.includes(middle))
      .then(() => s3.refuse())
    const options = ['--store', `s3://${s3.bucket}/main`, '--s3-endpoint', s3.endpoint]
    return {
      fails: restoreCommand([...options, '--retry-for', '500ms'], s3.environment),
      works: restoreCommand(options, s3.environment),
      comesBack: async () => {
        await goesAway
        await s3.accept()
      },
    }
  },
}

const unmountedFolder: Outage = {
  name: 'the folder is unmounted',
  prepare: (_t, { archive, middle }) => {
    const away = `${archive}-away`
    const unmount = `test %f = ${middle} && mv '${archive}' '${away}'; `
    return Promise.resolve({
      fails: unmount + restoreCommand(['--store', archive, '--retry-for', '500ms']),
      works: restoreCommand(['--store', archive]),
      comesBack: () => rename(away, archive),
    })
  },
}

/** The server sees the same exit code either way; each of the two is tried with one version. */
const outageOf: Readonly<Record<number, Outage>> = { 13: unmountedFolder, 18: refusedS3 }

for (const version of await testVersions()) {
  const { name, prepare } = outageOf[version.major] ?? refusedS3
  test(`${name} in the middle of a recovery: it stops, and goes on later (PostgreSQL ${version.major})`, async (t) => {
    const all = await archived(t, version)
    const { fails, works, comesBack } = await prepare(t, all)
    await stops(all.copy, fails)
    await comesBack()
    await recover(all.copy, works)
    assert.deepEqual(await rowsOf(all.copy), all.rows)
  })
}
