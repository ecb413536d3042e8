/**
 * `walferry demo`: the main job on a throw-away server. A writer commits as fast as it can while walferry receives and
 * ships, and takes a base backup; the server is killed, and its data directory deleted; the backup is restored, recovers
 * from the archive, and every row is compared with what was acknowledged.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { humanBytes } from '../audit/tell-listing.ts'
import { type BackupResult, takeBackup } from '../backup/backup.ts'
import { type Binaries, findBinaries } from '../cluster/binaries.ts'
import { Cluster } from '../cluster/cluster.ts'
import { query } from '../cluster/query.ts'
import { RunningClusters } from '../cluster/running-clusters.ts'
import { giveDataToServer } from '../cluster/server-user.ts'
import { openLog } from '../daemon/log.ts'
import { ReceiveDaemon } from '../daemon/receive-daemon.ts'
import { sleep } from '../kit/abort.ts'
import { WalferryError } from '../kit/errors.ts'
import { noMetrics } from '../metrics/catalogue.ts'
import { parseTarget } from '../pg/target.ts'
import { planRestore } from '../restore/choose-restore.ts'
import { restoreFiles } from '../restore/restore-files.ts'
import { parseHistory, switchPointOf } from '../wal/history.ts'
import { formatLsn } from '../wal/lsn.ts'
import { type DemoArchive, type DemoStore, openDemoArchive } from './demo-archive.ts'
import type { Config } from './options.ts'
import { DemoScreen, type Figure } from './demo-screen.ts'
import { judge, type Verdict } from './demo-verdict.ts'
import { DemoWriter, writerClients } from './demo-writer.ts'
import { cleanupCommand } from './restore-command.ts'
import { version } from '../kit/version.ts'

const writeMs = 12_000
const backupAfterMs = 3000
const frameMs = 200
const walferryFetch = fileURLToPath(new URL('../../../bin/walferry-fetch', import.meta.url))

/** Throws if a commit came back wrong, or was lost that was shipped; and whatever the parts throw. */
export async function runDemo(config: Config<'pg-bin'>, given: DemoStore): Promise<void> {
  const stop = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => stop.abort(new Error(`stopped by ${signal}`))
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const clusters = new RunningClusters()
  const onExit = (): void => clusters.killNow()
  process.on('exit', onExit)
  const folder = await mkdtemp(join(tmpdir(), 'walferry-demo-'))
  let archive: DemoArchive | null = null
  try {
    const binaries = await findBinaries({ binDir: config['pg-bin'], from: import.meta.dirname, signal: stop.signal })
    archive = await openDemoArchive(folder, given)
    await new Demo(folder, binaries, archive, clusters, stop.signal).run()
  } finally {
    await archive?.remove()
    await clusters.disposeAll()
    await rm(folder, { recursive: true, force: true, maxRetries: 10 })
    process.off('exit', onExit)
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

class Demo {
  readonly #folder: string
  readonly #binaries: Binaries
  readonly #archive: DemoArchive
  readonly #clusters: RunningClusters
  readonly #signal: AbortSignal
  readonly #screen = new DemoScreen(process.stdout)
  readonly #startedMs = performance.now()

  constructor(
    folder: string,
    binaries: Binaries,
    archive: DemoArchive,
    clusters: RunningClusters,
    signal: AbortSignal,
  ) {
    this.#folder = folder
    this.#binaries = binaries
    this.#archive = archive
    this.#clusters = clusters
    this.#signal = signal
  }

  async run(): Promise<void> {
    this.#step(`PostgreSQL ${this.#binaries.version}: a new server`)
    const server = await this.#makeServer()

    this.#step(
      `walferry receives from it, and ships into ${this.#archive.archive.store.url}; 4 clients commit as fast as they can`,
    )
    const { writer, daemon } = await this.#writeAndReceive(server)
    // Tried again while the killed server's other processes are still ending.
    await rm(server.dataFolder, { recursive: true, maxRetries: 10 })
    this.#step('the server is gone (SIGKILL), and so is its disk; walferry has shipped what it had received')
    const shipped = daemon.positions.shipped

    this.#step('walferry restores the base backup; a new server recovers from the archive')
    const recovered = await this.#restore()
    const recoveredTo = await this.#recover(recovered)
    const rows = await this.#rowsOf(recovered)
    const verdict = judge(writer.acknowledged, rows, writerClients)
    this.#tell(verdict, formatLsn(shipped), recoveredTo)
  }

  async #makeServer(): Promise<Cluster> {
    const server = await Cluster.create({
      binaries: this.#binaries,
      folder: join(this.#folder, 'server'),
      settings: { max_wal_senders: 4, wal_level: 'replica' },
      signal: this.#signal,
    })
    this.#clusters.add(server)
    await server.start(this.#signal)
    await query(server.connection, 'CREATE TABLE demo (id bigint PRIMARY KEY, payload text NOT NULL)', this.#signal)
    return server
  }

  async #writeAndReceive(server: Cluster): Promise<{ writer: DemoWriter; daemon: ReceiveDaemon }> {
    const said: string[] = []
    const daemon = this.#daemonFor(server, said)
    const drain = new AbortController()
    const running = daemon.run(drain.signal)
    const writer = new DemoWriter(server.connection)
    writer.start()
    try {
      const show = async (): Promise<void> => {
        // A daemon that ends now has failed.
        await Promise.race([sleep(frameMs, this.#signal), running])
        this.#screen.show(figuresOf(daemon, writer))
      }
      const untilMs = performance.now() + writeMs
      while (performance.now() < untilMs - writeMs + backupAfterMs) await show()
      const taking = this.#takeBackup(server, said)
      let taken: BackupResult | null = null
      while (taken === null) taken = await Promise.race([taking, show().then(() => null)])
      while (performance.now() < untilMs) await show()
      const { name, plainBytes } = taken
      this.#step(`meanwhile walferry took the base backup ${name}: ${humanBytes(plainBytes)}`)
      await server.kill(this.#signal)
      await writer.stop()
    } catch (error) {
      drain.abort(new Error('the demo failed'))
      await running.catch(() => undefined)
      process.stderr.write(said.join(''))
      throw error
    }
    drain.abort(new Error('the server is gone'))
    await running
    this.#screen.show(figuresOf(daemon, writer))
    return { writer, daemon }
  }

  #daemonFor(server: Cluster, said: string[]): ReceiveDaemon {
    const config = {
      version: version(),
      target: parseTarget(server.conninfo, {}),
      slot: 'walferry',
      spoolFolder: join(this.#folder, 'spool'),
      statusIntervalMs: 10_000,
      loop: true,
      endpos: null,
      ack: 'spool',
      ackStoreTimeoutMs: 30_000,
      onGap: 'continue',
      requireSlot: false,
      shipIntervalMs: 1000,
      uploadConcurrency: 4,
      codec: 'lz4',
      drainTimeoutMs: 10_000,
      listen: null,
    } as const
    return new ReceiveDaemon(
      config,
      this.#archive.archive,
      openLog('warn', 'text', (line) => said.push(line)),
      null,
    )
  }

  async #takeBackup(server: Cluster, said: string[]): Promise<BackupResult> {
    const options = {
      target: parseTarget(server.conninfo, {}),
      archive: this.#archive.archive,
      codec: 'lz4',
      partBytes: 1024 * 1024 * 1024,
      uploadConcurrency: 4,
      label: 'walferry demo',
      fast: true,
      maxRate: null,
      verifyChecksums: true,
      isPermanent: false,
      withWal: false,
      waitForWalMs: 60_000,
      waitWhole: false,
      switchWal: null,
      log: openLog('warn', 'text', (line) => said.push(line)),
      metrics: noMetrics,
      onProgress() {},
    } as const
    return await takeBackup(options, this.#signal)
  }

  async #restore(): Promise<Cluster> {
    const { archive, env } = this.#archive
    const signal = this.#signal
    const cluster = await Cluster.open({ binaries: this.#binaries, folder: join(this.#folder, 'recovered'), env })
    this.#clusters.add(cluster)
    const request = {
      backup: null,
      target: null,
      inclusive: true,
      timeline: 'latest',
      action: 'promote',
      standby: false,
    } as const
    const plan = await planRestore(archive, request, { signal })
    const job = {
      folder: cluster.dataFolder,
      force: false,
      tablespaceMapping: new Map(),
      standby: false,
      settings: {
        restoreCommand: this.#archive.fetchCommand(walferryFetch),
        recoveryEndCommand: cleanupCommand(walferryFetch),
        primaryConninfo: null,
        keepArchiving: false,
        keepSettings: false,
      },
      downloadConcurrency: 4,
      onProgress() {},
    }
    await restoreFiles(archive, plan, job, { signal })
    await giveDataToServer(cluster.dataFolder)
    return cluster
  }

  /** Returns where the recovery ended. */
  async #recover(copy: Cluster): Promise<string> {
    await copy.start(this.#signal)
    await copy.waitForPromotion(this.#signal)
    const history = await readFile(join(copy.dataFolder, 'pg_wal', '00000002.history'))
    const end = switchPointOf(parseHistory(2, history), 1)
    if (end === null) throw new WalferryError('CLUSTER_FAILED', 'the recovered server does not say where it began')
    return formatLsn(end)
  }

  async #rowsOf(copy: Cluster): Promise<Map<number, string>> {
    const rows = await query(copy.connection, 'SELECT id, payload FROM demo', this.#signal)
    return new Map(rows.map((row) => [Number(row['id']), String(row['payload'])]))
  }

  #step(text: string): void {
    const seconds = ((performance.now() - this.#startedMs) / 1000).toFixed(1).padStart(4)
    this.#screen.say(`${seconds} s  ${text}`)
  }

  #tell(verdict: Verdict, shipped: string, recoveredTo: string): void {
    this.#step('done')
    const lines = [
      '',
      `  commits acknowledged  ${verdict.acknowledged}`,
      `  commits back          ${verdict.back}, every row compared`,
      `  commits lost          ${verdict.lost}, ${verdict.lostSeconds.toFixed(2)} s of writing`,
      `  shipped up to         ${shipped}`,
      `  recovered up to       ${recoveredTo}`,
      '',
    ]
    for (const line of lines) this.#screen.say(line)
    if (verdict.wrong.length > 0) {
      throw new WalferryError('ARCHIVE_DAMAGED', `the recovered rows are wrong: ${verdict.wrong.join('; ')}`, {
        hint: 'This must never happen. Please report it.',
      })
    }
  }
}

function figuresOf(daemon: ReceiveDaemon, writer: DemoWriter): Figure[] {
  const { positions } = daemon
  const lag = positions.lag('ship')
  return [
    { name: 'commits', value: String(writer.acknowledged.length) },
    { name: 'server', value: formatLsn(positions.server) },
    { name: 'received', value: formatLsn(positions.received) },
    { name: 'synced', value: formatLsn(positions.synced) },
    {
      name: 'shipped',
      value: `${formatLsn(positions.shipped)} (${(lag.bytes / 1024).toFixed(0)} kB, ${lag.seconds.toFixed(1)} s behind)`,
    },
  ]
}
