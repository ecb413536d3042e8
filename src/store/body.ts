/** What `put` is given, taken in pieces: an iterable is read once, only as fast as its pieces are used up. */
import { orAbort } from '../kit/abort.ts'
import { copyInto } from '../kit/copy-into.ts'

/**
 * The chunks of a body. An abort ends even the wait for a chunk that never comes. The body's own error is thrown on
 * as it is.
 */
export async function* chunksOf(
  body: Uint8Array | AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (body instanceof Uint8Array) {
    yield body
    return
  }
  const iterator = body[Symbol.asyncIterator]()
  let ended = false
  try {
    for (;;) {
      const next = await orAbort(iterator.next(), signal)
      if (next.done === true) {
        ended = true
        return
      }
      yield next.value
    }
  } finally {
    if (!ended) {
      // After an abort a generator may still hang in its next(), and its return() would hang behind that.
      const closed = Promise.resolve(iterator.return?.()).catch(() => undefined)
      if (!signal.aborted) await closed
    }
  }
}

/**
 * Memory for parts that is used again: made anew for each object, it had the collector run all the time. What lies here
 * idle is the collector's to take.
 */
export class PartBuffers {
  readonly partBytes: number
  #idle: WeakRef<ArrayBufferLike>[] = []

  constructor(partBytes: number) {
    this.partBytes = partBytes
  }

  take(): Buffer {
    for (;;) {
      const idle = this.#idle.pop()
      if (idle === undefined) return Buffer.allocUnsafeSlow(this.partBytes)
      const memory = idle.deref()
      if (memory !== undefined) return Buffer.from(memory)
    }
  }

  /** `part` lies in what was taken, from its beginning on, and nobody reads it any more: nothing that was cut short, either. */
  give(part: Uint8Array): void {
    this.#idle.push(new WeakRef(part.buffer))
  }
}

export interface Part {
  /** In a buffer of its own, which whoever has used it up gives back. */
  readonly bytes: Uint8Array
  readonly last: boolean
}

/** The same bytes in parts that fill a buffer, and a last one of 0 bytes to a full buffer. */
export async function* partsOf(
  body: AsyncIterable<Uint8Array>,
  buffers: PartBuffers,
  signal: AbortSignal,
): AsyncGenerator<Part, void, undefined> {
  const { partBytes } = buffers
  let buffer = buffers.take()
  let filled = 0
  for await (const chunk of chunksOf(body, signal)) {
    for (let taken = 0; taken < chunk.length; ) {
      // A full part waits for a further byte, which proves that it is not the last.
      if (filled === partBytes) {
        yield { bytes: buffer, last: false }
        buffer = buffers.take()
        filled = 0
      }
      const bytes = Math.min(partBytes - filled, chunk.length - taken)
      copyInto(buffer, filled, chunk.subarray(taken, taken + bytes))
      filled += bytes
      taken += bytes
    }
  }
  yield { bytes: buffer.subarray(0, filled), last: true }
}
