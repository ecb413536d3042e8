/**
 * zstd as node:zlib has it from Node.js 22.15 on. The types of Node.js 20 do not know it, so it is looked for by name.
 */
import type { Transform } from 'node:stream'
import zlib from 'node:zlib'
import type { Decompressor } from './through.ts'

const checksumFlag = 201 // ZSTD_c_checksumFlag, zstd.h

interface NativeZstd {
  createZstdCompress(options: { readonly params: Readonly<Record<number, number>> }): Transform
  createZstdDecompress(): Decompressor
}

/** Null on an older Node.js. */
export function nativeZstd(): NativeZstd | null {
  const found: object = zlib
  return hasZstd(found) ? found : null
}

function hasZstd(found: object): found is NativeZstd {
  return 'createZstdCompress' in found && 'createZstdDecompress' in found
}

/** One frame with a content checksum, level 3. */
export function createCompressor(zstd: NativeZstd): Transform {
  return zstd.createZstdCompress({ params: { [checksumFlag]: 1 } })
}
