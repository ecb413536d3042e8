/**
 * Plain bytes that can be read, and written, at any position: a file, or memory. An archive is filled from them and read
 * into them; a segment of 1 GB never has to lie in memory.
 */
import type { FileHandle } from 'node:fs/promises'
import { WalferryError } from '../kit/errors.ts'

export interface ReadableAt {
  /** Fills `target` wholly with the bytes from `position` on. Rejects if they end before. */
  read(target: Uint8Array, position: number): Promise<void>
}

export interface WritableAt extends ReadableAt {
  /** Writes all of `bytes` at `position`. */
  write(bytes: Uint8Array, position: number): Promise<void>
}

/** `path` is for messages. The file stays the caller's to sync and to close. */
export function fileAt(file: FileHandle, path: string): WritableAt {
  return {
    async read(target, position) {
      for (let done = 0; done < target.length; ) {
        const { bytesRead } = await file.read(target, done, target.length - done, position + done)
        if (bytesRead === 0) throw tooShort(path, position + target.length)
        done += bytesRead
      }
    },
    async write(bytes, position) {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
        done += bytesWritten
      }
    },
  }
}

export function memoryAt(memory: Uint8Array): WritableAt {
  return {
    read(target, position) {
      if (position + target.length > memory.length) {
        return Promise.reject(tooShort('the memory given', position + target.length))
      }
      target.set(memory.subarray(position, position + target.length))
      return Promise.resolve()
    },
    write(bytes, position) {
      memory.set(bytes, position)
      return Promise.resolve()
    },
  }
}

const pieceBytes = 256 * 1024 // a block of LZ4: the encoder takes it as it is

/**
 * The bytes [from, to), in order, in pieces that stay untouched once given out; or, with `reuse`, until the next one is
 * asked for.
 */
export async function* piecesOf(
  source: ReadableAt,
  from: number,
  to: number,
  reuse = false,
): AsyncGenerator<Uint8Array> {
  const memory = reuse ? Buffer.allocUnsafeSlow(Math.min(pieceBytes, to - from)) : null
  for (let at = from; at < to; at += pieceBytes) {
    const bytes = Math.min(pieceBytes, to - at)
    const piece = memory?.subarray(0, bytes) ?? Buffer.allocUnsafeSlow(bytes)
    await source.read(piece, at)
    yield piece
  }
}

export function tooShort(name: string, wanted: number): WalferryError {
  return new WalferryError('BAD_INPUT', `${name} ends before byte ${wanted}`, { fields: { name, wanted } })
}
