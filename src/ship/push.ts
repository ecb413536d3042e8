/**
 * `push`: one file of a server's pg_wal into the archive, beside a receiver or instead of it, in the same layout.
 *
 * | file | key | other content is there |
 * |---|---|---|
 * | segment | `wal_005/<24 HEX>.<ext>`, if it is complete | refused |
 * | segment that is not complete | as a `.partial`, and told | as a `.partial` |
 * | `.partial` | `wal_005/<24 HEX>.partial.<ext>`, always compressed | `walferry_001/partial/...`, and told |
 * | `.history`, `.backup` | `wal_005/<name>.<ext>` | refused |
 *
 * A `.partial` holds anything behind its last record, so two of one name are not comparable, and both are kept. A segment
 * under its own name, though, is the end of a question: a recovering server takes all of it.
 *
 * Pushing again what is there changes nothing. What was pushed by half, by a crash or an outage, is pushed again.
 */
import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import { memoryAt, piecesOf } from '../archive/bytes-at.ts'
import type { WritableCodec } from '../archive/codec-name.ts'
import type { ClusterIdentity } from '../archive/identity.ts'
import { oddPartialKey, walKey } from '../archive/keys.ts'
import { claimArchive } from '../archive/owner.ts'
import { WalferryError } from '../kit/errors.ts'
import { type Backoff, retry } from '../kit/retry.ts'
import { parseHistory } from '../wal/history.ts'
import { Carrier } from './carrier.ts'
import { deposit } from './deposit.ts'
import { parseWalFileName } from './push-name.ts'
import {
  clusterBeside,
  damaged,
  openFile,
  readNote,
  readSegmentFile,
  type SegmentFile,
  withFile,
} from './push-source.ts'
import { Record } from './record.ts'

export interface PushRequest {
  readonly archive: Archive
  /** The file, as archive_command's %p has it; its last part is its name. */
  readonly path: string
  readonly codec: WritableCodec
}

export interface Pushed {
  /** Where it lies now. */
  readonly key: string
  /** What a person should know, although nothing is lost: sentences. */
  readonly warnings: readonly string[]
}

/** An outage of this length is bridged. PostgreSQL bridges longer ones: it keeps the file and calls again. */
const retryForMs = 3000
const backoff: Backoff = { firstMs: 200, maxMs: 1000 }

/**
 * Resolves only once the file is durable in the archive. Throws BAD_INPUT and WAL_DAMAGED before the store was touched;
 * ARCHIVE_CONFLICT, ARCHIVE_FOREIGN, and what the store refuses.
 */
export async function pushFile(request: PushRequest, signal: AbortSignal): Promise<Pushed> {
  const name = parseWalFileName(basename(request.path))
  if (name.kind === 'history' || name.kind === 'backup') {
    const note = await readNote(request.path)
    if (name.kind === 'history') checkHistory(request.path, name.timeline, note)
    return await bridged(() => pushNote(request, note, signal), signal)
  }
  const file = await readSegmentFile(request.path, name.segment)
  const { state } = file
  if (name.kind === 'partial') return await bridged(() => pushPartial(request, file, name.segment, signal), signal)
  if (state.kind === 'damaged') throw damaged(request.path, state.reason)
  if (state.kind === 'complete') return await bridged(() => pushSegment(request, file, signal), signal)
  const pushed = await bridged(() => pushPartial(request, file, name.segment, signal), signal)
  const warning = `${request.path} is not complete (${state.reason}): it was not stored under its own name, but as ${pushed.key}`
  return { ...pushed, warnings: [warning, ...pushed.warnings] }
}

function bridged<T>(run: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return retry(run, { signal, backoff, forMs: retryForMs })
}

function checkHistory(path: string, timeline: number, content: Uint8Array): void {
  try {
    parseHistory(timeline, content)
  } catch (cause) {
    throw damaged(path, 'it is no history file', cause)
  }
}

/** The same steps as a receiver's, in the same order: two histories are told apart before one of them is stored. */
async function pushSegment(request: PushRequest, file: SegmentFile, signal: AbortSignal): Promise<Pushed> {
  const { archive, codec } = request
  const { segment, cluster } = file
  await claim(archive, cluster, signal)
  const source = { segmentBytes: cluster.segmentBytes, openForRead: () => openFile(file.path) }
  const carrier = new Carrier({ source, archive, codec, metrics: noMetrics })
  const record = new Record()
  await carrier.findChunks(segment, record, cluster.segmentBytes, signal)
  const key = await carrier.putSegment(segment, signal)
  await carrier.deleteChunks(segment, record, signal)
  return { key, warnings: [] }
}

async function pushPartial(
  request: PushRequest,
  file: SegmentFile,
  name: string,
  signal: AbortSignal,
): Promise<Pushed> {
  const { archive } = request
  await claim(archive, file.cluster, signal)
  // Without an extension, its key would be that of a segment to WAL-G.
  const codec = request.codec === 'none' ? 'lz4' : request.codec
  return await withFile(file.path, async (plain, bytes) => {
    const first = await deposit(archive, { name: walKey(`${name}.partial`, 'none'), plain, bytes, codec }, signal)
    if (first.outcome !== 'other') return { key: first.key, warnings: [] }
    const hash = createHash('sha256')
    for await (const piece of piecesOf(plain, 0, bytes)) hash.update(piece)
    const odd = oddPartialKey(name, hash.digest('hex'), 'none')
    const second = await deposit(archive, { name: odd, plain, bytes, codec }, signal)
    if (second.outcome === 'other') throw conflict(archive, second.key, file.path)
    const warning = `${first.key} holds other content than ${file.path}, which lies at ${second.key}`
    return { key: second.key, warnings: [warning] }
  })
}

async function pushNote(request: PushRequest, note: Buffer, signal: AbortSignal): Promise<Pushed> {
  const { archive, codec, path } = request
  const cluster = await clusterBeside(path)
  if (cluster === null) {
    throw new WalferryError('BAD_INPUT', `${path}: no segment lies beside it that says whose it is`, {
      hint: 'Push it from the pg_wal that it belongs to.',
    })
  }
  await claim(archive, cluster, signal)
  const name = walKey(basename(path), 'none')
  const { outcome, key } = await deposit(archive, { name, plain: memoryAt(note), bytes: note.length, codec }, signal)
  if (outcome === 'other') throw conflict(archive, key, path)
  return { key, warnings: [] }
}

async function claim(archive: Archive, cluster: ClusterIdentity, signal: AbortSignal): Promise<void> {
  await claimArchive(archive.store, cluster, { signal, now: new Date() })
}

function conflict(archive: Archive, key: string, path: string): WalferryError {
  return new WalferryError('ARCHIVE_CONFLICT', `${archive.store.url}: ${key} holds other content than ${path}`, {
    hint:
      'Two servers with one system identifier, or two histories of one, archive into one place. Nothing was overwritten. ' +
      'Find out which is right, and give the other an archive of its own.',
    fields: { key, path },
  })
}

/** A process that ends with its one file is not watched. */
const noMetrics = { set: () => undefined, add: () => undefined, observe: () => undefined }
