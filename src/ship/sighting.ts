import type { Clock } from '../kit/clock.ts'
import { WalferryError } from '../kit/errors.ts'

export interface SightingOptions {
  /** Whether the store still holds the archive that was claimed. */
  readonly isStillOurs: (signal: AbortSignal) => Promise<boolean>
  /** The store's, for messages. */
  readonly url: string
  /** It was seen not to be there. */
  readonly onAbsent: () => void
  readonly clock: Clock
}

/** What was seen of the archive holds for so long: a request for each chunk would double what they cost. */
export const seenForMs = 5000

/** When the archive was seen in its place. What is put where it is not, is not in it. */
export class Sighting {
  readonly #options: SightingOptions
  /** Null for not since something failed. */
  #seenMs: number | null = null
  #doubts = 0

  constructor(options: SightingOptions) {
    this.#options = options
  }

  /** How often something has failed. */
  get doubts(): number {
    return this.#doubts
  }

  /** Something has failed: what was seen before does not hold any more. */
  doubt(): void {
    this.#doubts++
    this.#seenMs = null
  }

  /** Looks, unless it was seen in the last `maxAgeMs`. Rejects what the store fails with, and STORE_UNREACHABLE for absence. */
  async confirm(maxAgeMs: number, signal: AbortSignal): Promise<void> {
    const { isStillOurs, url, onAbsent, clock } = this.#options
    const nowMs = clock.monotonicMs()
    if (this.#seenMs !== null && nowMs - this.#seenMs < maxAgeMs) return
    const doubts = this.#doubts
    if (!(await isStillOurs(signal))) {
      this.doubt()
      onAbsent()
      throw new WalferryError('STORE_UNREACHABLE', `what is at ${url} is not the archive that was there before`, {
        hint: 'Bring it back: is its disk mounted? Then shipping goes on. To begin a new archive here, start the receiver anew.',
        retryable: true,
      })
    }
    if (this.#doubts === doubts) this.#seenMs = nowMs
  }
}
