/**
 * The thread of encoding-thread.ts: reads files, compresses and encrypts.
 *
 *     out   { version }                       once, before all else: of the code that runs here
 *     in    { id, begin, slot }               begins to encode `begin.source`, and fills `slot` with the first bytes
 *           { id, begin: null, slot }         fills `slot` with the next
 *           { id, begin: null, slot: null }   gives up
 *     out   { id, bytes, isLast }             so many bytes of the slot are filled
 *           { id, failure }                   and nothing more comes
 *
 * Each request is answered once, and requests of several encodings take turns.
 */
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { type ErrorCode, isError, systemCode } from '../kit/errors.ts'
import { version } from '../kit/version.ts'
import { piecesOf, type ReadableAt, tooShort } from './bytes-at.ts'
import { encode } from './codec.ts'
import type { WritableCodec } from './codec-name.ts'
import { EncryptionKey } from './encryption/key.ts'

/** The bytes [from, to) of an open file, which stays open for as long as somebody takes them. `name` is for messages. */
export interface Source {
  readonly codec: WritableCodec
  readonly fd: number
  readonly name: string
  readonly from: number
  readonly to: number
}

export interface Request {
  readonly id: number
  /** Encrypted where there is a key. */
  readonly begin: { readonly source: Source; readonly key: Uint8Array | null } | null
  readonly slot: SharedArrayBuffer | null
}

/** An error without its class, which does not pass between threads. */
export interface Failure {
  readonly code: ErrorCode | null
  readonly system: string | undefined
  readonly message: string
  readonly hint: string | undefined
  readonly fields: Readonly<Record<string, unknown>>
  readonly retryable: boolean
}

export type Reply =
  | { readonly id: number; readonly bytes: number; readonly isLast: boolean }
  | { readonly id: number; readonly failure: Failure }

export type Message = Reply | { readonly version: string }

/** One encoding, and what of it had no room in the last slot. */
class Encoding {
  readonly #pieces: AsyncGenerator<Uint8Array, void>
  #rest: Uint8Array = new Uint8Array()

  constructor({ source, key }: NonNullable<Request['begin']>) {
    const secret = key === null ? null : new EncryptionKey(key)
    this.#pieces = encode(source.codec, plainOf(source), secret)
  }

  async fill(slot: Uint8Array): Promise<{ bytes: number; isLast: boolean }> {
    for (let bytes = 0; ; ) {
      const part = this.#rest.subarray(0, slot.length - bytes)
      slot.set(part, bytes)
      bytes += part.length
      this.#rest = this.#rest.subarray(part.length)
      if (bytes === slot.length) return { bytes, isLast: false }
      const next = await this.#pieces.next()
      if (next.done === true) return { bytes, isLast: true }
      this.#rest = next.value
    }
  }

  async end(): Promise<void> {
    await this.#pieces.return()
  }
}

function plainOf({ codec, fd, name, from, to }: Source): AsyncGenerator<Uint8Array> {
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
  // zstd's stream reads ahead; all others are done with a piece when they ask for the next one.
  return piecesOf(file, from, to, codec !== 'zst')
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  const system = systemCode(error)
  if (!isError(error)) return { code: null, system, message, hint: undefined, fields: {}, retryable: false }
  const { code, hint, fields, retryable } = error
  return { code, system, message, hint, fields, retryable }
}

const encodings = new Map<number, Encoding>()

async function answer({ id, begin, slot }: Request): Promise<Reply> {
  try {
    if (slot === null) {
      await encodings.get(id)?.end()
      encodings.delete(id)
      return { id, bytes: 0, isLast: true }
    }
    if (begin !== null) encodings.set(id, new Encoding(begin))
    const filled = await encodings.get(id)?.fill(new Uint8Array(slot))
    if (filled === undefined) throw new Error('there is no such encoding')
    if (filled.isLast) encodings.delete(id)
    return { id, ...filled }
  } catch (error) {
    encodings.delete(id)
    return { id, failure: failureOf(error) }
  }
}

const port = parentPort
port?.postMessage({ version: version() })
port?.on('message', (request: Request) => {
  void answer(request).then((reply) => port.postMessage(reply))
})
