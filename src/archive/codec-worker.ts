/**
 * One of the threads of codec-threads.ts: compresses and encrypts, or decrypts and decompresses.
 *
 *     out   { version }                      once, before all else: of the code that runs here
 *     in    { ask: 'begin', task, secret }   encrypted where there is a secret
 *           { ask: 'fill', slot }            fills `slot` with the next bytes of the result
 *           { ask: 'piece', slot, bytes }    the next bytes of the input, where the task reads no file
 *           { ask: 'end' }                   that was all of it
 *           { ask: 'fail' }                  no more of it comes
 *           { ask: 'stop' }                  gives up
 *     out   { bytes, isLast, checked }       so many bytes of the slot are filled
 *           { failure }                      and nothing more comes
 *           { taken: true }                  the oldest piece of the input may be overwritten
 *
 * Every message but the first has the `id` of what it is about; several take turns. A task ends with one message that
 * says isLast or failure, also after a stop.
 */
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { describe, type ErrorCode, isError, systemCode } from '../kit/errors.ts'
import { version } from '../kit/version.ts'
import { piecesOf, type ReadableAt, tooShort } from './bytes-at.ts'
import { decode, encode, type EncodeOptions } from './codec.ts'
import { type Codec, codecOfKey, type WritableCodec } from './codec-name.ts'
import { EncryptionKey } from './encryption/key.ts'
import type { PlainSize } from './plain.ts'
import { copyInto } from '../kit/copy-into.ts'
import { collectBehind } from '../kit/garbage.ts'

/** The bytes [from, to) of an open file, which stays open for as long as somebody takes them. `name` is for messages. */
export interface FilePart {
  readonly fd: number
  readonly name: string
  readonly from: number
  readonly to: number
}

export type Task =
  /** Without a part of a file, the plain bytes are sent. */
  | {
      readonly kind: 'encode'
      readonly codec: WritableCodec
      readonly part: FilePart | null
      readonly options: EncodeOptions
    }
  /** The object that lies under `key`, whose bytes are sent. */
  | { readonly kind: 'decode'; readonly key: string; readonly size: PlainSize }

export type Request = { readonly id: number } & (
  | { readonly ask: 'begin'; readonly task: Task; readonly secret: Uint8Array | null }
  | { readonly ask: 'fill'; readonly slot: SharedArrayBuffer }
  | { readonly ask: 'piece'; readonly slot: SharedArrayBuffer; readonly bytes: number }
  | { readonly ask: 'end' | 'fail' | 'stop' }
)

/** An error without its class, which does not pass between threads. */
export interface Failure {
  readonly code: ErrorCode | null
  readonly system: string | undefined
  readonly message: string
  /** What lay below it, in words. */
  readonly cause: string | undefined
  readonly hint: string | undefined
  readonly fields: Readonly<Record<string, unknown>>
  readonly retryable: boolean
}

interface Filled {
  readonly bytes: number
  readonly isLast: boolean
  /** Of a decoding, at its end: see Plain. */
  readonly checked: boolean
}

export type Reply = { readonly id: number } & (Filled | { readonly failure: Failure } | { readonly taken: true })

export type Message = Reply | { readonly version: string }

/** What is sent of a task's input. */
class Input {
  readonly #onTaken: () => void
  readonly #pieces: Uint8Array[] = []
  #state: 'open' | 'ended' | 'failed' = 'open'
  #wake: () => void = () => undefined

  constructor(onTaken: () => void) {
    this.#onTaken = onTaken
  }

  add(piece: Uint8Array): void {
    this.#pieces.push(piece)
    this.#wake()
  }

  close(state: 'ended' | 'failed'): void {
    this.#state = state
    this.#wake()
  }

  /** With `reuse`, a piece is there until the next one is asked for. */
  async *pieces(reuse: boolean): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      // Whoever sends it knows why.
      if (this.#state === 'failed') throw new Error('the input does not go on')
      const piece = this.#pieces.shift()
      if (piece !== undefined) {
        yield reuse ? piece : new Uint8Array(piece)
        this.#onTaken()
      } else if (this.#state === 'ended') return
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }
}

/** One task, and what of its result had no room in the last slot. */
class Coding {
  readonly input: Input
  readonly #pieces: AsyncGenerator<Uint8Array, boolean>
  #rest: Uint8Array = new Uint8Array()

  constructor(task: Task, secret: EncryptionKey | null, onTaken: () => void) {
    this.input = new Input(onTaken)
    this.#pieces = task.kind === 'encode' ? encoded(task, this.input, secret) : decoded(task, this.input, secret)
  }

  async fill(slot: Buffer): Promise<Filled> {
    for (let bytes = 0; ; ) {
      const part = this.#rest.subarray(0, slot.length - bytes)
      copyInto(slot, bytes, part)
      bytes += part.length
      this.#rest = this.#rest.subarray(part.length)
      if (bytes === slot.length) return { bytes, isLast: false, checked: false }
      const next = await this.#pieces.next()
      if (next.done === true) return { bytes, isLast: true, checked: next.value }
      this.#rest = next.value
    }
  }

  async end(): Promise<void> {
    await this.#pieces.return(false)
  }
}

async function* encoded(
  { codec, part, options }: Extract<Task, { kind: 'encode' }>,
  input: Input,
  secret: EncryptionKey | null,
): AsyncGenerator<Uint8Array, boolean> {
  yield* encode(codec, part === null ? input.pieces(true) : partOf(part), secret, options)
  return false
}

async function* decoded(
  { key, size }: Extract<Task, { kind: 'decode' }>,
  input: Input,
  secret: EncryptionKey | null,
): AsyncGenerator<Uint8Array, boolean> {
  const plain = decode(key, input.pieces(isDoneWithEach(codecOfKey(key))), size, secret)
  for await (const piece of plain) {
    yield piece
    // A hundred megabytes of blocks would lie about in each thread of Node.js 24.
    collectBehind(piece.length)
  }
  return plain.checked
}

/** Whether a decoder has used a piece up when it asks for the next one. All others are streams, which read ahead. */
function isDoneWithEach(codec: Codec): boolean {
  return codec === 'lz4' || codec === 'none'
}

function partOf({ fd, name, from, to }: FilePart): AsyncGenerator<Uint8Array> {
  const file: ReadableAt = {
    // In this thread nobody waits for anything else.
    read(target, position) {
      for (let done = 0; done < target.length; ) {
        const bytes = readSync(fd, target, done, target.length - done, position + done)
        if (bytes === 0) return Promise.reject(tooShort(name, position + target.length))
        done += bytes
      }
      return Promise.resolve()
    },
  }
  return piecesOf(file, from, to, true)
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  const cause = error instanceof Error && error.cause !== undefined ? describe(error.cause) : undefined
  const system = systemCode(error)
  if (!isError(error)) return { code: null, system, message, cause, hint: undefined, fields: {}, retryable: false }
  const { code, hint, fields, retryable } = error
  return { code, system, message, cause, hint, fields, retryable }
}

/** A task under way, and the last request for its bytes: they are answered one after the other. */
interface UnderWay {
  readonly coding: Coding
  filling: Promise<void>
}

const underWay = new Map<number, UnderWay>()

function say(reply: Reply): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
  parentPort?.postMessage(reply)
}

async function fill(id: number, { coding, filling }: UnderWay, slot: SharedArrayBuffer): Promise<void> {
  await filling
  if (!underWay.has(id)) return
  try {
    const filled = await coding.fill(Buffer.from(slot))
    if (filled.isLast) underWay.delete(id)
    say({ id, ...filled })
  } catch (error) {
    underWay.delete(id)
    say({ id, failure: failureOf(error) })
  }
}

async function stop(id: number, one: UnderWay): Promise<void> {
  one.coding.input.close('failed')
  await one.filling
  if (!underWay.delete(id)) return
  await one.coding.end().catch(() => undefined)
  say({ id, bytes: 0, isLast: true, checked: false })
}

function hear(request: Request): void {
  const { id } = request
  if (request.ask === 'begin') {
    const secret = request.secret === null ? null : new EncryptionKey(request.secret)
    const coding = new Coding(request.task, secret, () => say({ id, taken: true }))
    underWay.set(id, { coding, filling: Promise.resolve() })
    return
  }
  const one = underWay.get(id)
  // It has ended, and the other side does not know yet.
  if (one === undefined) return
  const { input } = one.coding
  if (request.ask === 'fill') one.filling = fill(id, one, request.slot)
  else if (request.ask === 'piece') input.add(new Uint8Array(request.slot, 0, request.bytes))
  else if (request.ask === 'stop') void stop(id, one)
  else input.close(request.ask === 'end' ? 'ended' : 'failed')
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
parentPort?.postMessage({ version: version() })
parentPort?.on('message', hear)
