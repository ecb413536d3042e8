/**
 * Knows which gaps of the archive were noted, and which of them nobody has acknowledged.
 *
 * The notes are read at the start, after each new gap, and when another receiver may have shipped; every minute only
 * while there is one that waits for somebody. So an idle receiver makes no requests.
 */
import { isAcknowledged, listGaps } from '../archive/gaps.ts'
import { type GapName, gapKey } from '../archive/keys.ts'
import { Bell } from '../kit/bell.ts'
import { describe } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { ObjectStore } from '../store/object-store.ts'

const everyMs = 60_000

export class GapWatch {
  readonly #store: ObjectStore
  readonly #log: Log
  readonly #bell = new Bell()
  readonly #acknowledged = new Set<string>()
  /** Noted by us, and in no listing yet: the store may be away, and some list what was written only later. */
  readonly #unlisted = new Map<string, GapName>()
  #gaps: readonly GapName[] | null = null
  #all: readonly GapName[] | null = null

  constructor(store: ObjectStore, log: Log) {
    this.#store = store
    this.#log = log
  }

  /** Those that nobody has acknowledged; null while the archive could not be asked. */
  get gaps(): readonly GapName[] | null {
    return this.#gaps
  }

  /** All, acknowledged or not; null while the archive could not be asked. */
  get all(): readonly GapName[] | null {
    return this.#all
  }

  /** We note one that was not there before. It counts at once, whatever a listing says. */
  noted(gap: GapName): void {
    if (this.#unlisted.has(gapKey(gap))) return
    this.#unlisted.set(gapKey(gap), gap)
    this.#gaps = [...(this.#gaps ?? []), gap]
    if (this.#all !== null) this.#all = [...this.#all, gap]
    this.lookSoon()
  }

  /** There may be new ones. */
  lookSoon(): void {
    this.#bell.ring()
  }

  /** Looks until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const seen = this.#bell.count
      const isSure = await this.#look(signal)
      const pauseMs = isSure && this.#gaps?.length === 0 ? undefined : everyMs
      await this.#bell.after(seen, signal, pauseMs).catch(() => undefined)
    }
  }

  async #look(signal: AbortSignal): Promise<boolean> {
    try {
      const open: GapName[] = []
      const listed = await listGaps(this.#store, { signal })
      for (const gap of listed) {
        const key = gapKey(gap)
        if (this.#acknowledged.has(key)) continue
        if (await isAcknowledged(this.#store, gap, { signal })) this.#acknowledged.add(key)
        else open.push(gap)
      }
      for (const gap of listed) this.#unlisted.delete(gapKey(gap))
      this.#gaps = [...open, ...this.#unlisted.values()]
      this.#all = [...listed, ...this.#unlisted.values()]
      return true
    } catch (error) {
      if (!signal.aborted) this.#log.debug(`the notes of gaps could not be read: ${describe(error)}`)
      return false
    }
  }
}
