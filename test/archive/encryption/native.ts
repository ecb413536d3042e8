/**
 * libsodium by another binding, with WAL-G's chunks: what one writes the other one has to read. sodium-native brings no
 * types.
 */
import { createRequire } from 'node:module'

interface Sodium {
  readonly crypto_secretstream_xchacha20poly1305_STATEBYTES: number
  crypto_secretstream_xchacha20poly1305_init_push(state: Buffer, header: Buffer, key: Uint8Array): void
  crypto_secretstream_xchacha20poly1305_push(
    state: Buffer,
    chunk: Buffer,
    message: Uint8Array,
    ad: null,
    tag: number,
  ): number
  crypto_secretstream_xchacha20poly1305_init_pull(state: Buffer, header: Uint8Array, key: Uint8Array): void
  crypto_secretstream_xchacha20poly1305_pull(
    state: Buffer,
    message: Buffer,
    tag: Buffer,
    chunk: Uint8Array,
    ad: null,
  ): number
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its documentation says so
const sodium = createRequire(import.meta.url)('sodium-native') as Sodium

export const tags = { message: 0, push: 1, rekey: 2, final: 3 } as const
export type Tag = (typeof tags)[keyof typeof tags]

export interface Chunk {
  readonly message: Uint8Array
  readonly tag: Tag
}

/** Any chunks with any tags. */
export function sealChunks(chunks: readonly Chunk[], key: Uint8Array): Buffer {
  const state = Buffer.alloc(sodium.crypto_secretstream_xchacha20poly1305_STATEBYTES)
  const header = Buffer.alloc(24)
  sodium.crypto_secretstream_xchacha20poly1305_init_push(state, header, key)
  const parts = [header]
  for (const { message, tag } of chunks) {
    const chunk = Buffer.alloc(message.length + 17)
    sodium.crypto_secretstream_xchacha20poly1305_push(state, chunk, message, null, tag)
    parts.push(chunk)
  }
  return Buffer.concat(parts)
}

/** As WAL-G's writer does: full chunks of 8192 bytes, and a last one that is shorter, or empty. */
export function sealLikeWalG(plain: Uint8Array, key: Uint8Array): Buffer {
  const chunks: Chunk[] = []
  let at = 0
  for (; plain.length - at >= 8192; at += 8192)
    chunks.push({ message: plain.subarray(at, at + 8192), tag: tags.message })
  return sealChunks([...chunks, { message: plain.subarray(at), tag: tags.final }], key)
}

/** As WAL-G's reader does: chunks of 8209 bytes, and FINAL only in one that is shorter. Throws for anything else. */
export function openLikeWalG(bytes: Uint8Array, key: Uint8Array): Buffer {
  const state = Buffer.alloc(sodium.crypto_secretstream_xchacha20poly1305_STATEBYTES)
  sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, bytes.subarray(0, 24), key)
  const parts: Buffer[] = []
  for (let at = 24; at < bytes.length; at += 8209) {
    const chunk = bytes.subarray(at, at + 8209)
    const message = Buffer.alloc(chunk.length - 17)
    const tag = Buffer.alloc(1)
    sodium.crypto_secretstream_xchacha20poly1305_pull(state, message, tag, chunk, null)
    const isLast = at + 8209 > bytes.length
    if (tag.readUInt8() !== (isLast ? tags.final : tags.message))
      throw new Error(`tag ${tag.readUInt8()} at byte ${at}`)
    parts.push(message)
  }
  return Buffer.concat(parts)
}
