/**
 * Fetches WAL that one host has removed from another host of the target, before anybody calls it lost. A standby of the
 * same line may still have it, held by the slot that we look after there (other-hosts.ts); and once a stream had gone on
 * behind the gap, that slot would be advanced, and the WAL would be gone there, too.
 *
 * Every other host is asked, whatever target_session_attrs says: that chooses where to stream from day by day, and here
 * the choice is between this host and a gap. No slot is used, none is made, and the stream ends where the first server
 * has WAL again, or where the two lines part. One that cannot be reached is not waited for: it may never come back.
 */
import { describe, isError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { ReplicationClient, type ServerIdentity } from '../pg/replication-client.ts'
import { describeHost, type Host, type Target } from '../pg/target.ts'
import type { Spool } from '../spool/spool.ts'
import type { TimelineHistory } from '../wal/history.ts'
import { formatLsn, type Lsn } from '../wal/lsn.ts'
import type { Place } from '../wal/place.ts'
import { lineOf } from './learn-line.ts'
import { commonUpTo } from './other-hosts.ts'
import { type Gap, resumeFrom, type Start } from './start.ts'

export interface DetourOptions {
  readonly target: Target
  /** The host that has removed the WAL, and the line of its server. */
  readonly host: Host
  readonly line: TimelineHistory
  /** How far spool and archive reach. */
  readonly furthest: Place
  readonly furthestLine: TimelineHistory | null
  readonly spool: Spool
  /** Throws for a server that is not ours. */
  readonly accept: (server: ServerIdentity) => void
  /** Streams into the spool, up to a position and not further. */
  readonly stream: (client: ReplicationClient, start: Start, upTo: Lsn, signal: AbortSignal) => Promise<unknown>
  readonly log: Log
}

const connectTimeoutSeconds = 5

/**
 * The host from which at least the beginning of the gap was received, or null if none has it. Rejects if `signal` aborts
 * or our own disk fails, and then nothing may be called lost; what was received until then is in the spool.
 */
export async function fetchFromOthers(gap: Gap, options: DetourOptions, signal: AbortSignal): Promise<Host | null> {
  const { target, spool, log } = options
  for (const host of target.hosts) {
    if (host === options.host) continue
    const before = spool.end
    try {
      await fetchFrom(host, gap, options, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (isError(error, 'SPOOL_FAILED')) throw error
      const code = isError(error) ? error.code : 'OTHER'
      const message = `${describeHost(host)} does not give the WAL that is missing from ${formatLsn(gap.from)} on: ${describe(error)}`
      log.warn(message, { code, hint: isError(error) ? error.hint : undefined })
    }
    signal.throwIfAborted()
    // Also where it broke: what is missing then begins later, and is asked for once more.
    if (cameFurther(before, spool.end)) return host
  }
  return null
}

async function fetchFrom(host: Host, gap: Gap, options: DetourOptions, signal: AbortSignal): Promise<void> {
  const { target, line, log } = options
  const alone: Target = { ...target, hosts: [host], sessionAttrs: 'any', connectTimeoutSeconds }
  const client = await ReplicationClient.connect(alone, signal)
  try {
    const server = await client.identify(signal)
    options.accept(server)
    const theirs = await lineOf(client, server, signal)
    const upTo = commonUpTo(line, theirs, gap.to, server.flushedUpTo)
    if (upTo <= gap.from) {
      log.info(`${describeHost(host)} has no more of this line than what is here`, { common: formatLsn(upTo) })
      return
    }
    const from = formatLsn(gap.from)
    log.info(`asking ${describeHost(host)} for WAL that is missing`, { from, to: formatLsn(upTo) })
    await streamThere(client, server, theirs, upTo, options, signal)
  } finally {
    await client.close()
  }
}

/** Throws where this server's WAL must not be streamed, as any other stream does. */
async function streamThere(
  client: ReplicationClient,
  server: ServerIdentity,
  line: TimelineHistory,
  upTo: Lsn,
  { furthest, furthestLine, stream }: DetourOptions,
  signal: AbortSignal,
): Promise<void> {
  const slot = { state: 'missing' } as const
  const facts = { server, line, inRecovery: null, slot, furthest, furthestLine, slotKeepBytes: null, stored: null }
  for (const removed: Place[] = []; ; ) {
    const start = resumeFrom({ ...facts, removed })
    try {
      await stream(client, start, upTo, signal)
      return
    } catch (error) {
      if (!isError(error, 'WAL_REMOVED')) throw error
      // The next timeline of the line may begin in the same segment; where none does, `resumeFrom` throws the same.
      removed.push({ timeline: start.timeline, lsn: start.lsn })
    }
  }
}

function cameFurther(before: Place | null, now: Place | null): boolean {
  if (before === null || now === null) return now !== null
  return now.timeline !== before.timeline || now.lsn > before.lsn
}
