/** Where a status comes from: the receiver, or the archive alone where no receiver answers. */
import type { Archive } from '../archive/archive.ts'
import { type ArchiveStatus, archiveStatus } from '../audit/archive-status.ts'
import { systemClock } from '../kit/clock.ts'
import { isError, WalferryError } from '../kit/errors.ts'
import type { Status } from '../serve/status.ts'
import { askReceiver, type ReceiverAddress, urlOf } from './ask-receiver.ts'
import { type Look, remember } from './trend.ts'

export type Told =
  | { readonly from: 'receiver'; readonly url: string; readonly status: Status; readonly looks: readonly Look[] }
  /** `why` says that no receiver answers, and where it was asked. */
  | { readonly from: 'archive'; readonly why: string; readonly archive: ArchiveStatus }

/** To read an archive costs requests, which are paid for; it changes little without a receiver. */
const archiveEveryMs = 30_000

export class StatusSource {
  readonly #address: ReceiverAddress | null
  readonly #archive: Archive | null
  #looks: readonly Look[] = []
  #read: { readonly archive: ArchiveStatus; readonly atMs: number } | null = null

  /** `address` null: no receiver is to be asked. `archive` null: none was named. */
  constructor(address: ReceiverAddress | null, archive: Archive | null) {
    this.#address = address
    this.#archive = archive
  }

  /**
   * Asked again, it knows what it was told before, and reads the archive at most each 30 s. Rejects RECEIVER_FOREIGN,
   * RECEIVER_UNREACHABLE, what the archive's reading does, or the signal's reason.
   */
  async ask(signal: AbortSignal): Promise<Told> {
    const why = await this.#askReceiver(signal)
    return typeof why === 'string' ? { from: 'archive', why, archive: await this.#readArchive(why, signal) } : why
  }

  /** The status, or why there is none. */
  async #askReceiver(signal: AbortSignal): Promise<Told | string> {
    if (this.#address === null) return 'no receiver is asked (--listen off)'
    const url = urlOf(this.#address)
    const answer = await askReceiver(this.#address, signal)
    if ('silence' in answer) return `no receiver answers on ${url} (${answer.silence})`
    this.#looks = remember(this.#looks, answer)
    // What was read before it came back is outdated when it goes again.
    this.#read = null
    return { from: 'receiver', url, status: answer, looks: this.#looks }
  }

  async #readArchive(why: string, signal: AbortSignal): Promise<ArchiveStatus> {
    if (this.#archive === null) {
      throw new WalferryError('RECEIVER_UNREACHABLE', `${why}, and no archive is named`, {
        hint: 'Does walferry receive run, with this --listen? The archive alone can be asked, too: give --store.',
      })
    }
    const nowMs = systemClock.monotonicMs()
    if (this.#read !== null && nowMs - this.#read.atMs < archiveEveryMs) return this.#read.archive
    try {
      const archive = await archiveStatus(this.#archive, { signal })
      this.#read = { archive, atMs: nowMs }
      return archive
    } catch (error) {
      if (!isError(error)) throw error
      const { code, message, hint, fields, retryable, cause } = error
      const details = { fields, retryable, cause, ...(hint === undefined ? {} : { hint }) }
      throw new WalferryError(code, `${why}, and the archive cannot be read: ${message}`, details)
    }
  }
}
