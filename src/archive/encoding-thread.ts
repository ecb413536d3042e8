/**
 * Encodes files in a thread of its own: whoever has a stream to receive and commits to answer has no time for
 * compression. Only the encoded bytes come over, in memory that both threads see and that is used again.
 *
 * The thread begins with the first file, and lives as long as the process, which it never keeps alive: its code is read
 * when it begins, and the files of walferry may be replaced under a process that runs. One that is of another version, or
 * has died, is given up, and the next file begins a new one.
 */
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { describe, WalferryError } from '../kit/errors.ts'
import { version } from '../kit/version.ts'
import type { Failure, Message, Reply, Request, Source } from './encode-worker.ts'
import type { EncryptionKey } from './encryption/key.ts'

/** Some 1.5 MB of WAL, compressed: so often the threads speak. */
const slotBytes = 256 * 1024

/** A small one is collected often: what the compressor returns lies outside of it, and would add up meanwhile. */
const youngMegabytes = 2

// Beside this file, in dist/src as in the bundle.
const ownProgram = join(import.meta.dirname, 'encode-worker.js')
// Of the code that runs: read now, and not when a thread begins.
const ownVersion = version()

export class EncodingThread {
  readonly #program: string
  readonly #slots: SharedArrayBuffer[] = []
  #run: Run | null = null
  #lastId = 0

  constructor(program: string = ownProgram) {
    this.#program = program
  }

  /**
   * The encoded bytes of `source`, encrypted where there is a `secret`. What it yields is gone when the next is asked for.
   * Throws what reading or encoding has met, with its code, and ENCODER_FAILED. The file has to stay open for as long as
   * somebody takes what is yielded. Where nobody does any more (an abort waits for nothing), the thread may still read by
   * a number that is another file's by now: at a position, so that nothing is taken from that one, and into this
   * encoding's own memory, which the next one gets only when this one has ended.
   */
  async *encode(source: Source, secret: EncryptionKey | null): AsyncGenerator<Uint8Array, void> {
    const id = ++this.#lastId
    const slot = this.#slots.pop() ?? new SharedArrayBuffer(slotBytes)
    // A key may be a view of memory that much else lies in, and all of it would go over.
    const key = secret === null ? null : Uint8Array.from(secret.bytes())
    if (this.#run === null || this.#run.hasEnded) this.#run = new Run(this.#program)
    // To the end: another thread knows nothing of what this one has open.
    const run = this.#run
    let isOpen = false
    try {
      for (let begin: Request['begin'] = { source, key }; ; begin = null) {
        // Where this rejects, the thread is gone, and what it had open with it.
        isOpen = false
        const reply = await run.ask({ id, begin, slot })
        if ('failure' in reply) throw errorOf(reply.failure)
        isOpen = !reply.isLast
        if (reply.bytes > 0) yield new Uint8Array(slot, 0, reply.bytes)
        if (reply.isLast) return
      }
    } finally {
      if (isOpen) await run.ask({ id, begin: null, slot: null }).catch(() => undefined)
      this.#slots.push(slot)
    }
  }
}

/** One for the process, whatever archives there are. */
export const encodingThread = new EncodingThread()

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
}

/** One thread, from its beginning to its end. */
class Run {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #isKnown = false
  #end: WalferryError | null = null

  constructor(program: string) {
    this.#worker = new Worker(program, { resourceLimits: { maxYoungGenerationSizeMb: youngMegabytes } })
    this.#worker.on('message', (message: Message) => this.#hear(message))
    this.#worker.on('error', (error) => this.#lose(this.#isKnown ? died(describe(error)) : notBegun(error)))
    this.#worker.on('exit', (code) => this.#lose(died(`with code ${code}`)))
  }

  get hasEnded(): boolean {
    return this.#end !== null
  }

  /** Rejects ENCODER_FAILED if the thread has ended, or ends before it answers. */
  async ask(request: Request): Promise<Reply> {
    if (this.#end !== null) throw this.#end
    this.#worker.ref()
    return await new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject })
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
      this.#worker.postMessage(request)
    })
  }

  #hear(message: Message): void {
    if (this.#end !== null) return
    if ('version' in message) {
      // It comes before every answer.
      this.#isKnown = message.version === ownVersion
      if (this.#isKnown) return
      this.#lose(otherVersion(message.version))
      void this.#worker.terminate()
      return
    }
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if (this.#waiting.size === 0) this.#worker.unref()
    waiting?.resolve(message)
  }

  #lose(error: WalferryError): void {
    if (this.#end !== null) return
    this.#end = error
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

const restart = 'Were the files of walferry replaced, or removed, while it runs? Restart it: it goes on where it was.'

function otherVersion(found: string): WalferryError {
  return new WalferryError(
    'ENCODER_FAILED',
    `the thread that encodes is walferry ${found}, and this is ${ownVersion}`,
    {
      hint: restart,
      fields: { found, own: ownVersion },
    },
  )
}

function notBegun(cause: unknown): WalferryError {
  return new WalferryError('ENCODER_FAILED', 'the thread that encodes could not begin', { hint: restart, cause })
}

function died(how: string): WalferryError {
  return new WalferryError('ENCODER_FAILED', `the thread that encodes has ended: ${how}`, {
    hint: 'The next attempt begins a new one. Where that does not help, look whether memory is short.',
    retryable: true,
  })
}

function errorOf({ code, system, message, hint, fields, retryable }: Failure): Error {
  if (code !== null)
    return new WalferryError(code, message, { fields, retryable, ...(hint === undefined ? {} : { hint }) })
  const error = new Error(message)
  return system === undefined ? error : Object.assign(error, { code: system })
}
