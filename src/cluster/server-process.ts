/**
 * A running `postgres`: the postmaster, which we have started, and the processes that it starts.
 *
 * The postmaster's end is not the end: after a kill -9 its children go on until they notice, and until then the data
 * folder is in use. All of them inherit file descriptor 3, one end of a pipe. When Node.js reports `close`, every copy
 * of it is closed: nothing of the server is left, whatever it was.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { promisify } from 'node:util'
import { orAbort } from '../kit/abort.ts'
import { WalferryError } from '../kit/errors.ts'
import type { ServerCommand } from './server-user.ts'

/** How the postmaster ended: with a code, or by a signal. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface SpawnOptions {
  /** A file descriptor. */
  readonly log: number
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
}

const immediateStopMs = 10_000 // a postmaster itself kills its children after 5 s

export class ServerProcess {
  readonly pid: number
  /** Resolves once the postmaster and all its children are gone. */
  readonly gone: Promise<Exit>
  readonly #child: ChildProcess
  #exit: Exit | null = null

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child
    this.pid = pid
    child.once('exit', (code, signal) => {
      this.#exit = { code, signal }
    })
    // Nothing is ever written to it, but a stream that nobody reads is not seen to end.
    const alive = child.stdio[3]
    if (alive instanceof Socket) alive.resume()
    this.gone = new Promise((resolve) => {
      child.once('close', (code, signal) => resolve({ code, signal }))
    })
  }

  /**
   * Starts it; it is not ready yet. Standard output and errors go to the open log file. Not async, so that there is no
   * moment in which the process runs and its owner does not know it.
   */
  static spawn(command: ServerCommand, options: SpawnOptions): ServerProcess {
    const child = spawn(command.file, command.args, {
      cwd: options.cwd,
      env: options.env,
      stdio: ['ignore', options.log, options.log, 'pipe'],
      // A session of its own: Ctrl-C at our terminal is ours to act on, and must not reach the server directly.
      detached: true,
      ...command.identity,
    })
    // Without a process id it could not be run at all; the event that says why comes too late to be of use.
    child.once('error', () => undefined)
    if (child.pid === undefined) throw new WalferryError('CLUSTER_FAILED', `${command.file} could not be run`)
    return new ServerProcess(child, child.pid)
  }

  /** How the postmaster ended; null while it runs. */
  get exit(): Exit | null {
    return this.#exit
  }

  /** Sends the postmaster a signal: SIGTERM, SIGINT and SIGQUIT ask for a smart, fast and immediate shutdown. */
  send(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Kills the postmaster and, at once, all that it has started, as a crash of the machine would; waits for their end. */
  async kill(signal: AbortSignal): Promise<Exit> {
    if (this.#exit === null) this.#killAll(await descendantsOf(this.pid))
    return await orAbort(this.gone, signal)
  }

  /**
   * Ends all of it in one way or the other: by an immediate shutdown, in which the server returns its shared memory to
   * the system, or where that takes too long by SIGKILL. Waits for their end.
   */
  async end(signal: AbortSignal): Promise<Exit> {
    const below = await descendantsOf(this.pid)
    this.send('SIGQUIT')
    await orAbort(this.gone, AbortSignal.timeout(immediateStopMs)).catch(() => this.#killAll(below))
    return await orAbort(this.gone, signal)
  }

  #killAll(below: readonly number[]): void {
    this.send('SIGKILL')
    for (const pid of below) killIfThere(pid)
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended since it was listed.
  }
}

/** Without `ps` there is nobody to kill; the children then end by themselves, once they see that their parent has. */
async function descendantsOf(pid: number): Promise<number[]> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid='])
    return parseDescendants(stdout, pid)
  } catch {
    return []
  }
}

/** Reads lines of `<pid> <parent's pid>`. */
export function parseDescendants(table: string, root: number): number[] {
  const pairs = table.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
  const found: number[] = []
  let parents = new Set([root])
  while (parents.size > 0) {
    const children = pairs.filter(([, parent]) => parent !== undefined && parents.has(parent)).map(([pid]) => pid ?? 0)
    found.push(...children)
    parents = new Set(children)
  }
  return found
}
