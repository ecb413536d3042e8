import xxhash, { type XXHashAPI } from 'xxhash-wasm'

let loading: Promise<XXHashAPI> | undefined

/** The checksums of LZ4 (32 bits) and zstd (64 bits). Compiled once, at the first call. */
export function loadXxhash(): Promise<XXHashAPI> {
  loading ??= xxhash()
  return loading
}
