/** What can go wrong between a client and a store, to be injected into single requests. */
import type { S3Request } from './request.ts'

export type Fault =
  /** Refused with an error of S3; nothing is done. */
  | { readonly kind: 'error'; readonly status: number; readonly code: string }
  /** Done, but an error follows in the body of an answer whose status was already 200. */
  | { readonly kind: 'errorIn200'; readonly code: string }
  /** Answered by something that is no S3; nothing is done. */
  | { readonly kind: 'page'; readonly status: number; readonly body: string }
  /** The connection is reset, or nothing comes at all; nothing is done. */
  | { readonly kind: 'noAnswer'; readonly how: 'reset' | 'stall' }
  /** Done, but the answer is lost. */
  | { readonly kind: 'lostAnswer'; readonly how: 'reset' | 'stall' }
  /** Done, but of the answer's body no more than `afterBytes` come. */
  | { readonly kind: 'cutBody'; readonly afterBytes: number; readonly how: 'reset' | 'close' | 'stall' }
  /** Done, but after a wait, and with bodies both ways at a trickle. */
  | { readonly kind: 'slow'; readonly latencyMs?: number; readonly bytesPerSecond?: number }
  /** A GET is answered as if it had asked for another range, or for none. */
  | { readonly kind: 'otherRange'; readonly range: string | undefined }
  /** One byte is altered: of what is stored, with no one noticing, or of the answer on its way. */
  | { readonly kind: 'corrupt'; readonly what: 'stored' | 'answer' }

export class Injection {
  readonly fault: Fault
  readonly #applies: (request: S3Request) => boolean
  #left: number
  #hits = 0

  constructor(fault: Fault, applies: (request: S3Request) => boolean, times: number) {
    this.fault = fault
    this.#applies = applies
    this.#left = times
  }

  /** How many requests it has met. */
  get hits(): number {
    return this.#hits
  }

  /** Ends it. */
  remove(): void {
    this.#left = 0
  }

  /** True if this request is met. Counts. */
  take(request: S3Request): boolean {
    if (this.#left <= 0 || !this.#applies(request)) return false
    this.#left--
    this.#hits++
    return true
  }
}
