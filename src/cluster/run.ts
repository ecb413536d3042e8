/** Runs a program to its end, without a shell, and returns what it printed. */
import { spawn } from 'node:child_process'
import { WalferryError } from '../kit/errors.ts'
import { type ServerCommand, serverCommand } from './server-user.ts'

export interface RunOptions {
  readonly signal: AbortSignal
  /** Run it as what servers run as, instead of as ourselves. */
  readonly asServer: boolean
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
}

/** Resolves with standard output. Throws CLUSTER_FAILED with what was printed if the exit code is not 0. */
export async function run(file: string, args: readonly string[], options: RunOptions): Promise<string> {
  options.signal.throwIfAborted()
  const ours: ServerCommand = { file, args, identity: {} }
  const command = options.asServer ? await serverCommand(file, args) : ours
  const child = spawn(command.file, command.args, {
    cwd: options.cwd,
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: options.signal,
    killSignal: 'SIGKILL',
    ...command.identity,
  })
  let output = ''
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    printed += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed += text
  })
  const outcome = await new Promise<string>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve(code === null ? `killed by ${signal}` : `exit code ${code}`))
  }).catch((cause: unknown) => {
    options.signal.throwIfAborted()
    throw new WalferryError('CLUSTER_FAILED', `${file} could not be run`, { cause })
  })
  if (outcome === 'exit code 0') return output
  throw new WalferryError('CLUSTER_FAILED', `${file} failed, ${outcome}: ${printed.trim()}`)
}

/**
 * The environment of a server and of what it runs: ours, without the variables that libpq and PostgreSQL read, with
 * messages in English (they are matched in places), and with a home that the server's user may enter.
 */
export function serverEnvironment(home: string, extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name))
  return { ...Object.fromEntries(kept), LC_ALL: 'C', HOME: home, ...extra }
}
