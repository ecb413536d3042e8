/**
 * zstd as node:zlib has it from Node.js 22.15 on. The types of Node.js 20 do not know it, so it is looked for by name.
 */
import type { Transform } from 'node:stream'
import zlib from 'node:zlib'
import { type Decompressor, zlibOptions } from './through.ts'

const checksumFlag = 201 // ZSTD_c_checksumFlag, zstd.h

interface CompressorOptions {
  readonly chunkSize: number
  readonly writableHighWaterMark: number
  readonly params: Readonly<Record<number, number>>
}

interface NativeZstd {
  createZstdCompress(options: CompressorOptions): Transform
  createZstdDecompress(options: typeof zlibOptions): Decompressor
}

/** Null on an older Node.js. */
export function nativeZstd(): NativeZstd | null {
  const found: object = zlib
  return hasZstd(found) ? found : null
}

function hasZstd(found: object): found is NativeZstd {
  return 'createZstdCompress' in found && 'createZstdDecompress' in found
}

/** One frame with a content checksum, level 3. Whoever waits for its 'drain' may use the piece again that it was given. */
export function createCompressor(zstd: NativeZstd): Transform {
  // Any piece fills its queue, so none waits in it while another one is being read.
  return zstd.createZstdCompress({ ...zlibOptions, writableHighWaterMark: 1, params: { [checksumFlag]: 1 } })
}
