/**
 * Encodes in up to two threads of their own, and decodes in as many as there are cores: whoever has a stream to receive and
 * commits to answer, or a disk to fill, has no time for compression. Bytes go over in memory that both threads see and that
 * is used again, both ways; memory that is made anew for each block costs as much as the compression, in collecting it.
 *
 * A thread begins with the first task for it, and lives as long as the process, which it never keeps alive: its code is read
 * when it begins, and the files of walferry may be replaced under a process that runs. One that is of another version, or
 * has died, is given up, and the next task begins a new one.
 */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { describe, WalferryError } from '../kit/errors.ts'
import { version } from '../kit/version.ts'
import { Decoding, type Plain, type PlainSize } from './plain.ts'
import type { EncodeOptions } from './codec.ts'
import type { WritableCodec } from './codec-name.ts'
import { CodecTask } from './codec-task.ts'
import type { FilePart, Message, Request, Task } from './codec-worker.ts'
import type { EncryptionKey } from './encryption/key.ts'
import { collectBehind } from '../kit/garbage.ts'
import { Feeder } from './feeder.ts'

// For each slot the threads speak, and a store writes, which costs some 0.2 ms. Whole blocks of LZ4, which the compressor
// takes as they are.
const slotBytes = 1024 * 1024

const mostThreads = availableParallelism()
/** Two compress what a stream of WAL brings, and each takes some 15 MB. */
const mostEncoding = Math.min(2, mostThreads)

/** A small one is collected often: what the compressor returns lies outside of it, and would add up meanwhile. */
const youngMegabytes = 2

// Beside this file, in dist/src as in the bundle.
const ownProgram = join(import.meta.dirname, 'codec-worker.js')
// Of the code that runs: read now, and not when a thread begins.
const ownVersion = version()

/** Memory that is used again. */
class Slots {
  readonly #free: SharedArrayBuffer[] = []

  take(): SharedArrayBuffer {
    return this.#free.pop() ?? new SharedArrayBuffer(slotBytes)
  }

  give(...slots: readonly SharedArrayBuffer[]): void {
    this.#free.push(...slots)
  }
}

export class CodecThreads {
  readonly #program: string
  readonly #slots = new Slots()
  #threads: readonly CodecThread[] = []

  constructor(program: string = ownProgram) {
    this.#program = program
  }

  /**
   * The encoded bytes of a part of a file, or of pieces, encrypted where there is a `secret`. What it yields is gone when
   * the next is asked for, and a piece may be overwritten when the next one is asked for. Throws what reading or encoding
   * has met, with its code, and THREAD_FAILED.
   *
   * A file has to stay open for as long as somebody takes what is yielded. Where nobody does any more (an abort waits for
   * nothing), the thread may still read by a number that is another file's by now: at a position, so that nothing is taken
   * from that one, and into this task's own memory, which the next one gets only when this one has ended.
   */
  async *encode(
    codec: WritableCodec,
    plain: FilePart | AsyncIterable<Uint8Array>,
    secret: EncryptionKey | null,
    options: EncodeOptions = {},
  ): AsyncGenerator<Uint8Array, void> {
    if ('fd' in plain) yield* this.#results({ kind: 'encode', codec, part: plain, options }, null, secret)
    else yield* this.#results({ kind: 'encode', codec, part: null, options }, plain, secret)
  }

  /** As `decode` of codec.ts; but a piece is gone when the next is asked for. Throws THREAD_FAILED, too. */
  decode(key: string, source: AsyncIterable<Uint8Array>, size: PlainSize, secret: EncryptionKey | null): Plain {
    return new Decoding(key, this.#results({ kind: 'decode', key, size }, collectedBehind(source), secret))
  }

  /** The one that has the least to do: segments of a backlog, and objects of a backup, go side by side. */
  #threadFor({ kind }: Task): CodecThread {
    const alive = this.#threads.filter((thread) => !thread.hasEnded)
    const usable = kind === 'encode' ? alive.slice(0, mostEncoding) : alive
    const [least] = usable.toSorted((a, b) => a.tasks - b.tasks)
    const most = kind === 'encode' ? mostEncoding : mostThreads
    if (least !== undefined && (least.tasks === 0 || usable.length >= most)) return least
    const begun = new CodecThread(this.#program)
    this.#threads = [...alive, begun]
    return begun
  }

  /** While one slot is used up, two others are filled, or full. Returns what the last reply says. */
  async *#results(
    task: Task,
    input: AsyncIterable<Uint8Array> | null,
    secret: EncryptionKey | null,
  ): AsyncGenerator<Uint8Array, boolean> {
    const take = (): SharedArrayBuffer => this.#slots.take()
    const slots = [take(), take(), take()] as const
    const inSlots = input === null ? [] : [take(), take()]
    // To the end: another thread knows nothing of what this one has begun.
    const talk = this.#threadFor(task).begin(task, secret)
    const feeder = input === null ? null : new Feeder(input, inSlots, talk)
    try {
      talk.fill(slots[0])
      for (let [slot, second, third, isFirst] = [...slots, true]; ; [slot, second, third] = [second, third, slot]) {
        const { bytes, isLast, checked } = await talk.reply()
        // Of a small object, one is all.
        if (isFirst && !isLast) for (const other of [second, third]) talk.fill(other)
        isFirst = false
        if (bytes > 0) yield new Uint8Array(slot, 0, bytes)
        if (isLast) return checked
        talk.fill(slot)
      }
    } catch (error) {
      throw feeder?.failure === undefined ? error : feeder.failure.error
    } finally {
      feeder?.stop()
      await talk.stop()
      // One that was refused may still be at it.
      if (!talk.isLost) this.#slots.give(...slots, ...inSlots)
    }
  }
}

/**
 * What a store is read in, piece by piece, is new memory outside of V8's heap. For it V8 marked the whole heap again and
 * again: 95 times for 2 GB out of S3, a tenth of all CPU time.
 */
async function* collectedBehind(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const piece of source) {
    yield piece
    collectBehind(piece.length)
  }
}

/** Those of the process, whatever archives there are. */
export const codecThreads = new CodecThreads()

/** One thread, from its beginning to its end. */
class CodecThread {
  readonly #worker: Worker
  readonly #tasks = new Map<number, CodecTask>()
  #lastId = 0
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

  /** Under way. */
  get tasks(): number {
    return this.#tasks.size
  }

  begin(task: Task, secret: EncryptionKey | null): CodecTask {
    const id = ++this.#lastId
    const begun = new CodecTask(id, (request) => this.#say(request))
    this.#tasks.set(id, begun)
    this.#worker.ref()
    // A key may be a view of memory that much else lies in, and all of it would go over.
    this.#say({ id, ask: 'begin', task, secret: secret === null ? null : Uint8Array.from(secret.bytes()) })
    return begun
  }

  #say(request: Request): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
    this.#worker.postMessage(request)
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
    const task = this.#tasks.get(message.id)
    task?.hear(message)
    if (task?.hasEnded !== true) return
    this.#tasks.delete(message.id)
    if (this.#tasks.size === 0) this.#worker.unref()
  }

  #lose(error: WalferryError): void {
    if (this.#end !== null) return
    this.#end = error
    for (const task of this.#tasks.values()) task.lose(error)
    this.#tasks.clear()
  }
}

const restart =
  'Were the files of walferry replaced, or removed, while it runs? Start it again: a receiver goes on where it was.'

function otherVersion(found: string): WalferryError {
  return new WalferryError(
    'THREAD_FAILED',
    `the thread that compresses and decompresses is walferry ${found}, and this is ${ownVersion}`,
    {
      hint: restart,
      fields: { found, own: ownVersion },
    },
  )
}

function notBegun(cause: unknown): WalferryError {
  return new WalferryError('THREAD_FAILED', 'the thread that compresses and decompresses could not begin', {
    hint: restart,
    cause,
  })
}

function died(how: string): WalferryError {
  return new WalferryError('THREAD_FAILED', `the thread that compresses and decompresses has ended: ${how}`, {
    hint: 'A receiver begins a new one by itself. Where that does not help, look whether memory is short.',
    retryable: true,
  })
}
