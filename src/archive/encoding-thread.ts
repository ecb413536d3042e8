/**
 * Encodes files in a thread of its own: whoever has a stream to receive and commits to answer has no time for
 * compression. Only the encoded bytes come over, in memory that both threads see and that is used again.
 *
 * The thread begins with the first file and ends when it had nothing to do for a while; it never keeps the process alive.
 */
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { WalferryError } from '../kit/errors.ts'
import type { Failure, Reply, Request, Source, WorkerData } from './encode-worker.ts'
import type { EncryptionKey } from './encryption/key.ts'

/** Some 1.5 MB of WAL, compressed: so often the threads speak. */
const slotBytes = 256 * 1024
/** A start takes 50 ms; the memory of a thread is some 15 MB. */
const idleMs = 30_000

/** A small one is collected often: what the compressor returns lies outside of it, and would add up meanwhile. */
const youngMegabytes = 2

// Beside this file, in dist/src as in the bundle.
const program = join(import.meta.dirname, 'encode-worker.js')

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
}

export class EncodingThread {
  readonly #secret: EncryptionKey | null
  readonly #waiting = new Map<number, Waiting>()
  readonly #slots: SharedArrayBuffer[] = []
  #worker: Worker | null = null
  #encodings = 0
  #lastId = 0
  #idle: NodeJS.Timeout | undefined

  constructor(secret: EncryptionKey | null) {
    this.#secret = secret
  }

  /**
   * The encoded bytes of `source`. What it yields is gone when the next is asked for. Throws what reading or encoding
   * has met, with its code. The file has to stay open until the generator has ended.
   */
  async *encode(source: Source): AsyncGenerator<Uint8Array, void> {
    const id = ++this.#lastId
    const slot = this.#slots.pop() ?? new SharedArrayBuffer(slotBytes)
    this.#encodings++
    clearTimeout(this.#idle)
    let isOpen = false
    try {
      for (let next: Source | null = source; ; next = null) {
        // Where this rejects, the thread is gone, and what it had open with it.
        isOpen = false
        const reply = await this.#ask({ id, source: next, slot })
        if ('failure' in reply) throw errorOf(reply.failure)
        isOpen = !reply.isLast
        if (reply.bytes > 0) yield new Uint8Array(slot, 0, reply.bytes)
        if (reply.isLast) return
      }
    } finally {
      if (isOpen) await this.#ask({ id, source: null, slot: null }).catch(() => undefined)
      this.#slots.push(slot)
      this.#encodings--
      if (this.#encodings === 0) this.#idle = setTimeout(() => this.#end(), idleMs).unref()
    }
  }

  async #ask(request: Request): Promise<Reply> {
    const worker = (this.#worker ??= this.#start())
    worker.ref()
    return await new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject })
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
      worker.postMessage(request)
    })
  }

  #start(): Worker {
    const data: WorkerData = { key: this.#secret?.bytes() ?? null }
    const worker = new Worker(program, {
      workerData: data,
      resourceLimits: { maxYoungGenerationSizeMb: youngMegabytes },
    })
    worker.on('message', (reply: Reply) => {
      const waiting = this.#waiting.get(reply.id)
      this.#waiting.delete(reply.id)
      if (this.#waiting.size === 0) worker.unref()
      waiting?.resolve(reply)
    })
    worker.on('error', (error) => this.#lose(worker, error))
    worker.on('exit', (code) => this.#lose(worker, new Error(`the thread that encodes ended with ${code}`)))
    return worker
  }

  /** What waits is tried again by who asked for it, in a new thread. */
  #lose(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return
    this.#worker = null
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of waiting) reject(error)
  }

  #end(): void {
    const worker = this.#worker
    this.#worker = null
    void worker?.terminate()
  }
}

function errorOf({ code, system, message, hint, fields, retryable }: Failure): Error {
  if (code !== null)
    return new WalferryError(code, message, { fields, retryable, ...(hint === undefined ? {} : { hint }) })
  const error = new Error(message)
  return system === undefined ? error : Object.assign(error, { code: system })
}
