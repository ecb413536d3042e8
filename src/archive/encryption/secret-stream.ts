/**
 * How an object is encrypted, after its compression: as WAL-G does with libsodium, so that either reads what the other
 * wrote (libsodium's documentation, "Encrypted streams and file encryption": XChaCha20-Poly1305).
 *
 *     24 bytes                      header, random
 *     8192 + 17 bytes               a chunk with the tag MESSAGE, any number of them
 *     0 to 8191 + 17 bytes          the last chunk, with the tag FINAL
 *
 * Each chunk vouches for all before it, and FINAL for the end. So no byte is ever given out that was not encrypted at its
 * place, and an object that was cut, or added to, ends with an error. But the object's key is no part of it: what lies
 * under the key of another object is read as what it was.
 *
 * In the event loop, which is free again after each 64 KiB (0.6 ms to encrypt, 0.3 ms to decrypt).
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { WalferryError } from '../../kit/errors.ts'
import { ByteReader } from '../codecs/byte-reader.ts'
import { damaged } from '../damaged.ts'
import type { EncryptionKey } from './key.ts'
import { notOfThisKey } from './mismatch.ts'
import {
  finalTag,
  headerBytes,
  messageTag,
  type Opening,
  type Sealing,
  startOpening,
  startSealing,
  tagBytes,
} from './sodium.ts'

const chunkBytes = 8192
const chunksAtOnce = 8

/** Memory: 64 KiB twice, and a piece of `plain`. */
export async function* encrypt(
  plain: AsyncIterable<Uint8Array>,
  secret: EncryptionKey,
): AsyncGenerator<Uint8Array, void> {
  const stream = await startSealing(secret)
  try {
    yield stream.header
    const gathered = Buffer.allocUnsafe(chunksAtOnce * chunkBytes)
    let bytes = 0
    for await (const piece of plain) {
      for (let at = 0; at < piece.length; ) {
        const part = piece.subarray(at, at + gathered.length - bytes)
        gathered.set(part, bytes)
        at += part.length
        bytes += part.length
        if (bytes < gathered.length) continue
        yield sealed(stream, gathered)
        bytes = 0
        await nextTurn()
      }
    }
    const last = bytes - (bytes % chunkBytes)
    yield Buffer.concat([
      sealed(stream, gathered.subarray(0, last)),
      stream.seal(gathered.subarray(last, bytes), finalTag),
    ])
  } finally {
    stream.free()
  }
}

/** Whole chunks. */
function sealed(stream: Sealing, plain: Uint8Array): Uint8Array {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < plain.length; at += chunkBytes) {
    chunks.push(stream.seal(plain.subarray(at, at + chunkBytes), messageTag))
  }
  return Buffer.concat(chunks)
}

/**
 * What lies under `key`, decrypted. Throws ENCRYPTION_KEY if not even its first chunk can be, ARCHIVE_DAMAGED for whatever
 * is wrong behind that.
 */
export async function* decrypt(
  source: AsyncIterable<Uint8Array>,
  key: string,
  secret: EncryptionKey,
): AsyncGenerator<Uint8Array, void> {
  const reader = new ByteReader(source, key)
  let stream: Opening | null = null
  try {
    const header = await reader.takeUpTo(headerBytes)
    if (header.length < headerBytes) throw damaged(key, header.length === 0 ? 'is empty' : 'is cut')
    stream = await startOpening(secret, header)
    let plain: Uint8Array[] = []
    for (let isFirst = true, isDone = false; !isDone; isFirst = false) {
      const chunk = await reader.takeUpTo(chunkBytes + tagBytes)
      const opened = chunk.length < tagBytes ? null : stream.open(chunk)
      if (opened === null) throw isFirst ? notOfThisKey(key, header) : unreadable(key, chunk)
      isDone = opened.tag === finalTag
      if (!isDone && opened.tag !== messageTag) throw damaged(key, 'has a chunk that the format forbids')
      plain.push(opened.message)
      if (!isDone && plain.length < chunksAtOnce) continue
      yield Buffer.concat(plain)
      plain = []
      await nextTurn()
    }
    if (!(await reader.atEnd())) throw damaged(key, 'has other bytes behind its end')
  } finally {
    stream?.free()
    await reader.close()
  }
}

function unreadable(key: string, chunk: Uint8Array): WalferryError {
  return damaged(key, chunk.length === 0 ? 'is cut: the end of its encryption is missing' : 'is cut, or was changed')
}
