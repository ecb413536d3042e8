import { createGunzip } from 'node:zlib'
import { through, zlibOptions } from './through.ts'

/** Reads gzip, also several members in a row. Each member has a checksum of its content. */
export async function* decodeGz(source: AsyncIterable<Uint8Array>, key: string): AsyncGenerator<Uint8Array, boolean> {
  yield* through(source, key, createGunzip(zlibOptions))
  return true
}
