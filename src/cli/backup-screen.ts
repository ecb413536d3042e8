/** Shows how far a base backup has come: a line that changes, on a terminal; elsewhere one in the log each 30 s. */
import { humanBytes } from '../audit/tell-listing.ts'
import type { Progress } from '../backup/progress.ts'
import type { Log } from '../kit/log.ts'
import { progressText } from './progress-text.ts'

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

export function describeProgress({ phase, bytes, totalBytes }: Progress, elapsedMs: number): string {
  if (phase === 'checkpoint') return 'waiting for the checkpoint of the server'
  if (phase === 'wal') return `${humanBytes(bytes)} are stored; waiting for their WAL`
  return progressText(bytes, totalBytes, elapsedMs / 1000)
}
