/** Runs a program and measures it from outside: seconds, CPU seconds, peak memory (from /proc, so on Linux only). */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface Measured {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakMegabytes: number
  readonly machine: MachineTime
}

/** What the cores of the machine did meanwhile, in seconds of one core. */
export interface MachineTime {
  /** For whatever process: the program, the server, the store, the kernel's own. */
  readonly busySeconds: number
  /** With nothing to do, or for a disk to answer. */
  readonly idleSeconds: number
}

export interface Program {
  readonly file: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

const sampleMs = 20
const clockTicksPerSecond = 100 // USER_HZ, the same on every Linux that Node.js runs on

/** What runs goes with us, however we end. */
const live = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of live) child.kill()
})

/** A program under measurement. `ended` rejects, with what it said, if it ends with another code than 0. */
export class Running {
  readonly ended: Promise<Measured>
  readonly #child: ChildProcess
  #peakMegabytes = 0

  constructor(program: Program) {
    const startedMs = performance.now()
    const cpuBefore = cpuSecondsOfEndedChildren()
    const machineBefore = machineTime()
    this.#child = spawn(program.file, program.args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...withoutOurs(process.env), ...program.env },
      cwd: program.cwd,
    })
    live.add(this.#child)
    let said = ''
    this.#child.stdout?.on('data', (text: Buffer) => {
      said += text.toString()
    })
    this.#child.stderr?.on('data', (text: Buffer) => {
      said += text.toString()
    })
    const timer = setInterval(() => this.#sample(), sampleMs)
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject)
      this.#child.once('exit', (code) => {
        clearInterval(timer)
        live.delete(this.#child)
        const seconds = (performance.now() - startedMs) / 1000
        const cpuSeconds = cpuSecondsOfEndedChildren() - cpuBefore
        const machine = timeSince(machineBefore)
        if (code === 0) resolve({ seconds, cpuSeconds, peakMegabytes: this.#peakMegabytes, machine })
        else reject(new Error(`${program.file} ended with ${code}: ${said.slice(-2000)}`))
      })
    })
    // Whoever stops it awaits it; until then its failure is seen by what waits for its effects.
    this.ended.catch(() => undefined)
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the program could not be started')
    return this.#child.pid
  }

  stop(): void {
    this.#child.kill('SIGTERM')
  }

  #sample(): void {
    const peak = treeOf(this.pid).reduce((sum, pid) => sum + (megabytesOf(pid, 'status', 'VmHWM') ?? 0), 0)
    this.#peakMegabytes = Math.max(this.#peakMegabytes, peak)
  }
}

/** Runs a program to its end. */
export async function run(program: Program): Promise<Measured> {
  return await new Running(program).ended
}

/**
 * Watches the programs that work in `folder` but are not called `server`: what a server runs is nobody's child. What it gives
 * ends that, and tells what they had in memory together, in MB at most; null if none was seen. It looks at every process
 * that there is, 50 times a second, so what is watched takes longer than it would.
 */
export function watchMemory(folder: string, server: string): () => number | null {
  let peak: number | null = null
  const timer = setInterval(() => {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && folderOf(name) === folder)
    const seen = pids.filter((pid) => readOrNull(`/proc/${pid}/comm`)?.trim() !== server)
    const sum = seen.reduce((megabytes, pid) => megabytes + (megabytesOf(Number(pid), 'status', 'VmHWM') ?? 0), 0)
    if (sum > 0) peak = Math.max(peak ?? 0, sum)
  }, sampleMs)
  return () => {
    clearInterval(timer)
    return peak
  }
}

/** What a program that runs has used so far. Throws if it has ended. */
export function usageOf(pid: number): { cpuSeconds: number; peakMegabytes: number; ownMegabytes: number } {
  const fields = statOf(String(pid))
  if (fields === null) throw new Error(`process ${pid} has ended`)
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond,
    peakMegabytes: megabytesOf(pid, 'status', 'VmHWM') ?? 0,
    // Its pages, of those that it shares with others a part: of ten programs, the sum is what they take together.
    ownMegabytes: megabytesOf(pid, 'smaps_rollup', 'Pss') ?? 0,
  }
}

/**
 * To the tick, and with whatever they have waited for; a program that lives for a moment is seen whole. Of programs that
 * end at once it cannot tell whose it was: what is measured runs alone.
 */
function cpuSecondsOfEndedChildren(): number {
  const fields = statOf('self')
  return fields === null ? 0 : (Number(fields[13]) + Number(fields[14])) / clockTicksPerSecond
}

/** Since it started, but for what its host took away from it (man 5 proc_stat). */
export function machineTime(): MachineTime {
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softIrq = 0] = (readOrNull('/proc/stat') ?? '')
    .split('\n', 1)
    .flatMap((line) => line.split(/\s+/).slice(1))
    .map((ticks) => Number(ticks) / clockTicksPerSecond)
  return { busySeconds: user + nice + system + irq + softIrq, idleSeconds: idle + wait }
}

export function timeSince(before: MachineTime): MachineTime {
  const now = machineTime()
  return {
    busySeconds: now.busySeconds - before.busySeconds,
    idleSeconds: now.idleSeconds - before.idleSeconds,
  }
}

/** The fields of /proc/PID/stat behind the name, from the state on; null where the process is gone. */
function statOf(pid: string): string[] | null {
  const stat = readOrNull(`/proc/${pid}/stat`)
  return stat === null ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** Where a program works; null where it has ended, or is none of ours. */
function folderOf(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return null
  }
}

function treeOf(pid: number): number[] {
  const children = readOrNull(`/proc/${pid}/task/${pid}/children`)?.trim() ?? ''
  return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => treeOf(Number(child))))]
}

function megabytesOf(pid: number, file: string, name: string): number | null {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readOrNull(`/proc/${pid}/${file}`) ?? '')
  return found === null ? null : Number(found[1]) / 1024
}

/** Null where it has ended between two looks. */
function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/** Without what would configure the programs in ways that the figures do not tell. */
function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    // With NODE_EXTRA_CA_CERTS, each Node.js reads all those certificates before anything else: 0.1 s with Debian's.
    Object.entries(env).filter(([name]) => !/^(PG|AWS_|WALFERRY_|WALG_|NODE_OPTIONS$|NODE_EXTRA_CA_CERTS$)/.test(name)),
  )
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const median = ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2
  return { median, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0 }
}

/** The value that a part of the others, such as 0.99, does not exceed. */
export function quantileOf(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? 0
}
