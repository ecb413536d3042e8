/**
 * Pushes a history file, or the note of a backup: small texts that are never replaced by others.
 *
 * Before a timeline's history file is in the archive, the beginning of its first segment has to be. PostgreSQL archives the
 * history file at once, and the segment when it is full. In between, a recovering server would see the new timeline and
 * find nothing on it: it would replay what the old one has beyond the fork, which is a lost branch. So the bytes before the
 * fork, which the server has copied from the old timeline and synced, go first, as a chunk. The whole segment takes its
 * place later.
 */
import { basename, dirname, join } from 'node:path'
import { memoryAt } from '../archive/bytes-at.ts'
import type { ClusterIdentity } from '../archive/identity.ts'
import { walKey } from '../archive/keys.ts'
import { coveredBytes } from '../archive/tail.ts'
import { WalferryError } from '../kit/errors.ts'
import { forkOf, type TimelineHistory } from '../wal/history.ts'
import { offsetIn, segmentName, segnoOf } from '../wal/segment.ts'
import { deposit, type Content, lookFor } from './deposit.ts'
import { carrierFor, claim, conflict, type Pushed, type PushRequest } from './push-request.ts'
import { clusterBeside, isSegmentThere } from './push-source.ts'
import { Record } from './record.ts'

/** @param history what the note says, if it is a history file. */
export async function pushNote(
  request: PushRequest,
  note: Buffer,
  history: TimelineHistory | null,
  signal: AbortSignal,
): Promise<Pushed> {
  const { archive, codec, path } = request
  const cluster = await clusterBeside(path)
  if (cluster === null) {
    throw new WalferryError('BAD_INPUT', `${path}: no segment lies beside it that says whose it is`, {
      hint: 'Push it from the pg_wal that it belongs to.',
    })
  }
  await claim(request, cluster, signal)
  const name = walKey(basename(path), 'none')
  const content: Content = { name, plain: memoryAt(note), bytes: note.length, codec }
  let done = await lookFor(archive, content, signal)
  if (done === null) {
    if (history !== null) await pushBirth(request, history, cluster, signal)
    done = await deposit(archive, content, signal)
  }
  if (done.outcome === 'other') throw conflict(request, done.key)
  return { key: done.key, warnings: [] }
}

async function pushBirth(
  request: PushRequest,
  history: TimelineHistory,
  cluster: ClusterIdentity,
  signal: AbortSignal,
): Promise<void> {
  const fork = forkOf(history)
  const { segmentBytes } = cluster
  const bytes = fork === null ? 0 : offsetIn(fork.switchPoint, segmentBytes)
  if (fork === null || bytes === 0) return
  const segment = { timeline: history.timeline, segno: segnoOf(fork.switchPoint, segmentBytes) }
  const name = segmentName(segment, segmentBytes)
  const path = join(dirname(request.path), name)
  // A standby that only follows the timeline may have its history file alone.
  if (!(await isSegmentThere(path, segment, cluster))) return
  if ((await request.archive.findSegment(name, { signal })).length > 0) return
  const carrier = carrierFor(request, path, segmentBytes)
  const record = new Record()
  await carrier.findChunks({ segment, syncedBytes: bytes, left: false }, record, signal)
  // A receiver has come further, or as far.
  if (record.chunks === null || coveredBytes(record.chunks, segmentBytes) >= bytes) return
  await carrier.putChunk(segment, record, 0, bytes, signal)
}
