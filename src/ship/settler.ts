import type { Clock } from '../kit/clock.ts'
import type { WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import { Attempts } from './attempts.ts'
import type { Chunk } from '../archive/tail.ts'
import type { Carrier } from './carrier.ts'
import type { Whole } from './record.ts'

export interface SettlerOptions {
  readonly carrier: Carrier
  /** Rejects if the archive was not seen in its place lately. */
  readonly confirm: (signal: AbortSignal) => Promise<void>
  /** A segment may leave the spool. */
  readonly onSettled: () => void
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/**
 * Deletes the chunks of segments that are stored whole. A store may refuse just that: so it has pauses of its own, and
 * keeps nobody from uploading. A segment whose chunks cannot be deleted stays in the spool, and keeps no other there.
 */
export class Settler {
  readonly #options: SettlerOptions
  readonly #attempts: Attempts

  constructor(options: SettlerOptions) {
    this.#options = options
    this.#attempts = new Attempts({ ...options, what: 'deleting chunks' })
  }

  get problem(): WalferryError | null {
    return this.#attempts.problem
  }

  get halted(): WalferryError | null {
    return this.#attempts.halted
  }

  /** Ends a pause. */
  tryNow(): void {
    this.#attempts.tryNow()
  }

  /** How long nothing is to be tried; undefined if something may be. */
  pauseMs(nowMs: number): number | undefined {
    return this.#attempts.pauseMs(nowMs)
  }

  /**
   * Settles those that have no chunks, then the others one after the other, and tells what fails. Resolves to whether all
   * are settled.
   */
  async settle(wholes: readonly Whole[], signal: AbortSignal): Promise<boolean> {
    const chunks = await this.#list(wholes, signal)
    if (chunks === null) {
      for (const { record } of wholes) record.refusals++
      return false
    }
    const attempts = this.#attempts
    const areTriedAgain = wholes.some(({ record }) => record.refusals > 0)
    const hasChunks = ({ name }: Whole): number => (chunks.get(name)?.length === 0 ? 0 : 1)
    let areAllSettled = true
    for (const whole of wholes.toSorted((a, b) => hasChunks(a) - hasChunks(b))) {
      if (await this.#settleOne(whole, chunks.get(whole.name) ?? [], signal)) continue
      areAllSettled = false
      // Where the store is away, the next one would only wait for it as long.
      if (signal.aborted || attempts.halted !== null || attempts.problem?.retryable === true) break
    }
    // That others are settled mends nothing that was refused.
    if (areAllSettled && areTriedAgain) attempts.succeeded()
    return areAllSettled
  }

  async #list(wholes: readonly Whole[], signal: AbortSignal): Promise<Map<string, readonly Chunk[]> | null> {
    const { carrier, confirm } = this.#options
    let chunks: Map<string, readonly Chunk[]> | null = null
    await this.#attempts.make(`list the chunks of ${briefly(wholes)}`, signal, async () => {
      await confirm(signal)
      chunks = await carrier.listChunks(wholes, signal)
    })
    return chunks
  }

  async #settleOne(whole: Whole, chunks: readonly Chunk[], signal: AbortSignal): Promise<boolean> {
    const { name, record } = whole
    const { carrier, onSettled } = this.#options
    record.settled = await this.#attempts.make(`delete the chunks of ${name}`, signal, async () => {
      await carrier.deleteChunks(whole, chunks, signal)
    })
    if (record.settled) onSettled()
    else record.refusals++
    return record.settled
  }
}

/** "00000001000000000000002A and 3 more" */
export function briefly(wholes: readonly Whole[]): string {
  const more = wholes.length > 1 ? ` and ${wholes.length - 1} more` : ''
  return `${wholes[0]?.name}${more}`
}
