/**
 * A command in our own process: what the scripts of bin/ run, without the start of a process, which costs more than most
 * commands. For tables of inputs; what signals, exits and the scripts do takes `runProgram`.
 */
import { runCommand } from '../../src/cli/commands.ts'
import { storedCode } from '../../src/cli/push.ts'
import { report } from '../../src/cli/report.ts'
import { absentCode } from '../../src/restore/exit-codes.ts'
import { childEnvironment, type Finished, type StartOptions } from './walferry.ts'

let before: Promise<unknown> = Promise.resolve()

/** As `runProgram(program('walferry'), args)`. One at a time: variables, folder and standard output are the process's. */
export async function runHere(args: readonly string[], options: StartOptions = {}): Promise<Finished> {
  const run = before.then(() => runAlone(args, options))
  before = run.catch(() => undefined)
  return await run
}

async function runAlone(args: readonly string[], { env, cwd = '.' }: StartOptions): Promise<Finished> {
  const ours = { ...process.env }
  const folder = process.cwd()
  setAll(childEnvironment(env))
  process.chdir(cwd)
  const [stdout, stderr] = [new Captured(process.stdout), new Captured(process.stderr)]
  let code: number
  try {
    code = await runCommand(args)
  } catch (error) {
    report(error, false)
    code = 1
  } finally {
    stdout.end()
    stderr.end()
    process.chdir(folder)
    setAll(ours)
  }
  return { code: answered(args, code), signal: null, stdout: stdout.text, stderr: stderr.text }
}

/** What the script makes of the codes of `fetch` and `push`. */
function answered([command]: readonly string[], code: number): number {
  if (command === 'push') return code === storedCode ? 0 : 1
  return command === 'fetch' && code === absentCode ? 1 : code
}

function setAll(values: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) if (!(name in values)) delete process.env[name]
  Object.assign(process.env, values)
}

/** The text that is written to a stream. The test runner's own messages are bytes, and pass. */
class Captured {
  text = ''
  readonly end: () => void

  constructor(stream: NodeJS.WriteStream) {
    const write = stream.write.bind(stream)
    const capture = (chunk: string | Uint8Array): boolean => {
      if (typeof chunk !== 'string') return write(chunk)
      this.text += chunk
      return true
    }
    stream.write = capture
    this.end = () => {
      stream.write = write
    }
  }
}
