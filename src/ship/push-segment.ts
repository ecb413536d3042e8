/** Pushes what holds WAL: a complete segment under its own name, anything else as a `.partial`. */
import { createHash } from 'node:crypto'
import { piecesOf } from '../archive/bytes-at.ts'
import { oddPartialKey, walKey } from '../archive/keys.ts'
import { deposit } from './deposit.ts'
import { carrierFor, claim, conflict, type Pushed, type PushRequest } from './push-request.ts'
import { type SegmentFile, withFile } from './push-source.ts'
import { Record } from './record.ts'

/**
 * The same steps as a receiver's, in the same order: chunks with other WAL are told before the segment is stored, and are
 * deleted, where they are equal, after.
 */
export async function pushSegment(request: PushRequest, file: SegmentFile, signal: AbortSignal): Promise<Pushed> {
  const { segment, cluster } = file
  await claim(request, cluster, signal)
  const carrier = carrierFor(request, request.path, cluster.segmentBytes)
  const record = new Record()
  await carrier.findChunks(segment, record, cluster.segmentBytes, signal)
  const key = await carrier.putSegment(segment, signal)
  await carrier.deleteChunks(segment, record, signal)
  return { key, warnings: [] }
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
