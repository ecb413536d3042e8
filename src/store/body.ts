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

export interface Part {
  /** Valid until the next part is asked for: all parts share one buffer. */
  readonly bytes: Uint8Array
  readonly last: boolean
}

/** The same bytes in parts of exactly `partBytes`, and a last one of 0 to `partBytes` bytes. */
export async function* partsOf(
  body: AsyncIterable<Uint8Array>,
  partBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Part, void, undefined> {
  const buffer = Buffer.allocUnsafeSlow(partBytes)
  let filled = 0
  for await (const chunk of chunksOf(body, signal)) {
    for (let taken = 0; taken < chunk.length; ) {
      // A full part waits for a further byte, which proves that it is not the last.
      if (filled === partBytes) {
        yield { bytes: buffer, last: false }
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
