/**
 * Reads zstd: any number of frames, with skippable frames between them.
 *
 * The frames are walked here (`zst-frame.ts`), because the walk tells whether a checksum covers the content, finds
 * bytes behind the end, and hands the decoder one block of at most 128 KiB at a time. The blocks are decoded by
 * node:zlib where it can, else by fzstd, which checks no sum: so it is checked here for both.
 */
import { Decompress } from 'fzstd'
import vm from 'node:vm'
import { damaged, notOfItsFormat } from '../damaged.ts'
import { ByteReader } from './byte-reader.ts'
import { isSkippable } from './lz4-frame.ts'
import { through, zlibOptions } from './through.ts'
import { readZstHeader, type ZstFrame, zstBlocks, zstMagic } from './zst-frame.ts'
import { nativeZstd } from './zst-native.ts'
import { loadXxhash } from './xxhash.ts'

/** Decodes one whole frame. */
export type FrameDecoder = (frame: AsyncIterable<Uint8Array>, key: string) => AsyncIterable<Uint8Array>

/** Returns whether a checksum covered all of the content. */
export async function* decodeZst(
  source: AsyncIterable<Uint8Array>,
  key: string,
  decoder: FrameDecoder = nativeDecoder() ?? fzstdDecoder(),
): AsyncGenerator<Uint8Array, boolean> {
  const reader = new ByteReader(source, key)
  let frames = 0
  let checked = true
  try {
    while (!(await reader.atEnd())) {
      const magic = (await reader.take(4)).readUInt32LE()
      if (isSkippable(magic)) {
        await reader.skip((await reader.take(4)).readUInt32LE())
        continue
      }
      if (magic !== zstMagic) {
        throw frames === 0 ? notOfItsFormat(key, 'zstd') : damaged(key, 'has other bytes behind its last zstd frame')
      }
      const frame = await readZstHeader(reader)
      yield* content(reader, frame, decoder)
      checked &&= frame.contentChecksum
      frames++
    }
  } finally {
    await reader.close()
  }
  if (frames === 0) throw damaged(key, 'is empty')
  return checked
}

async function* content(reader: ByteReader, frame: ZstFrame, decoder: FrameDecoder): AsyncGenerator<Uint8Array, void> {
  const sum = (await loadXxhash()).create64()
  let stored: Buffer | null = null
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield frame.header
    yield* zstBlocks(reader)
    if (!frame.contentChecksum) return
    stored = await reader.take(4)
    yield stored
  }
  let bytes = 0
  for await (const piece of decoder(pieces(), reader.key)) {
    if (frame.contentChecksum) sum.update(piece)
    bytes += piece.length
    yield piece
  }
  if (frame.contentChecksum && lowHalf(stored) !== (sum.digest() & 0xffffffffn)) {
    throw damaged(reader.key, 'does not match its checksum')
  }
  if (frame.contentBytes !== null && frame.contentBytes !== BigInt(bytes)) {
    throw damaged(reader.key, `holds ${bytes} bytes and says ${frame.contentBytes}`)
  }
}

function lowHalf(checksum: Buffer | null): bigint | null {
  return checksum === null ? null : BigInt(checksum.readUInt32LE())
}

/** node:zlib, in the thread pool. Null on an older Node.js. */
export function nativeDecoder(): FrameDecoder | null {
  const zstd = nativeZstd()
  return zstd === null ? null : (frame, key) => through(frame, key, zstd.createZstdDecompress(zlibOptions))
}

const blockLimitMs = 10_000 // a block takes 2 ms; on a machine that swaps, far more

/**
 * fzstd, in the event loop, 60 MB/s with the 8 MiB window that WAL-G uses. On damaged input it can run for ever (a
 * Huffman table of one weight is enough): the watchdog of node:vm ends it.
 */
export function fzstdDecoder(limitMs: number = blockLimitMs): FrameDecoder {
  return async function* decode(frame, key) {
    let plain: Uint8Array[] = []
    const decompress = new Decompress((piece) => plain.push(piece))
    let push: () => void
    const context = vm.createContext({ run: () => push() })
    const decodePiece = (piece: Uint8Array, last: boolean): readonly Uint8Array[] => {
      plain = []
      push = () => decompress.push(piece, last)
      try {
        guarded.runInContext(context, { timeout: limitMs })
      } catch (error) {
        throw damaged(key, 'cannot be decompressed', error)
      }
      return plain
    }
    for await (const piece of frame) yield* decodePiece(piece, false)
    yield* decodePiece(new Uint8Array(0), true)
  }
}

const guarded = new vm.Script('run()')
