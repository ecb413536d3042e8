/** How far a restore is, as one line on a terminal that is drawn anew; nothing elsewhere. */
import { formatBytes, formatSeconds } from './backup-screen.ts'

const frameMs = 200

export class RestoreProgress {
  readonly #out: NodeJS.WriteStream
  readonly #live: boolean
  readonly #startedMs = performance.now()
  #drawnMs = Number.NEGATIVE_INFINITY

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    this.#live = out.isTTY && process.env['TERM'] !== 'dumb'
  }

  show(bytes: number, total: number): void {
    const now = performance.now()
    if (!this.#live || now - this.#drawnMs < frameMs) return
    this.#drawnMs = now
    this.#out.write(`\r\x1b[2K${progressText(bytes, total, (now - this.#startedMs) / 1000)}`)
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#live && this.#drawnMs > 0) this.#out.write('\r\x1b[2K')
  }
}

/** `1.2 GiB of 10.0 GiB (12 %), 210.0 MiB/s, 43 s left`. `total` is what the backup says of itself, 0 if it does not. */
export function progressText(bytes: number, total: number, seconds: number): string {
  const rate = seconds > 0 ? bytes / seconds : 0
  const speed = `${formatBytes(rate)}/s`
  if (bytes > total) return `${formatBytes(bytes)}, ${speed}`
  const left = rate > 0 ? `, ${formatSeconds((total - bytes) / rate)} left` : ''
  return `${formatBytes(bytes)} of ${formatBytes(total)} (${Math.floor((bytes / total) * 100)} %), ${speed}${left}`
}
