/**
 * Brings one WAL file back for a recovering server: a whole segment, the tail of the newest one, or a history file.
 *
 * What is served has been checked: its size, its checksums, its page headers, and whose it is. It is written under a
 * temporary name beside DEST and renamed when all is right; PostgreSQL syncs it itself.
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import { fileAt } from '../archive/bytes-at.ts'
import { anyHigherThan, hasWalFolder, timelinesAbove } from '../archive/catalogue.ts'
import { type ClusterIdentity, readIdentity } from '../archive/identity.ts'
import { identityKey } from '../archive/keys.ts'
import { findOwner } from '../archive/owner.ts'
import { systemCode, WalferryError } from '../kit/errors.ts'
import { retry } from '../kit/retry.ts'
import { parseHistory } from '../wal/history.ts'
import { formatLsn, plus } from '../wal/lsn.ts'
import { historyName, isSegmentName, parseHistoryName, parseSegmentName, segmentStart } from '../wal/segment.ts'
import type { ExpectedSegment } from '../wal/segment-check.ts'
import { systemIdentifierBeside } from './beside.ts'
import { decide } from './decide.ts'
import { forkBehind } from './fork-behind.ts'
import { compareOwnCopy } from './own-copy.ts'
import { checkTail, receiveSegment } from './receive-segment.ts'

export interface FetchRequest {
  readonly archive: Archive
  /** What PostgreSQL asks for, %f: a segment's name, or a history file's. */
  readonly name: string
  /** Where it wants it, %p. */
  readonly dest: string
  /** How long to try again while the store does not answer, or while a segment is missing that is needed. */
  readonly retryForMs: number
  /** Called before each new attempt. */
  readonly onRetry: (error: WalferryError) => void
}

export type FetchAnswer =
  | { readonly answer: 'served'; readonly what: string }
  /** Proved: the archive does not have it, and has nothing that needs it. */
  | { readonly answer: 'absent'; readonly why: string }

const backoff = { firstMs: 100, maxMs: 5000 }
const largestHistoryBytes = 1024 * 1024

/**
 * Throws BAD_INPUT, and STORE_ and ARCHIVE_ errors. Nothing is at DEST then that was not there before, and no temporary
 * file is left.
 */
export async function fetchFile(request: FetchRequest, signal: AbortSignal): Promise<FetchAnswer> {
  const timeline = parseHistoryName(request.name)
  if (timeline === null && !isSegmentName(request.name)) {
    throw new WalferryError('BAD_INPUT', `"${request.name}" is not the name of a WAL segment or a history file`, {
      hint: "Write restore_command = 'walferry-fetch %f %p --store ...'.",
    })
  }
  const attempt = (): Promise<FetchAnswer> =>
    timeline === null ? fetchSegment(request, signal) : fetchHistory(request, timeline, signal)
  return await retry(attempt, { signal, backoff, forMs: request.retryForMs, onRetry: request.onRetry })
}

async function fetchSegment(request: FetchRequest, signal: AbortSignal): Promise<FetchAnswer> {
  const { archive, name, dest } = request
  const systemIdentifier = await systemIdentifierBeside(dest)
  const [identity, objects] = await Promise.all([
    readIdentity(archive.store, { signal }),
    archive.findSegment(name, { signal }),
  ])
  if (identity !== null) refuseForeign(archive, identity, systemIdentifier)
  const [whole] = objects
  if (whole !== undefined) return await serveWhole(request, whole.key, identity, systemIdentifier, signal)

  const owner = identity ?? (await findOwner(archive.store, { signal }))
  if (owner === null) return await absentWithoutOwner(request, signal)
  refuseForeign(archive, owner, systemIdentifier)
  const expected: ExpectedSegment = {
    segment: parseSegmentName(name, owner.segmentBytes),
    segmentBytes: owner.segmentBytes,
    systemIdentifier: BigInt(owner.systemIdentifier),
  }
  return await withTemporary(dest, async (file, path) => {
    const tail = fileAt(file, path)
    const read = await archive.readTail(name, owner.segmentBytes, tail, { signal })
    // It became whole between two looks: start over, at once.
    if (read.found === 'whole') return await fetchSegment(request, signal)
    await file.truncate(read.bytes)
    if (read.bytes > 0) await checkTail(tail, read.bytes, expected, name)
    const later = await anyHigherThan(archive.store, name, { signal })
    const forkedLater = later === null ? await forkBehind(archive, expected, signal) : null
    if (later !== null || forkedLater !== null) {
      // It may have become whole before the later one did, and after we had looked for it.
      const again = await archive.findSegment(name, { signal })
      if (again.length > 0) return await fetchSegment(request, signal)
    }
    const decision = decide({
      name,
      tailBytes: read.bytes,
      segmentBytes: owner.segmentBytes,
      later,
      forkedLater,
      own: read.bytes === 0 ? 'none' : await compareOwnCopy(join(dirname(dest), name), tail, read.bytes, expected),
    })
    if (decision === 'absent') {
      const why = read.bytes === 0 ? 'the archive ends before it' : 'pg_wal has all of it that the archive has'
      return await absent(request, why, signal)
    }
    // PostgreSQL takes a segment only at its full size; zeros behind the end are the end of WAL.
    await file.truncate(owner.segmentBytes)
    await rename(path, dest)
    const end = plus(segmentStart(expected.segment.segno, owner.segmentBytes), read.bytes)
    return { answer: 'served', what: decision === 'serve-tail' ? `the tail, up to ${formatLsn(end)}` : 'the segment' }
  })
}

async function serveWhole(
  request: FetchRequest,
  key: string,
  identity: ClusterIdentity | null,
  systemIdentifier: bigint | null,
  signal: AbortSignal,
): Promise<FetchAnswer> {
  return await withTemporary(request.dest, async (file, path) => {
    await receiveSegment(request.archive, key, fileAt(file, path), {
      name: request.name,
      segmentBytes: identity?.segmentBytes ?? null,
      systemIdentifier: systemIdentifier ?? (identity === null ? null : BigInt(identity.systemIdentifier)),
      signal,
    })
    await rename(path, request.dest)
    return { answer: 'served', what: 'the segment' }
  })
}

async function fetchHistory(request: FetchRequest, timeline: number, signal: AbortSignal): Promise<FetchAnswer> {
  const { archive, dest } = request
  const [owner, [object], systemIdentifier] = await Promise.all([
    findOwner(archive.store, { signal }),
    archive.findHistory(timeline, { signal }),
    systemIdentifierBeside(dest),
  ])
  // A history says nothing about whose it is, and the server would keep another cluster's in pg_wal.
  if (owner !== null) refuseForeign(archive, owner, systemIdentifier)
  if (object === undefined) return await absent(request, `the archive has no ${historyName(timeline)}`, signal)
  const content = await archive.readSmall(object.key, largestHistoryBytes, { signal })
  parseHistory(timeline, content)
  return await withTemporary(dest, async (file, path) => {
    await file.write(content)
    await rename(path, dest)
    return { answer: 'served', what: 'the history file' }
  })
}

/** Without the size of a segment no tail can be served and no fork be placed: then only an archive without WAL lacks it. */
async function absentWithoutOwner(request: FetchRequest, signal: AbortSignal): Promise<FetchAnswer> {
  const { store } = request.archive
  const withWal = (await timelinesAbove(store, 0, { signal })).find((found) => found.hasWal)
  if (withWal === undefined) return await absent(request, 'the archive has no WAL', signal)
  throw new WalferryError(
    'ARCHIVE_DAMAGED',
    `${store.url} has WAL of timeline ${withWal.timeline}, and nothing in it says whose, or of which segment size`,
    { hint: `Put ${identityKey} back, or the archive's first whole segment.`, fields: { timeline: withWal.timeline } },
  )
}

/** The one place that says "absent": only of what is an archive at all, and not another cluster's. */
async function absent(request: FetchRequest, why: string, signal: AbortSignal): Promise<FetchAnswer> {
  const { store } = request.archive
  const owner = await findOwner(store, { signal })
  if (owner !== null) refuseForeign(request.archive, owner, await systemIdentifierBeside(request.dest))
  if (owner === null && !(await hasWalFolder(store, { signal }))) {
    throw new WalferryError('ARCHIVE_FOREIGN', `${store.url} is no archive: it has neither an identity nor WAL`, {
      hint: 'Check --store, the prefix above all. "Not there" would end the recovery here, without the WAL.',
    })
  }
  return { answer: 'absent', why }
}

function refuseForeign(archive: Archive, owner: ClusterIdentity, systemIdentifier: bigint | null): void {
  if (systemIdentifier === null || owner.systemIdentifier === String(systemIdentifier)) return
  throw new WalferryError(
    'ARCHIVE_FOREIGN',
    `${archive.store.url} belongs to system identifier ${owner.systemIdentifier}, and the server that asks is ${systemIdentifier}`,
    { hint: 'Check --store: it is the archive of another cluster.' },
  )
}

/** Runs `work` with a new file beside DEST. If `work` has not renamed it, the file is removed. */
async function withTemporary<T>(dest: string, work: (file: FileHandle, path: string) => Promise<T>): Promise<T> {
  const path = join(dirname(dest), `.${basename(dest)}.walferry-${process.pid}`)
  let file: FileHandle
  try {
    // What an earlier process of our number left behind is of no use to anybody.
    await rm(path, { force: true })
    file = await open(path, 'wx+', 0o600)
  } catch (error) {
    throw localError(error, `create ${path}`)
  }
  try {
    return await work(file, path)
  } catch (error) {
    throw systemCode(error) === undefined || error instanceof WalferryError ? error : localError(error, `write ${dest}`)
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
}

function localError(cause: unknown, doing: string): WalferryError {
  return new WalferryError('BAD_INPUT', `cannot ${doing}`, {
    cause,
    hint: 'Check the folder of DEST: its path, owner and space.',
  })
}
