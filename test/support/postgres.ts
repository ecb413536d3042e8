/**
 * Real servers for tests. Their binaries come from npm (test/servers) and exist for some platforms only: where one is
 * missing, its tests are skipped, and say so.
 *
 *     for (const version of await testVersions()) {
 *       test(`kill -9 loses nothing (PostgreSQL ${version.major})`, async () => {
 *         await withCluster({ version, segmentBytes: megabyte }, async (cluster, client) => { ... })
 *       })
 *     }
 *
 * A server that is still there when the test process ends is killed.
 */
import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import pg from 'pg'
import { isError } from '../../src/kit/errors.ts'
import { type Binaries, findBinaries } from '../../src/cluster/binaries.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { RunningClusters } from '../../src/cluster/running-clusters.ts'
import type { Settings } from '../../src/cluster/settings.ts'

export const megabyte = 1024 * 1024

export interface TestVersion {
  readonly major: number
  readonly binaries: Binaries
}

export interface TestClusterOptions {
  readonly version: TestVersion
  /** Default: 16 MB. */
  readonly segmentBytes?: number
  readonly settings?: Settings
  /** For the server and its commands. */
  readonly env?: Readonly<Record<string, string>>
  /**
   * Clusters of one version and segment size are copies of one template, and so have one system identifier. True: this
   * one is made by its own initdb, and has its own.
   */
  readonly ownIdentity?: boolean
}

/** The oldest and the newest major version that walferry supports, or those that were asked for: `14,15`. */
const askedFor = process.env['WALFERRY_TEST_MAJORS']
const majors = askedFor?.split(',').map(Number) ?? [13, 18]
/** Below the repository's root, so that what is not there is found in the root's own packages. */
const matrixFolder = resolve(import.meta.dirname, '../../../test/matrix')

/** WAL that no commit flushes is left to the WAL writer, which on an idle server sleeps for 25 times this: 5 s else. */
const prompt: Settings = { wal_writer_delay: '10ms' }

/** Enough for the slowest single step, a whole recovery, on a slow and busy machine; what takes longer hangs. */
export const stepTimeoutMs = 300_000

/** A folder for templates that all test files of a run share: initdb takes two seconds of CPU time. */
const sharedTemplates = process.env['TEST_TEMPLATE_CLUSTERS']

const running = new RunningClusters()
const templates = new Map<string, Promise<Cluster>>()
const folders = new Set<string>()

/**
 * The versions to test with. For one that this machine lacks, registers a skipped test that says so; one that was asked
 * for by name must be there.
 */
export async function testVersions(): Promise<TestVersion[]> {
  const found: TestVersion[] = []
  for (const major of majors) {
    try {
      const binaries = await findBinaries({ major, from: matrixFolder, signal: deadline() })
      found.push({ major, binaries })
    } catch (error) {
      if (askedFor !== undefined || !isError(error, 'CLUSTER_FAILED')) throw error
      const reason = `${error.message} (${process.platform}-${process.arch})`
      void test(`with PostgreSQL ${major}`, { skip: reason }, () => undefined)
    }
  }
  return found
}

/** The newest one, for what the versions do alike and a test takes long to show; all of them where some were asked for. */
export async function newestVersion(): Promise<TestVersion[]> {
  const found = await testVersions()
  return askedFor === undefined ? found.slice(-1) : found
}

/** A signal for one step of a test: aborts with an error if the step hangs. */
export function deadline(ms = stepTimeoutMs): AbortSignal {
  return AbortSignal.timeout(ms)
}

/** Makes a cluster that listens on 127.0.0.1 and is not started; `discardCluster` ends it. */
export async function makeCluster(options: TestClusterOptions): Promise<Cluster> {
  const { version, segmentBytes = 16 * megabyte, settings = {}, env } = options
  const folder = await makeFolder()
  const place = { binaries: version.binaries, folder, tcp: true, env, signal: deadline() }
  const cluster =
    options.ownIdentity === true
      ? await Cluster.create({ ...place, segmentBytes })
      : await Cluster.copyOf(await templateOf(version, segmentBytes), place)
  running.add(cluster)
  await cluster.configure({ ...prompt, ...settings })
  return cluster
}

/** A second cluster with what a stopped one holds: the same system identifier. `discardCluster` ends it. */
export async function copyCluster(source: Cluster): Promise<Cluster> {
  const place = { folder: await makeFolder(), tcp: true, signal: deadline() }
  const cluster = await Cluster.copyOf(source, place)
  running.add(cluster)
  return cluster
}

/** Kills the cluster if it runs, and deletes it. */
export async function discardCluster(cluster: Cluster): Promise<void> {
  await running.dispose(cluster)
  folders.delete(cluster.folder)
}

/** Makes and starts a cluster, connects to it, and discards it after `use`, whatever came of it. */
export async function withCluster<T>(
  options: TestClusterOptions,
  use: (cluster: Cluster, client: pg.Client) => Promise<T>,
): Promise<T> {
  const cluster = await makeCluster(options)
  try {
    await cluster.start(deadline())
    const client = await connect(cluster)
    try {
      return await use(cluster, client)
    } finally {
      await client.end()
    }
  } finally {
    await discardCluster(cluster)
  }
}

/** A client as superuser. A server that dies under it makes its queries fail, and nothing else. */
export async function connect(cluster: Cluster): Promise<pg.Client> {
  const client = new pg.Client({ ...cluster.connection, ssl: false, connectionTimeoutMillis: stepTimeoutMs })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** The rows, each a list of texts (or null) as the server writes them: no type of pg's gets in the way. */
export async function rows(client: pg.Client, sql: string): Promise<(string | null)[][]> {
  const types = { getTypeParser: () => (text: string) => text }
  const result = await client.query<(string | null)[]>({ text: sql, rowMode: 'array', types })
  return result.rows
}

/** The first column of the first row, as text. */
export async function value(client: pg.Client, sql: string): Promise<string> {
  const [first] = await rows(client, sql)
  const text = first?.[0]
  if (typeof text !== 'string') throw new Error(`no value came of: ${sql}`)
  return text
}

function templateOf(version: TestVersion, segmentBytes: number): Promise<Cluster> {
  const key = `${version.major} ${segmentBytes}`
  const known = templates.get(key)
  if (known !== undefined) return known
  const made = sharedTemplates === undefined ? makeTemplate(version, segmentBytes) : share(version, segmentBytes)
  templates.set(key, made)
  return made
}

async function makeTemplate({ binaries }: TestVersion, segmentBytes: number): Promise<Cluster> {
  return await Cluster.create({ binaries, folder: await makeFolder(), segmentBytes, signal: deadline() })
}

/** Whoever is first makes it. A rename gives it its name, so that nobody finds half of one. */
async function share({ major, binaries }: TestVersion, segmentBytes: number): Promise<Cluster> {
  const folder = join(sharedTemplates ?? '', `${major}-${segmentBytes}`)
  if (!existsSync(folder)) {
    const making = await mkdtemp(join(sharedTemplates ?? '', 'making-'))
    await Cluster.create({ binaries, folder: making, segmentBytes, signal: deadline() })
    await rename(making, folder).catch(async (error: unknown) => {
      if (!existsSync(folder)) throw error
      await rm(making, { recursive: true })
    })
  }
  return await Cluster.open({ binaries, folder })
}

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'walferry-pg-'))
  folders.add(folder)
  return folder
}

function removeFolders(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}

// After the last test of the file: templates go, and a server that a test has left behind is ended, and a failure.
after(async () => {
  const left = running.running
  await running.disposeAll()
  removeFolders()
  assert.deepEqual(left, [], 'tests have left servers running')
})

// And where it does not come to that, because the runner's time is up, or by Ctrl-C.
process.on('exit', () => {
  running.killNow()
  removeFolders()
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))
