/** Bytes as a store gives them: cut anywhere. */
import { isError } from '../../src/kit/errors.ts'
import type { Random } from '../support/random.ts'

/** The bytes in pieces of `pieceBytes`. */
export async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    yield bytes.subarray(at, at + pieceBytes)
    await Promise.resolve()
  }
}

/** The bytes in pieces of random lengths, empty ones among them. */
export async function* inRandomPieces(bytes: Uint8Array, random: Random): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const next = at + random.below(random.pick([2, 20, 2000, bytes.length + 1]))
    yield bytes.subarray(at, next)
    at = next
    await Promise.resolve()
  }
}

export async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const piece of pieces) parts.push(Buffer.from(piece))
  return Buffer.concat(parts)
}

/** Some bytes, and then an error instead of the rest. */
export async function* failingAfter(bytes: Uint8Array, message: string): AsyncGenerator<Uint8Array> {
  yield bytes
  await Promise.resolve()
  throw new Error(message)
}

/** What a decoder returns at its end. */
export async function resultOf<T>(decoded: AsyncGenerator<Uint8Array, T>): Promise<T> {
  for (;;) {
    const next = await decoded.next()
    if (next.done === true) return next.value
  }
}

/** The bytes with those of `mask` flipped at one place. */
export function flipped(bytes: Uint8Array, at: number, mask: number): Buffer {
  const other = Buffer.from(bytes)
  other.writeUInt8((other.at(at) ?? 0) ^ mask, at)
  return other
}

/** Bytes that compress about as WAL does: random ones between runs of zeros. */
export function likeWal(bytes: number, random: Random): Buffer {
  const plain = Buffer.alloc(bytes)
  for (let at = 0; at < bytes; at += 64) plain.writeUInt32LE(random.below(2 ** 32), Math.min(at, bytes - 4))
  return plain
}

/** What the promise gives, or null if it rejects with ARCHIVE_DAMAGED. Any other error is thrown on. */
export async function unlessDamaged(promise: Promise<Buffer>): Promise<Buffer | null> {
  try {
    return await promise
  } catch (error) {
    if (isError(error, 'ARCHIVE_DAMAGED')) return null
    throw error
  }
}
