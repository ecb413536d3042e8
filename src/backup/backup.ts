/**
 * `backup`: one base backup, streamed from a server into the archive, in WAL-G's layout.
 *
 *     claim the name -> parts -> pg_control -> manifest -> metadata -> the WAL is there -> sentinel
 *
 * It is a backup once the sentinel is there, which is written last: after the server has said that all went well, and
 * after all WAL from its start to its end is in the archive. Where that does not come about, what was stored is removed.
 * What a kill leaves is no backup either; the next run tells of it.
 */
import { hostname } from 'node:os'
import type { Archive } from '../archive/archive.ts'
import { backupName, metadataKey, sentinelKey } from '../archive/backup-keys.ts'
import type { WritableCodec } from '../archive/codec-name.ts'
import { newestSegment } from '../archive/catalogue.ts'
import { claimArchive } from '../archive/owner.ts'
import { formatMetadata, formatSentinel, type Sentinel } from '../archive/sentinel.ts'
import { reasonOf, withDeadline } from '../kit/abort.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { Metrics } from '../metrics/catalogue.ts'
import { type Backoff, retry, type RetryOptions } from '../kit/retry.ts'
import type { BackupEnd, BackupStart, BaseBackup } from '../pg/base-backup.ts'
import { ReplicationClient, type ServerIdentity } from '../pg/replication-client.ts'
import type { Target } from '../pg/target.ts'
import type { LongPut } from '../store/object-store.ts'
import { firstTimeline, parseHistory, type TimelineHistory } from '../wal/history.ts'
import { formatLsn, type Lsn } from '../wal/lsn.ts'
import { historyName, segmentName, segmentStart, segnoBefore, segnoOf } from '../wal/segment.ts'
import { claimName, listUnfinished, makeClaim } from './claim.ts'
import { refuseLeftBranch } from './left-branch.ts'
import { neededSegments } from './needed-wal.ts'
import { OwnWal } from './own-wal.ts'
import type { OnProgress } from './progress.ts'
import { StoredObjects } from './stored-objects.ts'
import { TarCutter } from './tar-cutter.ts'
import { waitForWal } from './wait-for-wal.ts'

export interface BackupOptions {
  readonly target: Target
  readonly archive: Archive
  readonly codec: WritableCodec
  /** Bytes of a part, before compression. */
  readonly partBytes: number
  /** Pieces of a part that are uploaded at once. */
  readonly uploadConcurrency: number
  readonly label: string | null
  readonly fast: boolean
  /** kB per second; null for no limit. */
  readonly maxRate: number | null
  readonly verifyChecksums: boolean
  readonly isPermanent: boolean
  /** Fetches the WAL, too: no receiver is needed. */
  readonly withWal: boolean
  readonly waitForWalMs: number
  /** Waits for the last segment as one object, not only as a tail. */
  readonly waitWhole: boolean
  /** Called once the server has ended the backup, before its WAL is waited for. */
  readonly switchWal: (() => Promise<void>) | null
  readonly log: Log
  readonly metrics: Metrics
  readonly onProgress: OnProgress
}

export interface BackupResult extends Sentinel {
  readonly name: string
  readonly timeline: number
  readonly parts: number
  readonly seconds: number
  /** The segment that is in the archive as a tail only: WAL-G, which knows no tails, has to wait for it. */
  readonly openSegment: string | null
}

const backoff: Backoff = { firstMs: 200, maxMs: 10_000 }
/** An outage of the store of this length is bridged: longer, and the server's connection stands still for too long. */
const retryForMs = 120_000
/** Of 16 MiB each: more would break the promise of 256 MB in all. */
const mostPiecesAtOnce = 8
const defaultLabel = 'walferry base backup'

/**
 * Takes one backup. Rejects with what made it impossible, or with the signal's reason; nothing that looks like a backup
 * is there then.
 */
export async function takeBackup(options: BackupOptions, signal: AbortSignal): Promise<BackupResult> {
  const client = await ReplicationClient.connect(options.target, signal)
  try {
    const server = await client.identify(signal)
    await prepareArchive(options, server, signal)
    await refuseLostWal(options, client, server, signal)
    const ownWal = options.withWal ? await reserveWal(options, client.target, signal) : null
    // What goes wrong beside the copying ends it.
    const cut = new AbortController()
    const onAbort = (): void => cut.abort(reasonOf(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      return await new Run(options, client, server, ownWal, cut).run()
    } finally {
      signal.removeEventListener('abort', onAbort)
      await ownWal?.close()
    }
  } finally {
    await client.close()
  }
}

/** Everything that can be refused before the server makes a checkpoint. */
async function prepareArchive(
  { archive, log }: BackupOptions,
  server: ServerIdentity,
  signal: AbortSignal,
): Promise<void> {
  const { store } = archive
  const mine = { systemIdentifier: String(server.systemIdentifier), segmentBytes: server.segmentBytes }
  const again = patiently(log, signal)
  await retry(() => claimArchive(archive, mine, { signal, now: new Date() }), again)
  await retry(() => refuseLeftBranch(archive, server.timeline, server.flushedUpTo, { signal }), again)
  for (const { name, claim } of await retry(() => listUnfinished(store, { signal }), again)) {
    const whose = claim === null ? {} : { host: claim.host, begun: claim.time }
    log.warn(`the base backup ${name} was begun and has no end: it is still under way, or was killed`, whose)
  }
}

/**
 * Refuses a primary that has less WAL than it once sent: it was set back, by a snapshot of its disk perhaps. The archive's
 * WAL would count for a backup that it does not belong to. Throws SERVER_LOST_WAL.
 */
async function refuseLostWal(
  { archive, log }: BackupOptions,
  client: ReplicationClient,
  { timeline, segmentBytes }: ServerIdentity,
  signal: AbortSignal,
): Promise<void> {
  if ((await client.isInRecovery(signal)) !== false) return
  const look = () => newestSegment(archive.store, timeline, { segmentBytes, signal })
  const newest = await retry(look, patiently(log, signal))
  // Asked afterwards: meanwhile a receiver ships more.
  const server = await client.identify(signal)
  if (newest === null || server.timeline !== timeline) return
  const begin = segmentStart(newest, segmentBytes)
  if (begin < server.flushedUpTo) return
  const name = segmentName({ timeline, segno: newest }, segmentBytes)
  throw new WalferryError(
    'SERVER_LOST_WAL',
    `the server is at ${formatLsn(server.flushedUpTo)}, and the archive has its segment ${name}, which begins at ${formatLsn(begin)}`,
    {
      hint: 'It was set back to an earlier state, and goes on otherwise than the archive does: give it an archive of its own.',
      fields: { timeline },
    },
  )
}

/** The first failure of a request is told: what looks like a wait for the server may be a wrong name of the store. */
function patiently(log: Log, signal: AbortSignal): RetryOptions {
  const onRetry = (error: WalferryError, n: number): void => {
    if (n === 0) log.warn(`${describe(error)}; trying again for ${retryForMs / 1000} s`)
  }
  return { signal, backoff, forMs: retryForMs, onRetry }
}

async function reserveWal(options: BackupOptions, target: Target, signal: AbortSignal): Promise<OwnWal> {
  const { archive, codec, uploadConcurrency, log } = options
  return await OwnWal.reserve({ target, archive, codec, uploadConcurrency, log }, signal)
}

class Run {
  readonly #options: BackupOptions
  readonly #client: ReplicationClient
  readonly #server: ServerIdentity
  readonly #ownWal: OwnWal | null
  readonly #cut: AbortController
  readonly #startTime = new Date()

  constructor(
    options: BackupOptions,
    client: ReplicationClient,
    server: ServerIdentity,
    ownWal: OwnWal | null,
    cut: AbortController,
  ) {
    this.#options = options
    this.#client = client
    this.#server = server
    this.#ownWal = ownWal
    this.#cut = cut
  }

  async run(): Promise<BackupResult> {
    const { log, onProgress, label, fast, maxRate, verifyChecksums } = this.#options
    const { signal } = this.#cut
    const inRecovery = await this.#client.isInRecovery(signal)
    const about = await this.#about(signal)
    onProgress({ phase: 'checkpoint', bytes: 0, totalBytes: 0 })
    log.info('waiting for the checkpoint of the server', { server: this.#client.host, fast })
    const request = { label: label ?? defaultLabel, fast, maxRate, verifyChecksums }
    const base = await this.#client.baseBackup(request, signal)
    const { start } = base
    const { segmentBytes } = this.#server
    const segment = segmentName({ timeline: start.timeline, segno: segnoOf(start.lsn, segmentBytes) }, segmentBytes)
    const name = backupName(segment)
    await this.#claim(segment, signal)
    log.info('the base backup has begun', { name, start: formatLsn(start.lsn), timeline: start.timeline })
    const { archive, codec, uploadConcurrency, metrics } = this.#options
    const long: LongPut = { piecesAtOnce: Math.min(mostPiecesAtOnce, uploadConcurrency), retryForMs }
    const objects = new StoredObjects(name, segment, { archive, codec, long, metrics, signal })
    try {
      await this.#ownWal?.begin(start, (error) => this.#cut.abort(error), signal)
      await this.#copy(base, objects, signal)
      const { end } = base
      const sentinel = this.#sentinel(start, end, about, objects)
      await objects.putJson(metadataKey(name), formatMetadata(sentinel))
      const isWhole = await this.#bringWal(start, end, inRecovery === false, signal)
      await objects.putJson(sentinelKey(name), formatSentinel(sentinel))
      const last = { timeline: end.timeline, segno: segnoBefore(end.lsn, segmentBytes) }
      return {
        ...sentinel,
        name,
        timeline: start.timeline,
        parts: objects.parts,
        seconds: (Date.now() - this.#startTime.getTime()) / 1000,
        openSegment: isWhole ? null : segmentName(last, segmentBytes),
      }
    } catch (error) {
      await objects.remove(error, log)
      throw signal.aborted ? reasonOf(signal) : error
    }
  }

  async #claim(segment: string, signal: AbortSignal): Promise<void> {
    const { archive, log } = this.#options
    const mine = await makeClaim(this.#startTime)
    const claim = () => claimName(archive.store, segment, mine, { signal })
    const gone = await retry(claim, patiently(log, signal))
    if (gone === null) return
    log.warn('removed what a killed backup of the same name had left', { host: gone.host, begun: gone.time })
  }

  /** From the server's events to objects. The server sends only as fast as they are stored. */
  async #copy(base: BaseBackup, objects: StoredObjects, signal: AbortSignal): Promise<void> {
    const { onProgress, partBytes, log } = this.#options
    const cutter = new TarCutter(partBytes)
    const estimate = base.start.parts.reduce((sum, part) => sum + part.estimatedBytes, 0)
    let bytes = 0
    let isManifest = false
    for await (const event of base.events(signal)) {
      if (event.kind === 'archive') cutter.beginArchive(event.oid)
      else if (event.kind === 'manifest') {
        for (const cut of cutter.finish()) await objects.put(cut)
        objects.beginManifest()
        isManifest = true
      } else if (isManifest) await objects.putManifest(event.bytes)
      else {
        for (const cut of cutter.feed(event.bytes)) await objects.put(cut)
        bytes += event.bytes.length
        onProgress({ phase: 'copying', bytes, totalBytes: Math.max(bytes, estimate) })
      }
    }
    if (!isManifest) throw new WalferryError('PG_PROTOCOL', 'the server has sent its base backup without a manifest')
    await objects.endManifest()
    for (const warning of base.warnings) log.warn(`the server says: ${warning}`)
    onProgress({ phase: 'wal', bytes, totalBytes: bytes })
  }

  /** Resolves once the archive has all WAL of the backup, with whether the last segment is whole. */
  async #bringWal(start: BackupStart, end: BackupEnd, isPrimary: boolean, signal: AbortSignal): Promise<boolean> {
    const { archive, switchWal, waitForWalMs, waitWhole, log } = this.#options
    const { segmentBytes } = this.#server
    await retry(() => refuseLeftBranch(archive, end.timeline, end.lsn, { signal }), patiently(log, signal))
    const line = await this.#line(end.timeline, signal)
    await switchWal?.()
    log.info('all files are stored; waiting for their WAL', { end: formatLsn(end.lsn) })
    const ownWal = this.#ownWal
    if (ownWal !== null) {
      // A primary ends the segment with the backup.
      const boundary = segmentStart(segnoBefore(end.lsn, segmentBytes) + 1, segmentBytes)
      const upTo = isPrimary || waitWhole ? boundary : end.lsn
      await withDeadline(
        waitForWalMs,
        signal,
        () => walTooLate(upTo, waitForWalMs),
        (inner) => ownWal.ship(upTo, inner),
      )
    }
    const needed = neededSegments(start.lsn, end.lsn, line, segmentBytes)
    const waiting = { archive, needed, line, segmentBytes, waitMs: waitForWalMs, wholeOnly: waitWhole, signal }
    return (await waitForWal(waiting)).isWhole
  }

  async #line(timeline: number, signal: AbortSignal): Promise<TimelineHistory> {
    if (timeline === firstTimeline.timeline) return firstTimeline
    const content = await this.#client.timelineHistory(timeline, signal)
    if (content !== null) return parseHistory(timeline, content)
    throw new WalferryError('SERVER_TIMELINE', `the server has no ${historyName(timeline)}`, {
      hint: 'Put the file back into its pg_wal: without it nobody can tell which WAL the backup needs.',
    })
  }

  #sentinel(start: BackupStart, end: BackupEnd, about: About, objects: StoredObjects): Sentinel {
    const { label, isPermanent } = this.#options
    const tablespaces = start.parts.flatMap(({ oid, location }) =>
      // One that lies in pg_tblspc itself has no other place (allow_in_place_tablespaces).
      oid === null || location === null || location.startsWith('pg_tblspc/') ? [] : [{ oid, location }],
    )
    return {
      startLsn: start.lsn,
      finishLsn: end.lsn,
      stopTimeline: end.timeline === start.timeline ? null : end.timeline,
      serverVersion: about.serverVersion,
      systemIdentifier: this.#server.systemIdentifier,
      plainBytes: objects.plainBytes,
      storedBytes: objects.storedBytes,
      startTime: this.#startTime,
      finishTime: new Date(),
      host: hostname(),
      dataFolder: about.dataFolder,
      isPermanent,
      label,
      tablespaces,
      deltaFrom: null,
    }
  }

  /** What WAL-G's sentinel says of a server. */
  async #about(signal: AbortSignal): Promise<About> {
    const serverVersion = Number(await this.#client.show('server_version_num', signal))
    return { serverVersion, dataFolder: await this.#dataFolder(signal) }
  }

  /** Empty where a role may not know it: that takes pg_read_all_settings. Nothing depends on it. */
  async #dataFolder(signal: AbortSignal): Promise<string> {
    try {
      return await this.#client.show('data_directory', signal)
    } catch (error) {
      if (isError(error, 'PG_REFUSED')) return ''
      throw error
    }
  }
}

function walTooLate(upTo: Lsn, waitMs: number): WalferryError {
  const message = `the WAL up to ${formatLsn(upTo)} could not be fetched and stored within ${waitMs / 1000} s`
  return new WalferryError('BACKUP_WITHOUT_WAL', message, {
    hint: 'A standby has it only once the primary has come so far. Give it more time (--wait-for-wal).',
  })
}

interface About {
  readonly serverVersion: number
  readonly dataFolder: string
}
