import type { FileHandle } from 'node:fs/promises'

/**
 * What is written at once. For a write Linux takes memory in pieces of up to its size (large folios): those of 512 KiB and 1 MiB
 * are rarely at hand, and cost up to four times as much CPU time as those of 256 KiB (ext4, 6.18, a virtual machine). Node.js'
 * own writeFile writes 512 KiB at once.
 */
const writeBytes = 256 * 1024

/** Writes all of a piece where the file's last write ended. */
export async function writeAll(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.length; ) {
    at += (await file.write(piece, at, Math.min(writeBytes, piece.length - at), null)).bytesWritten
  }
}
