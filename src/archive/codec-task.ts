/** What is said about one task with the thread that works at it (codec-worker.ts has the messages). */
import { WalferryError } from '../kit/errors.ts'
import type { Failure, Reply, Request } from './codec-worker.ts'

/** An answer to a request for bytes. */
type Answer = Exclude<Reply, { readonly taken: true }>
type Filled = Exclude<Answer, { readonly failure: Failure }>

export class CodecTask {
  /** Called when the thread is done with the oldest piece. */
  onTaken: () => void = () => undefined
  readonly #id: number
  readonly #post: (request: Request) => void
  readonly #answers: Answer[] = []
  #lost: WalferryError | null = null
  #hasEnded = false
  #wake: () => void = () => undefined

  constructor(id: number, post: (request: Request) => void) {
    this.#id = id
    this.#post = post
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Whether the thread was given up before the task had ended. */
  get isLost(): boolean {
    return this.#lost !== null
  }

  /** Asks for the next bytes of the result. */
  fill(slot: SharedArrayBuffer): void {
    if (!this.#hasEnded) this.#post({ id: this.#id, ask: 'fill', slot })
  }

  sendPiece(slot: SharedArrayBuffer, bytes: number): void {
    if (!this.#hasEnded) this.#post({ id: this.#id, ask: 'piece', slot, bytes })
  }

  /** Nothing more is sent: that was all, or it cannot be had. */
  closeInput(how: 'end' | 'fail'): void {
    if (!this.#hasEnded) this.#post({ id: this.#id, ask: how })
  }

  /** What was asked for first, and not taken yet. Rejects what the task has failed with. */
  async reply(): Promise<Filled> {
    for (;;) {
      const answer = this.#answers.shift()
      if (answer !== undefined) {
        if ('failure' in answer) throw errorOf(answer.failure)
        return answer
      }
      if (this.#lost !== null) throw this.#lost
      await this.#news()
    }
  }

  /** Resolves once the thread works at it no more, or is lost. */
  async stop(): Promise<void> {
    if (this.#hasEnded) return
    this.#post({ id: this.#id, ask: 'stop' })
    while (!this.#hasEnded) await this.#news()
  }

  hear(reply: Reply): void {
    if ('taken' in reply) {
      this.onTaken()
      return
    }
    this.#answers.push(reply)
    if ('failure' in reply || reply.isLast) this.#hasEnded = true
    this.#wake()
  }

  /** The thread has ended. */
  lose(error: WalferryError): void {
    this.#lost = error
    this.#hasEnded = true
    this.#wake()
  }

  /** One waits at a time. */
  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

function errorOf({ code, system, message, cause: reason, hint, fields, retryable }: Failure): Error {
  const cause = reason === undefined ? {} : { cause: new Error(reason) }
  if (code !== null)
    return new WalferryError(code, message, { fields, retryable, ...cause, ...(hint === undefined ? {} : { hint }) })
  const error = new Error(message, cause)
  return system === undefined ? error : Object.assign(error, { code: system })
}
