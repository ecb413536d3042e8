/**
 * Timeline history files in the spool, under the names and with the content that the server has for them, as
 * pg_receivewal keeps them:
 *
 *     00000002.history
 *
 * They are there before the first byte of their timeline is, and stay: they are small, and without them nobody knows
 * how the segments beside them belong together.
 */
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { renameDurably } from '../kit/durable-fs.ts'
import { WalferryError } from '../kit/errors.ts'
import { bytesBeforeFork, forkOf, parseHistory, type TimelineHistory, timelineAt } from '../wal/history.ts'
import { asLsn } from '../wal/lsn.ts'
import { historyName, type Segment, segmentStart } from '../wal/segment.ts'
import { spoolError } from './spool-error.ts'

/** A history file, and what it says. */
export interface HistoryFile {
  readonly content: Uint8Array
  readonly history: TimelineHistory
}

export type Histories = ReadonlyMap<number, HistoryFile>

/** Reads a history file of a folder. Throws ARCHIVE_DAMAGED for one that cannot be read as such. */
export async function readHistory(folder: string, timeline: number): Promise<HistoryFile> {
  const content = await readFile(join(folder, historyName(timeline)))
  return { content, history: parseHistory(timeline, content) }
}

/** Writes a history file durably. A crash leaves all of it or nothing under its name. */
export async function writeHistory(folder: string, timeline: number, content: Uint8Array): Promise<HistoryFile> {
  const history = parseHistory(timeline, content)
  const path = join(folder, historyName(timeline))
  try {
    const file = await open(`${path}.new`, 'w', 0o600)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await renameDurably(`${path}.new`, path)
  } catch (error) {
    throw spoolError(error, `write ${path}`)
  }
  return { content, history }
}

/** The timeline that has the byte before a segment: its own, or a parent's where the segment is its first. */
export function timelineBefore({ timeline, segno }: Segment, segmentBytes: number, histories: Histories): number {
  const history = histories.get(timeline)?.history
  return history === undefined || segno === 0
    ? timeline
    : timelineAt(history, asLsn(segmentStart(segno, segmentBytes) - 1n))
}

/** Bytes at the beginning of a timeline's first segment that are its parent's; 0 for any other segment. */
export function bytesOfParent({ timeline, segno }: Segment, segmentBytes: number, histories: Histories): number {
  const history = histories.get(timeline)?.history
  const fork = history === undefined ? null : forkOf(history)
  return bytesBeforeFork(fork?.switchPoint ?? null, segno, segmentBytes)
}

/** Throws SPOOL_CONFLICT if two servers tell different things of one timeline. */
export function mustBeSameHistory(folder: string, timeline: number, here: Uint8Array, told: Uint8Array): void {
  if (Buffer.compare(here, told) === 0) return
  throw new WalferryError('SPOOL_CONFLICT', `the server's ${historyName(timeline)} differs from the one in ${folder}`, {
    fields: { timeline },
    hint:
      'Two servers have chosen the same timeline number: both were promoted. Decide which of them counts; to follow the ' +
      'other one, start with a new spool and a new archive.',
  })
}
