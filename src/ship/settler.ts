import type { Chunk } from '../archive/tail.ts'
import type { Clock } from '../kit/clock.ts'
import { describe, isError, type WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import { Attempts } from './attempts.ts'
import type { Carrier } from './carrier.ts'
import type { Whole } from './record.ts'

export interface SettlerOptions {
  readonly carrier: Carrier
  /** Rejects if the archive was not seen in its place lately. */
  readonly confirm: (signal: AbortSignal) => Promise<void>
  /** A segment may leave the spool. */
  readonly onSettled: () => void
  /** Nothing is to be deleted any more. */
  readonly isHalted: () => boolean
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/**
 * Deletes chunks: of segments that are stored whole, and what a merge has replaced. A store may refuse just that and take
 * all else, so it keeps nobody from uploading: settling has pauses of its own. A segment whose chunks cannot be deleted
 * stays in the spool, and keeps no other there.
 */
export class Settler {
  readonly #options: SettlerOptions
  readonly #attempts: Attempts
  /** Names of segments that could not be settled. */
  readonly #refused = new Set<string>()

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
    const listed = await this.#list(wholes, signal)
    if (listed === null) return false
    const chunksOf = ({ name }: Whole): readonly Chunk[] => listed.get(name) ?? []
    const bareFirst = wholes.toSorted((a, b) => Math.min(1, chunksOf(a).length) - Math.min(1, chunksOf(b).length))
    let areAllSettled = true
    for (const whole of bareFirst) {
      const wasRefused = this.#refused.has(whole.name)
      if (signal.aborted || this.#options.isHalted()) return false
      if (await this.#settleOne(whole, chunksOf(whole), signal)) continue
      areAllSettled = false
      // The next would fare as badly.
      if (wasRefused || this.problem?.retryable === true) break
    }
    return areAllSettled
  }

  /**
   * Deletes chunks of an open segment that another has taken the place of. Where that fails, it is told, and they go with
   * the others once the segment is whole. Resolves to whether it went well.
   */
  async discard(name: string, keys: readonly string[], signal: AbortSignal): Promise<boolean> {
    const { carrier, isHalted, log, metrics } = this.#options
    if (signal.aborted || isHalted()) return false
    try {
      await carrier.delete(keys, signal)
      return true
    } catch (error) {
      if (signal.aborted) return false
      const { code, hint } = isError(error) ? error : { code: 'STORE_FAILED', hint: undefined }
      metrics.add('walferry_store_failures_total', 1, { code })
      log.warn(`cannot delete merged chunks of ${name}: ${describe(error)}`, { code, hint })
      return false
    }
  }

  async #list(wholes: readonly Whole[], signal: AbortSignal): Promise<Map<string, readonly Chunk[]> | null> {
    const { carrier, confirm } = this.#options
    let chunks: Map<string, readonly Chunk[]> | null = null
    await this.#attempts.make(`list the chunks of ${briefly(wholes)}`, signal, async () => {
      await confirm(signal)
      chunks = await carrier.listChunks(wholes, signal)
    })
    if (chunks === null) for (const whole of wholes) this.#refuse(whole)
    return chunks
  }

  async #settleOne(whole: Whole, chunks: readonly Chunk[], signal: AbortSignal): Promise<boolean> {
    const { name, record } = whole
    const { carrier, onSettled } = this.#options
    record.settled = await this.#attempts.make(`delete the chunks of ${name}`, signal, async () => {
      await carrier.deleteChunks(whole, chunks, signal)
    })
    if (!record.settled) {
      this.#refuse(whole)
      return false
    }
    const wasRefused = this.#refused.delete(name)
    // That others are settled mends nothing that was refused.
    if (wasRefused && this.#refused.size === 0) this.#attempts.succeeded()
    onSettled()
    return true
  }

  #refuse({ name, record }: Whole): void {
    record.refusals++
    this.#refused.add(name)
  }
}

/** "00000001000000000000002A and 3 more" */
export function briefly(wholes: readonly Whole[]): string {
  const more = wholes.length > 1 ? ` and ${wholes.length - 1} more` : ''
  return `${wholes[0]?.name}${more}`
}
