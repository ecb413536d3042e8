/**
 * libsodium's secretstream, as libsodium-wrappers has it. Loaded at the first call: that takes some 50 ms, and only those
 * who have a key need it.
 */
import type { EncryptionKey } from './key.ts'

/** What a chunk grows by. */
export const tagBytes = 17
export const headerBytes = 24

export const messageTag = 0
export const finalTag = 3

/** One stream, in one direction. To be freed. */
interface Stream {
  free(): void
}

export interface Sealing extends Stream {
  readonly header: Uint8Array
  seal(chunk: Uint8Array, tag: number): Uint8Array
}

export interface Opening extends Stream {
  /** Null if it is not what was sealed at this place of the stream. */
  open(chunk: Uint8Array): { readonly message: Uint8Array; readonly tag: number } | null
}

/** What we use of it. Its own types have the state as an object, and know nothing of `libsodium`, the memory below. */
interface Wrappers {
  readonly ready: Promise<void>
  readonly libsodium: { _free(state: number): void }
  crypto_secretstream_xchacha20poly1305_init_push(key: Uint8Array): { state: number; header: Uint8Array }
  crypto_secretstream_xchacha20poly1305_push(state: number, message: Uint8Array, ad: null, tag: number): Uint8Array
  crypto_secretstream_xchacha20poly1305_init_pull(header: Uint8Array, key: Uint8Array): number
  crypto_secretstream_xchacha20poly1305_pull(
    state: number,
    chunk: Uint8Array,
    ad: null,
  ): { message: Uint8Array; tag: number } | false
}

async function load(): Promise<Wrappers> {
  const module: unknown = (await import('libsodium-wrappers')).default
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above; the tests hold it against sodium-native
  const sodium = module as Wrappers
  await sodium.ready
  return sodium
}

export async function startSealing(key: EncryptionKey): Promise<Sealing> {
  const sodium = await load()
  const { state, header } = sodium.crypto_secretstream_xchacha20poly1305_init_push(key.bytes())
  return {
    header,
    seal: (chunk, tag) => sodium.crypto_secretstream_xchacha20poly1305_push(state, chunk, null, tag),
    free: () => sodium.libsodium._free(state),
  }
}

export async function startOpening(key: EncryptionKey, header: Uint8Array): Promise<Opening> {
  const sodium = await load()
  const state = sodium.crypto_secretstream_xchacha20poly1305_init_pull(header, key.bytes())
  return {
    open: (chunk) => sodium.crypto_secretstream_xchacha20poly1305_pull(state, chunk, null) || null,
    free: () => sodium.libsodium._free(state),
  }
}
