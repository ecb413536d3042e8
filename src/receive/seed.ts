/**
 * Brings the archive's tail back into the spool, for a receiver that starts with an empty spool or an old one: the
 * tail's bytes go through the spool as a stream would, and what the server streams again is then compared with them.
 */
import { open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import { fileAt, piecesOf, type WritableAt } from '../archive/bytes-at.ts'
import { systemCode, WalferryError } from '../kit/errors.ts'
import { spoolError } from '../spool/spool-error.ts'
import type { Spool, SpoolListener } from '../spool/spool.ts'
import { bytesBetween } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { offsetIn, segmentName, segmentStart, segnoOf } from '../wal/segment.ts'

/**
 * Resolves once the spool holds the tail up to `place`, synced. A place on a segment boundary has no tail. Throws
 * SPOOL_CONFLICT if the spool holds other bytes, SPOOL_FAILED if its disk fails, STORE_FAILED if the tail has changed.
 */
export async function seedSpool(
  spool: Spool,
  folder: string,
  archive: Archive,
  place: Place,
  signal: AbortSignal,
): Promise<void> {
  if (offsetIn(place.lsn, spool.segmentBytes) === 0) return
  const segment = { timeline: place.timeline, segno: segnoOf(place.lsn, spool.segmentBytes) }
  const start = segmentStart(segment.segno, spool.segmentBytes)
  const name = segmentName(segment, spool.segmentBytes)
  // A crash leaves this file behind: the next seeding begins it anew, and nobody else takes it for a segment.
  const path = join(folder, 'tail-from-archive')
  try {
    const file = await open(path, 'w+', 0o600)
    try {
      const tail = fileAt(file, path)
      const read = await archive.readTail(name, spool.segmentBytes, tail, { signal })
      const bytes = bytesBetween(start, place.lsn)
      if (read.found === 'whole' || read.bytes < bytes) {
        throw new WalferryError('STORE_FAILED', `the tail of ${name} changed while it was read`, {
          retryable: true,
          hint: 'Another receiver ships into this archive. It goes on by itself when that one stops.',
        })
      }
      await feed(spool, place.timeline, start, tail, bytes)
    } finally {
      await file.close()
      await unlink(path)
    }
  } catch (error) {
    // The store's errors are its own already; the others are the disk's, or the signal's reason.
    throw systemCode(error) === undefined ? error : spoolError(error, `bring the tail of ${name} back into ${folder}`)
  }
}

async function feed(
  spool: Spool,
  timeline: number,
  start: Place['lsn'],
  tail: WritableAt,
  bytes: number,
): Promise<void> {
  const listener = new SeedListener()
  await spool.beginStream(timeline, start, listener)
  for await (const piece of piecesOf(tail, 0, bytes)) {
    spool.append(Buffer.from(piece.buffer, piece.byteOffset, piece.length))
    spool.batchEnd()
    await spool.settle()
    if (listener.failure !== null) throw listener.failure
  }
}

class SeedListener implements SpoolListener {
  failure: WalferryError | null = null

  progress(): void {}
  hasRoom(): void {}

  failed(error: WalferryError): void {
    this.failure = error
  }
}
