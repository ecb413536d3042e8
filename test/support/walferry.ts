/**
 * walferry as its users run it: the scripts of bin/ as child processes, over the build that is under test.
 *
 *     const receive = startReceive(t, { server: cluster.connection, store, spool, args: ['--ship-interval', '0'] })
 *     ...
 *     await receive.waitForShipped(lsn, deadline())
 *     await receive.terminate(deadline())
 *
 *     const { code, stderr } = await runFetch(['00000002.history', dest, '--store', store], { signal: deadline() })
 *
 * The environment of a child is ours without what would configure it (PG*, AWS_*, WALFERRY_*, WALG_*, NODE_OPTIONS). What is
 * still running when its test, or our process, ends is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { TestContext } from 'node:test'
import type { Connection } from '../../src/cluster/query.ts'
import { orAbort, sleep } from '../../src/kit/abort.ts'
import { asLsn, type Lsn } from '../../src/wal/lsn.ts'

/** How a child process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Finished extends Exit {
  readonly stdout: string
  readonly stderr: string
}

export interface ReceiveOptions {
  /** A server of `makeCluster`, or a URL. */
  readonly server: Connection | string
  /** A folder, or `s3://bucket/prefix` with the endpoint among `args`. */
  readonly store: string
  readonly spool: string
  /** Default: `walferry`. */
  readonly slot?: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export interface StartOptions {
  /** Variables that are set besides. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface RunOptions extends StartOptions {
  readonly signal: AbortSignal
}

const pollMs = 20
const children = new Set<Program>()
let installed: string | null = null

/** The absolute path of a script of bin/, in a tree where it finds the build that this file belongs to. */
export function program(name: 'walferry' | 'walferry-fetch'): string {
  installed ??= install()
  return join(installed, 'bin', name)
}

/** Where npm test builds, that tree is the checkout itself; another folder of `tsc --outDir` needs one of its own. */
function install(): string {
  const build = resolve(import.meta.dirname, '../..')
  const root = mkdtempSync(join(tmpdir(), 'walferry-install-'))
  guardExit()
  // A server that runs it may be another user.
  chmodSync(root, 0o755)
  cpSync(join(dirname(build), 'bin'), join(root, 'bin'), { recursive: true })
  symlinkSync(build, join(root, 'dist'))
  return root
}

/** Starts a program. To be ended, or waited for, by the caller. */
export function startProgram(file: string, args: readonly string[], options: StartOptions = {}): Program {
  return new Program(file, args, { cwd: options.cwd, env: childEnvironment(options.env) })
}

/** Runs a program to its end. An abort kills it, and rejects. */
export async function runProgram(file: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  const running = startProgram(file, args, options)
  try {
    return { ...(await orAbort(running.exit, options.signal)), stdout: running.stdout, stderr: running.stderr }
  } finally {
    running.kill()
  }
}

/** `walferry-fetch NAME DEST ...`, with the exit code that PostgreSQL would see. */
export async function runFetch(args: readonly string[], options: RunOptions): Promise<Finished> {
  return await runProgram(program('walferry-fetch'), args, options)
}

/** A restore_command: `walferry-fetch %f %p` with these options and variables, quoted for the shell and PostgreSQL. */
export function restoreCommand(args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  return [...assignments(env), quoted(program('walferry-fetch')), '%f', '%p', ...args.map(quoted)].join(' ')
}

/** A recovery_end_command that ends what restore_command has left running. */
export function cleanupCommand(): string {
  return `${quoted(program('walferry-fetch'))} --cleanup`
}

/** An archive_command: `walferry push %p` in the same way. */
export function archiveCommand(args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  return [...assignments(env), quoted(program('walferry')), 'push', '%p', ...args.map(quoted)].join(' ')
}

function assignments(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${quoted(value)}`)
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''").replaceAll('%', '%%')}'`
}

/** Starts `walferry receive`, and does not wait for anything. It is killed at the end of the test. */
export function startReceive(t: TestContext, options: ReceiveOptions): Receive {
  const { server, store, spool, slot = 'walferry', args = [] } = options
  const url = typeof server === 'string' ? server : urlOf(server)
  const fixed = ['--url', url, '--slot', slot, '--store', store, '--spool', spool, '--listen', '127.0.0.1:0']
  const { env = {} } = options
  const receive = new Receive(startProgram(program('walferry'), ['receive', ...fixed, ...args], { env }))
  t.after(() => receive.kill9())
  return receive
}

/** The positions that /metrics shows. */
export interface ShownPositions {
  readonly server: Lsn
  readonly received: Lsn
  readonly written: Lsn
  readonly synced: Lsn
  readonly shipped: Lsn
}

export interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly { readonly code: string; readonly message: string; readonly hint?: string }[]
}

/** A running `walferry receive`. What asks it something rejects, with what it said, if it ends before. */
export class Receive {
  /** Resolves when the process has ended, however it did. */
  readonly exit: Promise<Exit>
  readonly #program: Program
  #url: string | null = null

  constructor(running: Program) {
    this.#program = running
    this.exit = running.exit
  }

  get pid(): number {
    return this.#program.pid
  }

  /** All that it has said so far. */
  get stderr(): string {
    return this.#program.stderr
  }

  /** Resolves with its address, such as `http://127.0.0.1:40001`, once it listens. */
  async url(signal: AbortSignal): Promise<string> {
    while (this.#url === null) {
      this.#url = / listening url=(\S+)\n/.exec(this.stderr)?.[1] ?? null
      if (this.#url === null) await this.#pause(signal)
    }
    return this.#url
  }

  /** Every sample of /metrics, by its name with labels: `walferry_lag_bytes{stage="ship"}`. */
  async metrics(signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const text = await this.#get('/metrics', signal)
    const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return new Map(samples.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]))
  }

  async positions(signal: AbortSignal): Promise<ShownPositions> {
    const metrics = await this.metrics(signal)
    const shown = (name: string): Lsn => asLsn(metrics.get(`walferry_position_bytes{position="${name}"}`) ?? 0)
    return {
      server: shown('server'),
      received: shown('received'),
      written: shown('written'),
      synced: shown('synced'),
      shipped: shown('shipped'),
    }
  }

  async readyz(signal: AbortSignal): Promise<Readiness> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own listener's answer
    return JSON.parse(await this.#get('/readyz', signal)) as Readiness
  }

  /** Resolves once the store has every byte before `lsn`. */
  async waitForShipped(lsn: Lsn, signal: AbortSignal): Promise<void> {
    await this.waitUntil(async () => (await this.positions(signal)).shipped >= lsn, signal)
  }

  /** Resolves once it streams, with nothing to complain about. */
  async waitForReady(signal: AbortSignal): Promise<void> {
    await this.waitUntil(async () => (await this.readyz(signal)).ready, signal)
  }

  /** Resolves with the match once standard error holds one. */
  async waitForLog(pattern: RegExp, signal: AbortSignal): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stderr)
      if (match !== null) return match
      await this.#pause(signal)
    }
  }

  /** Asks again and again. */
  async waitUntil(isReached: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    while (!(await isReached())) await this.#pause(signal)
  }

  /** Sends a signal, and waits for nothing: SIGSTOP and SIGCONT, or the second of two SIGTERM. */
  send(signal: NodeJS.Signals): void {
    this.#program.send(signal)
  }

  /** SIGTERM, upon which it drains; resolves once it has ended. */
  async terminate(signal: AbortSignal): Promise<Exit> {
    this.send('SIGTERM')
    return await orAbort(this.exit, signal)
  }

  /** SIGKILL; resolves once it is gone. */
  async kill9(): Promise<void> {
    this.#program.kill()
    await this.exit
  }

  async #get(path: string, signal: AbortSignal): Promise<string> {
    const url = await this.url(signal)
    try {
      return await (await fetch(url + path, { signal })).text()
    } catch (cause) {
      signal.throwIfAborted()
      throw new Error(`receive does not answer ${path}; it has said:\n${this.stderr}`, { cause })
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    if (this.#program.hasEnded) throw new Error(`receive has ended; it has said:\n${this.stderr}`)
    try {
      await sleep(pollMs, signal)
    } catch (cause) {
      throw new Error(`waited in vain; receive has said:\n${this.stderr}`, { cause })
    }
  }
}

/** A program that runs, and what it says. */
export class Program {
  readonly exit: Promise<Exit>
  stdout = ''
  stderr = ''
  hasEnded = false
  readonly #process: ChildProcess

  constructor(
    file: string,
    args: readonly string[],
    options: { readonly cwd?: string | undefined; readonly env: NodeJS.ProcessEnv },
  ) {
    const child = spawn(file, args, {
      ...options,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, to be killed as one: for fetch, Node.js runs below the script's shell.
      detached: true,
    })
    this.#process = child
    guardExit()
    children.add(this)
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.exit = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        this.hasEnded = true
        children.delete(this)
        resolve({ code, signal })
      })
    })
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw new Error('the process could not be started')
    return this.#process.pid
  }

  send(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Kills it and all that it has started. */
  kill(): void {
    this.sendToAll('SIGKILL')
  }

  /** As PostgreSQL does at a fast shutdown: it and all that it has started get the signal. */
  sendToAll(signal: NodeJS.Signals): void {
    if (this.hasEnded || this.#process.pid === undefined) return
    try {
      process.kill(-this.#process.pid, signal)
    } catch {
      // It has ended just now.
    }
  }
}

export function urlOf({ host, port, user, database }: Connection): string {
  return `postgres://${encodeURIComponent(user)}@${encodeURIComponent(host)}:${port}/${database}?sslmode=disable`
}

/** Of a child process; see above. */
export function childEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|AWS_|WALFERRY_|WALG_|NODE_OPTIONS$)/.test(name))
  return { ...Object.fromEntries(kept), ...extra }
}

let guarded = false

/** What is left when our process ends goes with it: after a failure, after a time-out of the runner, after Ctrl-C. */
function guardExit(): void {
  if (guarded) return
  guarded = true
  process.on('exit', () => {
    for (const child of children) child.kill()
    if (installed !== null) rmSync(installed, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))
}
