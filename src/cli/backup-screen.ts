/** Shows how far a base backup has come: a line that changes, on a terminal; elsewhere one in the log each 30 s. */
import type { Progress } from '../backup/progress.ts'
import type { Log } from '../kit/log.ts'

const screenMs = 500
const logMs = 30_000

export class BackupScreen {
  readonly #terminal: NodeJS.WriteStream | null
  readonly #log: Log
  readonly #timer: NodeJS.Timeout
  #progress: Progress = { phase: 'checkpoint', bytes: 0, totalBytes: 0 }
  #copyingSinceMs: number | null = null
  #isShown = false

  /** @param terminal null where there is none. `close` has to be called. */
  constructor(terminal: NodeJS.WriteStream | null, log: Log) {
    this.#terminal = terminal
    this.#log = log
    this.#timer = setInterval(() => this.#show(), terminal === null ? logMs : screenMs)
  }

  note(progress: Progress): void {
    if (progress.phase === 'copying') this.#copyingSinceMs ??= performance.now()
    this.#progress = progress
  }

  /** Frees the line for other output. */
  close(): void {
    clearInterval(this.#timer)
    if (this.#isShown) this.#terminal?.write('\r\u001B[K')
  }

  #show(): void {
    const elapsedMs = this.#copyingSinceMs === null ? 0 : performance.now() - this.#copyingSinceMs
    const line = describeProgress(this.#progress, elapsedMs)
    if (this.#terminal === null) {
      this.#log.info(line)
      return
    }
    this.#isShown = true
    this.#terminal.write(`\r\u001B[K${line.slice(0, (this.#terminal.columns ?? 80) - 1)}`)
  }
}

/** `1.5 GiB of 4.0 GiB (37 %), 120.0 MiB/s, 22 s left` */
export function describeProgress({ phase, bytes, totalBytes }: Progress, elapsedMs: number): string {
  if (phase === 'checkpoint') return 'waiting for the checkpoint of the server'
  if (phase === 'wal') return `${formatBytes(bytes)} are stored; waiting for their WAL`
  const percent = totalBytes === 0 ? 0 : Math.floor((bytes / totalBytes) * 100)
  const rate = elapsedMs === 0 ? 0 : (bytes / elapsedMs) * 1000
  const left = rate === 0 ? '' : `, ${formatSeconds((totalBytes - bytes) / rate)} left`
  return `${formatBytes(bytes)} of ${formatBytes(totalBytes)} (${percent} %), ${formatBytes(rate)}/s${left}`
}

const units = ['KiB', 'MiB', 'GiB', 'TiB']

export function formatBytes(bytes: number): string {
  let value = bytes / 1024
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(1)} ${units[unit]}`
}

export function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}
