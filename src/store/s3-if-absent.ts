/**
 * How a write with `ifAbsent` is done on S3, where not every service honours `If-None-Match: *`.
 *
 *     unknown    look, send with the condition; once it is a small object, send the same again: 412 is the proof
 *     honoured   send with the condition (Amazon's S3, from the start)
 *     refused    look, send without (501 came once)
 *     ignored    look, send without (the same key was taken twice)
 *
 * An upload in parts is always looked for first except at Amazon's: radosgw 16 honours the condition on a PUT and
 * ignores it where parts are put together. Between the look and the write another writer may come; only the condition
 * keeps two from meeting.
 */
import { isError } from '../kit/errors.ts'
import type { ConditionalPut } from './conditional-put.ts'

export interface Write {
  /** Rejects KEY_EXISTS if the key is taken. */
  readonly look: () => Promise<void>
  /** Rejects KEY_EXISTS if the condition was asked for and honoured, and the key is taken. */
  readonly send: (withCondition: boolean) => Promise<void>
  /** `parts`: puts an upload together. `small`: may be sent twice without a thought. */
  readonly size: 'small' | 'large' | 'parts'
}

export type NotHonoured = Exclude<ConditionalPut, 'honoured'>

export class IfAbsent {
  readonly #isAmazon: boolean
  readonly #onNotHonoured: (found: NotHonoured) => void
  #found: ConditionalPut | 'unknown'

  /** `onNotHonoured` is called once at most. */
  constructor(isAmazon: boolean, onNotHonoured: (found: NotHonoured) => void) {
    this.#isAmazon = isAmazon
    this.#onNotHonoured = onNotHonoured
    this.#found = isAmazon ? 'honoured' : 'unknown'
  }

  get found(): ConditionalPut | 'unknown' {
    return this.#found
  }

  /** Rejects KEY_EXISTS if the key is taken; else whatever `look` and `send` reject with. */
  async write(write: Write): Promise<void> {
    const { look, send, size } = write
    const isTrusted = this.#found === 'honoured' && (size !== 'parts' || this.#isAmazon)
    if (isTrusted) return await send(true)
    await look()
    if (this.#found === 'refused' || this.#found === 'ignored') return await send(false)
    try {
      await send(true)
    } catch (error) {
      if (!isNotImplemented(error)) throw error
      if (size !== 'parts') this.#settle('refused')
      return await send(false)
    }
    if (this.#found === 'unknown' && size === 'small') await this.#prove(send)
  }

  /** The object is stored, and the same bytes once more do no harm. So nothing that goes wrong here matters. */
  async #prove(send: Write['send']): Promise<void> {
    try {
      await send(true)
    } catch (error) {
      if (isError(error, 'KEY_EXISTS')) this.#settle('honoured')
      return
    }
    this.#settle('ignored')
  }

  /** Calls under way at once may come to it more than once; the first finding stays. */
  #settle(found: ConditionalPut): void {
    if (this.#found !== 'unknown') return
    this.#found = found
    if (found !== 'honoured') this.#onNotHonoured(found)
  }
}

function isNotImplemented(error: unknown): boolean {
  return isError(error, 'STORE_FAILED') && error.fields['status'] === 501
}
