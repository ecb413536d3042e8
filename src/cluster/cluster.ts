/**
 * A PostgreSQL server of our own, for the demo, drills and tests. Everything lies in one folder:
 *
 *     data/           the data folder, unless the caller names another one
 *     server.log      what the server says, across its starts
 *     pg_hba.conf     who may connect: everybody who gets this far
 *     .s.PGSQL.5432   the Unix socket
 *
 * The folder can be entered by the server's user only (and root), so the socket needs no password. With `tcp` the
 * server also listens on a port of 127.0.0.1, where **every user of the machine** may connect: for tests.
 *
 * fsync and all else that makes WAL durable stay on. What must not come from a data folder that was restored from
 * elsewhere (port, sockets, pg_hba.conf, logging) is given on the command line, where it wins over every file.
 *
 * Nothing here ends a server by itself: `dispose`, or `RunningClusters` for a whole process, does.
 */
import { access, chmod, mkdir, open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { orAbort, sleep } from '../kit/abort.ts'
import { isError, WalferryError } from '../kit/errors.ts'
import type { Binaries } from './binaries.ts'
import { freePort } from './free-port.ts'
import { type Connection, query } from './query.ts'
import { run, serverEnvironment } from './run.ts'
import { ServerLog } from './server-log.ts'
import { type Exit, ServerProcess } from './server-process.ts'
import { giveDataToServer, giveToServer, serverCommand, serverUser } from './server-user.ts'
import { settingArguments, type Settings, writeSettings } from './settings.ts'

export interface ClusterOptions {
  readonly binaries: Binaries
  /** Made if it is not there. As root, all folders above it must be open to other users. */
  readonly folder: string
  /** Default: `data` in the folder. */
  readonly dataFolder?: string | undefined
  /** Listen on 127.0.0.1, too, and let `connection` lead there. */
  readonly tcp?: boolean | undefined
  /** Settings that win over every file of the data folder. They are not seen by a copy or a backup of it. */
  readonly overrides?: Settings | undefined
  /** Variables for the server, and so for what it runs (restore_command). Ours are there already, except PG*. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

export interface CreateOptions extends ClusterOptions {
  /** wal_segment_size. Default: 16 MB. */
  readonly segmentBytes?: number | undefined
  readonly settings?: Settings | undefined
  readonly signal: AbortSignal
}

export interface CopyOptions extends Omit<ClusterOptions, 'binaries'> {
  readonly signal: AbortSignal
}

export type StopMode = 'smart' | 'fast' | 'immediate'

const superuser = 'postgres'
const socketPort = 5432
const pollMs = 10
const disposeTimeoutMs = 30_000 // a killed process that is still there after this hangs in the kernel
const signalOfMode = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const
const hbaLines = ['local all,replication all trust', 'host all,replication all 127.0.0.1/32 trust', '']

export class Cluster {
  readonly binaries: Binaries
  readonly folder: string
  readonly dataFolder: string
  readonly log: ServerLog
  readonly connection: Connection
  readonly #tcp: boolean
  readonly #overrides: Settings
  readonly #env: Readonly<Record<string, string>>
  #process: ServerProcess | null = null
  #logFrom = 0

  private constructor(options: ClusterOptions, port: number) {
    this.binaries = options.binaries
    this.folder = options.folder
    this.dataFolder = options.dataFolder ?? join(options.folder, 'data')
    this.log = new ServerLog(join(options.folder, 'server.log'))
    this.#tcp = options.tcp ?? false
    this.#overrides = options.overrides ?? {}
    this.#env = options.env ?? {}
    const host = this.#tcp ? '127.0.0.1' : options.folder
    this.connection = { host, port, user: superuser, database: 'postgres' }
  }

  /** Takes a data folder that is there already: a restored one, or one of an earlier run. */
  static async open(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(options, options.tcp === true ? await freePort() : socketPort)
    await cluster.#prepareFolder()
    return cluster
  }

  /**
   * Makes a new data folder with initdb: superuser `postgres`, UTF8, locale C, with checksums. Not started yet. An
   * abort leaves the folder behind, to be deleted by the caller.
   */
  static async create(options: CreateOptions): Promise<Cluster> {
    const cluster = await Cluster.open(options)
    const megabytes = (options.segmentBytes ?? 16 * 1024 * 1024) / (1024 * 1024)
    const fixed = ['--username', superuser, '--encoding=UTF8', '--locale=C', '--data-checksums', '--auth=trust']
    // Not synced: what initdb writes is worth nothing after a power cut. What the server writes later is synced.
    const args = ['--pgdata', cluster.dataFolder, ...fixed, `--wal-segsize=${megabytes}`, '--no-sync']
    const user = await serverUser()
    await run(join(options.binaries.binDir, 'initdb'), args, {
      signal: options.signal,
      asServer: true,
      cwd: cluster.folder,
      env: cluster.#environment(),
    }).catch((cause: unknown) => {
      if (user === null || !isError(cause)) throw cause
      const hint = `Below root it runs as ${user.name}, who must be able to reach ${options.folder}.`
      throw new WalferryError('CLUSTER_FAILED', 'initdb could not make a data folder', { cause, hint })
    })
    await cluster.configure(options.settings ?? {})
    return cluster
  }

  /**
   * Copies the data folder of a stopped (or killed) cluster: the same system identifier, other port and socket. Links
   * to tablespaces are copied as links.
   */
  static async copyOf(source: Cluster, options: CopyOptions): Promise<Cluster> {
    if (source.isRunning) throw new WalferryError('CLUSTER_FAILED', `${source.dataFolder} is in use: stop it first`)
    const cluster = await Cluster.open({ ...options, binaries: source.binaries })
    // By `cp`, because Node.js takes ten times as long for the thousand files.
    await run('cp', ['-a', source.dataFolder, cluster.dataFolder], {
      signal: options.signal,
      asServer: false,
      cwd: cluster.folder,
      env: process.env,
    })
    for (const name of ['postmaster.pid', 'postmaster.opts']) await rm(join(cluster.dataFolder, name), { force: true })
    return cluster
  }

  get isRunning(): boolean {
    return this.#process !== null && this.#process.exit === null
  }

  /** The postmaster's process id; null unless it runs. */
  get pid(): number | null {
    return this.isRunning ? (this.#process?.pid ?? null) : null
  }

  /** The connection as a libpq string, for primary_conninfo and the like. */
  get conninfo(): string {
    const { host, port, user } = this.connection
    return `host='${host}' port=${port} user=${user}`
  }

  /** Writes settings into postgresql.auto.conf. A running server reads them at its next start, or at a reload. */
  async configure(settings: Settings): Promise<void> {
    await writeSettings(this.dataFolder, settings)
  }

  /** Makes the next start an archive recovery, or that of a standby, with these settings (restore_command, ...). */
  async setRecovery(mode: 'recovery' | 'standby', settings: Settings): Promise<void> {
    await this.configure(settings)
    const other = mode === 'recovery' ? 'standby' : 'recovery'
    await rm(join(this.dataFolder, `${other}.signal`), { force: true })
    const file = join(this.dataFolder, `${mode}.signal`)
    await writeFile(file, '')
    await giveToServer(file)
  }

  /**
   * Starts the server and resolves once it lets clients in: in a recovery as soon as it is consistent. Throws
   * CLUSTER_FAILED with the end of its log if it ends before. An abort leaves it running: `kill` or `dispose` it.
   */
  async start(signal: AbortSignal): Promise<void> {
    await this.launch(signal)
    await this.#until(async () => {
      const status = await this.#status()
      return status === 'ready' || status === 'standby'
    }, signal)
  }

  /** Starts the server and does not wait. To be followed by `waitForExit`, for a server that is expected to fail. */
  async launch(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.isRunning) throw new WalferryError('CLUSTER_FAILED', `${this.dataFolder}: the server runs already`)
    if (this.#process !== null) await orAbort(this.#process.gone, signal)
    await chmod(this.dataFolder, 0o700)
    await giveDataToServer(this.dataFolder)
    this.#logFrom = await this.log.size()
    const args = ['-D', this.dataFolder, ...settingArguments(await this.#commandLine())]
    const command = await serverCommand(join(this.binaries.binDir, 'postgres'), args)
    const log = await open(this.log.path, 'a', 0o644)
    try {
      signal.throwIfAborted()
      this.#process = ServerProcess.spawn(command, { log: log.fd, cwd: this.folder, env: this.#environment() })
    } finally {
      await log.close()
    }
  }

  /** Stops it as pg_ctl does, and resolves once all its processes are gone. An abort leaves it stopping. */
  async stop(mode: StopMode, signal: AbortSignal): Promise<void> {
    if (this.#process === null) return
    const wasRunning = this.isRunning
    if (wasRunning) this.#process.send(signalOfMode[mode])
    const exit = await orAbort(this.#process.gone, signal)
    if (wasRunning && exit.code !== 0) throw await this.#failure(`did not stop as asked (${textOf(exit)})`)
  }

  /** kill -9 of all its processes; resolves once they are gone. The data folder can be started again. */
  async kill(signal: AbortSignal): Promise<void> {
    await this.#process?.kill(signal)
  }

  /** Orders an immediate shutdown and waits for nothing: what can still be done when our own process ends. */
  killNow(): void {
    if (this.isRunning) this.#process?.send('SIGQUIT')
  }

  /** Ends it if it runs, and deletes its folder; a data folder elsewhere stays. */
  async dispose(): Promise<void> {
    if (this.isRunning) await this.#process?.end(AbortSignal.timeout(disposeTimeoutMs))
    await this.#freeSharedMemory()
    // Tried again while a process that it ran, such as a restore_command's, is still ending there.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10 })
  }

  /** Resolves with how the postmaster ended, once all its processes are gone. */
  async waitForExit(signal: AbortSignal): Promise<Exit> {
    if (this.#process === null) throw new WalferryError('CLUSTER_FAILED', `${this.dataFolder} was not started`)
    return await orAbort(this.#process.gone, signal)
  }

  /** Resolves once recovery has ended and the server takes writes. Throws CLUSTER_FAILED if the server ends first. */
  async waitForPromotion(signal: AbortSignal): Promise<void> {
    await this.#until(async () => {
      const [row] = await query(this.connection, 'SELECT pg_is_in_recovery() AS recovering', signal).catch(() => [])
      return row?.['recovering'] === false
    }, signal)
  }

  /** Ends a standby's recovery, and waits until it takes writes. */
  async promote(signal: AbortSignal): Promise<void> {
    await query(this.connection, 'SELECT pg_promote(false)', signal)
    await this.waitForPromotion(signal)
  }

  /**
   * Resolves with the match once the log holds one, from byte `from` on (`log.size()`; default: since the last start).
   * Throws CLUSTER_FAILED if the server ends without it.
   */
  async waitForLog(pattern: RegExp, signal: AbortSignal, from = this.#logFrom): Promise<RegExpExecArray> {
    let match: RegExpExecArray | null = null
    const look = async (): Promise<boolean> => {
      match = pattern.exec(await this.log.read(from))
      return match !== null
    }
    await this.#until(look, signal)
    if (match === null) throw new Error('a wait has ended without what it was for')
    return match
  }

  /** Waits for a condition; a server that has ended gets one last look. */
  async #until(isReached: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    for (;;) {
      const exit = this.#process?.exit
      if (await isReached()) return
      signal.throwIfAborted()
      if (exit !== null) {
        throw await this.#failure(exit === undefined ? 'was not started' : `ended (${textOf(exit)})`)
      }
      await sleep(pollMs, signal)
    }
  }

  async #failure(what: string): Promise<WalferryError> {
    const tail = await this.log.tail(this.#logFrom)
    return new WalferryError('CLUSTER_FAILED', `the server in ${this.dataFolder} ${what}:\n${tail}`)
  }

  /** The status in postmaster.pid's line 8: starting, ready, standby (no clients allowed), stopping. */
  async #status(): Promise<string | null> {
    const text = await readFile(join(this.dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')
    const lines = text.split('\n')
    // A killed server leaves its file behind.
    return lines[0] === String(this.#process?.pid) ? (lines[7]?.trim() ?? null) : null
  }

  /**
   * Of a server that was killed, a segment of System V shared memory stays, by which the next start would see that the
   * data folder is in use. There is no next start, and the system has room for some thousands of them only.
   */
  async #freeSharedMemory(): Promise<void> {
    const pidFile = await readFile(join(this.dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')
    const id = /^\s*\d+\s+(\d+)\s*$/.exec(pidFile.split('\n')[6] ?? '')?.[1]
    if (id === undefined) return
    const options = { signal: AbortSignal.timeout(disposeTimeoutMs), asServer: false, cwd: '/', env: process.env }
    // Without the program, or where it is gone already, there is nothing to be done.
    await run('ipcrm', ['-m', id], options).catch(() => undefined)
  }

  async #prepareFolder(): Promise<void> {
    await mkdir(this.folder, { recursive: true })
    await chmod(this.folder, 0o700)
    await giveToServer(this.folder)
    for (const [name, text] of [
      ['pg_hba.conf', hbaLines.join('\n')],
      ['empty.conf', ''],
    ] as const) {
      await writeFile(join(this.folder, name), text)
      await giveToServer(join(this.folder, name))
    }
  }

  async #commandLine(): Promise<Settings> {
    const hasConfig = await access(join(this.dataFolder, 'postgresql.conf')).then(
      () => true,
      () => false,
    )
    return {
      ...this.#overrides,
      // Debian keeps it in /etc, so that a restored data folder has none; the server insists on one.
      ...(hasConfig ? {} : { config_file: join(this.folder, 'empty.conf') }),
      data_directory: this.dataFolder,
      external_pid_file: '',
      hba_file: join(this.folder, 'pg_hba.conf'),
      unix_socket_directories: this.folder,
      listen_addresses: this.#tcp ? '127.0.0.1' : '',
      port: this.connection.port,
      logging_collector: false,
      log_destination: 'stderr',
      // In files below the data folder, which go with it: a killed server would leave them in /dev/shm.
      dynamic_shared_memory_type: 'mmap',
    }
  }

  #environment(): NodeJS.ProcessEnv {
    return serverEnvironment(this.folder, this.#env)
  }
}

function textOf(exit: Exit): string {
  return exit.code === null ? `killed by ${exit.signal}` : `exit code ${exit.code}`
}
