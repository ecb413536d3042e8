/** Runs a program and measures it from outside: seconds, CPU seconds, peak memory (from /proc, so on Linux only). */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

export interface Measured {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakMegabytes: number
}

export interface Program {
  readonly file: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

const sampleMs = 20
const clockTicksPerSecond = 100 // USER_HZ, the same on every Linux that Node.js runs on

/** A program under measurement. `ended` rejects, with what it said, if it ends with another code than 0. */
export class Running {
  readonly ended: Promise<Measured>
  readonly #child: ChildProcess
  #cpuSeconds = 0
  #peakMegabytes = 0

  constructor(program: Program) {
    const startedMs = performance.now()
    this.#child = spawn(program.file, program.args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...program.env },
    })
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
        const seconds = (performance.now() - startedMs) / 1000
        if (code === 0) resolve({ seconds, cpuSeconds: this.#cpuSeconds, peakMegabytes: this.#peakMegabytes })
        else reject(new Error(`${program.file} ended with ${code}: ${said.slice(-2000)}`))
      })
    })
    // Whoever stops it awaits it; until then its failure is seen by what waits for its effects.
    this.ended.catch(() => undefined)
  }

  stop(): void {
    this.#child.kill('SIGTERM')
  }

  #sample(): void {
    try {
      const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8')
      const peak = /VmHWM:\s+(\d+) kB/.exec(status)
      if (peak !== null) this.#peakMegabytes = Number(peak[1]) / 1024
      const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      this.#cpuSeconds = (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond
    } catch {
      // It has ended between two looks.
    }
  }
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
