import { Bell } from '../kit/bell.ts'
import type { CodecTask } from './codec-task.ts'
import { copyInto } from '../kit/copy-into.ts'

/**
 * Sends the input of a task to its thread, piece by piece, in memory that both see: a slot is full, but for the last one,
 * and is filled again when the thread is done with it. So it reads ahead by as much as the slots hold.
 */
export class Feeder {
  /** What the source has failed with, if it has. */
  failure: { readonly error: unknown } | undefined
  readonly #task: CodecTask
  readonly #free: SharedArrayBuffer[]
  readonly #sent: SharedArrayBuffer[] = []
  readonly #news = new Bell()
  readonly #stopped = new AbortController()

  constructor(source: AsyncIterable<Uint8Array>, slots: readonly SharedArrayBuffer[], task: CodecTask) {
    this.#task = task
    this.#free = [...slots]
    task.onTaken = () => this.#taken()
    void this.#feed(source)
  }

  /** From now on no slot is touched. The source is closed as soon as it lets go of what it is asked for: nobody waits. */
  stop(): void {
    this.#stopped.abort()
  }

  async #feed(source: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      let slot: SharedArrayBuffer | null = null
      let bytes = 0
      for await (const piece of source) {
        if (this.#stopped.signal.aborted) return
        for (let at = 0; at < piece.length; ) {
          if (slot === null) {
            slot = await this.#nextFree()
            if (this.#stopped.signal.aborted) return
          }
          const part = piece.subarray(at, at + slot.byteLength - bytes)
          copyInto(Buffer.from(slot), bytes, part)
          at += part.length
          bytes += part.length
          if (bytes < slot.byteLength) continue
          this.#send(slot, bytes)
          slot = null
          bytes = 0
        }
      }
      if (this.#stopped.signal.aborted) return
      if (slot !== null) this.#send(slot, bytes)
      this.#task.closeInput('end')
    } catch (error) {
      if (this.#stopped.signal.aborted) return
      this.failure = { error }
      this.#task.closeInput('fail')
    }
  }

  async #nextFree(): Promise<SharedArrayBuffer> {
    for (;;) {
      const slot = this.#free.shift()
      if (slot !== undefined) return slot
      await this.#news.after(this.#news.count, this.#stopped.signal)
    }
  }

  #send(slot: SharedArrayBuffer, bytes: number): void {
    this.#sent.push(slot)
    this.#task.sendPiece(slot, bytes)
  }

  #taken(): void {
    const slot = this.#sent.shift()
    if (slot !== undefined) this.#free.push(slot)
    this.#news.ring()
  }
}
