import { WalferryError } from '../kit/errors.ts'
import type { ReplicationClient, ServerIdentity } from '../pg/replication-client.ts'
import type { Spool } from '../spool/spool.ts'
import { firstTimeline, parseHistory, type TimelineHistory } from '../wal/history.ts'
import { historyName } from '../wal/segment.ts'

/**
 * Brings every history file that the server has into the spool, and returns the one of its own timeline. Every number is
 * asked for, ancestor or not: PostgreSQL skips numbers, and a recovering server that misses one does not look further.
 *
 * Throws SERVER_TIMELINE if the server lacks its own, SPOOL_CONFLICT if it is another one than the spool's.
 */
export async function learnLine(
  client: ReplicationClient,
  server: ServerIdentity,
  spool: Spool,
  signal: AbortSignal,
): Promise<TimelineHistory> {
  const { timeline } = server
  if (timeline === firstTimeline.timeline) return firstTimeline
  for (let number = 2; number < timeline; number++) {
    if (spool.histories.has(number)) continue
    const content = await client.timelineHistory(number, signal)
    if (content !== null) await spool.keepHistory(number, content)
  }
  return await spool.keepHistory(timeline, await ownHistory(client, timeline, signal))
}

/** The history of the server's own timeline; nothing is kept. Throws SERVER_TIMELINE if the server lacks it. */
export async function lineOf(
  client: ReplicationClient,
  { timeline }: ServerIdentity,
  signal: AbortSignal,
): Promise<TimelineHistory> {
  if (timeline === firstTimeline.timeline) return firstTimeline
  return parseHistory(timeline, await ownHistory(client, timeline, signal))
}

async function ownHistory(client: ReplicationClient, timeline: number, signal: AbortSignal): Promise<Buffer> {
  const content = await client.timelineHistory(timeline, signal)
  if (content !== null) return content
  throw new WalferryError(
    'SERVER_TIMELINE',
    `the server is on timeline ${timeline} and has no ${historyName(timeline)}`,
    {
      hint: 'Put the file back into its pg_wal: without it nobody can tell how its WAL goes on from the earlier one.',
    },
  )
}
