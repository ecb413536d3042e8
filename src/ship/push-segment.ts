/** Pushes what holds WAL: a complete segment under its own name, anything else as a `.partial`. */
import { createHash } from 'node:crypto'
import { piecesOf } from '../archive/bytes-at.ts'
import { oddPartialKey, walKey } from '../archive/keys.ts'
import { coveredBytes } from '../archive/tail.ts'
import { deposit } from './deposit.ts'
import { carrierFor, claim, conflict, type Pushed, type PushRequest } from './push-request.ts'
import { type SegmentFile, withFile } from './push-source.ts'
import { Record } from './record.ts'

/**
 * A segment that is complete. The same steps as a receiver's, in the same order: chunks that hold other WAL are told
 * before the segment is stored, and those that are equal are deleted after.
 */
export async function pushSegment(
  request: PushRequest,
  file: SegmentFile,
  name: string,
  signal: AbortSignal,
): Promise<Pushed> {
  const { segment, cluster } = file
  await claim(request, cluster, signal)
  const carrier = carrierFor(request, request.path, cluster.segmentBytes)
  const record = new Record()
  await carrier.findChunks({ segment, syncedBytes: cluster.segmentBytes, left: false }, record, signal)
  if (await isPaddedTail(request, file, record)) {
    return await pushIncomplete(request, file, name, "it ends in zeros from where the archive's tail ends", signal)
  }
  const whole = { segment, name, record }
  const found = await carrier.findSegments([whole], signal)
  const key = await carrier.putSegment(segment, found.get(name) ?? [], signal)
  const chunks = await carrier.listChunks([whole], signal)
  await carrier.deleteChunks(whole, chunks.get(name) ?? [], signal)
  return { key, warnings: [] }
}

/**
 * Whether a segment that looks complete is but the archive's own tail of it, padded. That can be where the tail ends
 * within a record that runs past the segment's end.
 */
async function isPaddedTail(request: PushRequest, file: SegmentFile, record: Record): Promise<boolean> {
  const { segmentBytes } = file.cluster
  const covered = coveredBytes(record.chunks ?? [], segmentBytes)
  if (file.state.kind !== 'complete' || !file.state.runsOn || covered === 0 || covered === segmentBytes) return false
  return await withFile(request.path, async (plain) => {
    for await (const piece of piecesOf(plain, covered, segmentBytes)) {
      if (piece.some((byte) => byte !== 0)) return false
    }
    return true
  })
}

/** A segment that is not complete is kept as a `.partial`, and told. `why` is a clause of its own. */
export async function pushIncomplete(
  request: PushRequest,
  file: SegmentFile,
  name: string,
  why: string,
  signal: AbortSignal,
): Promise<Pushed> {
  const { key, warnings } = await pushPartial(request, file, name, signal)
  const told = `${request.path} is not complete (${why}): it was not stored under its own name, but as ${key}`
  return { key, warnings: [told, ...warnings] }
}

/**
 * A `.partial` holds anything behind its last record, so two of one name cannot be compared: both are kept. `name` is the
 * segment's.
 */
export async function pushPartial(
  request: PushRequest,
  file: SegmentFile,
  name: string,
  signal: AbortSignal,
): Promise<Pushed> {
  const { archive, path } = request
  await claim(request, file.cluster, signal)
  // Without an extension, its key would be that of a segment to WAL-G.
  const codec = request.codec === 'none' ? 'lz4' : request.codec
  return await withFile(path, async (plain, bytes) => {
    const first = await deposit(archive, { name: walKey(`${name}.partial`, 'none'), plain, bytes, codec }, signal)
    if (first.outcome !== 'other') return { key: first.key, warnings: [] }
    const hash = createHash('sha256')
    for await (const piece of piecesOf(plain, 0, bytes)) hash.update(piece)
    const odd = oddPartialKey(name, hash.digest('hex'), 'none')
    const second = await deposit(archive, { name: odd, plain, bytes, codec }, signal)
    if (second.outcome === 'other') throw conflict(request, second.key)
    const warning = `${first.key} holds other content than ${path}, which lies at ${second.key}`
    return { key: second.key, warnings: [warning] }
  })
}
