/**
 * A receiver's note that it holds WAL which the archive has not: `walferry_001/backlog/<slot>.json`, written while its
 * spool is ahead, deleted when that is shipped.
 *
 *     {"timeline":1,"lsn":"16/B374D848","host":"walferry-1","time":"2026-11-21T01:38:00.000Z"}
 *
 * A note can only hold a reader back: a recovery that would end here is told that there is more. It may be older than
 * what the receiver holds by now, so its position is for people, and nothing is decided by it.
 */
import * as v from 'valibot'
import { isError, WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'
import { formatLsn, type Lsn, parseLsn } from '../wal/lsn.ts'
import { backlogFolder, backlogKey, parseBacklogKey } from './keys.ts'

export interface BacklogNote {
  readonly timeline: number
  /** How far the receiver's spool was synced. */
  readonly lsn: Lsn
  /** Where the receiver runs. */
  readonly host: string
  /** When the note was written. */
  readonly time: Date
}

export interface FoundNote {
  readonly slot: string
  readonly note: BacklogNote
}

const maxNoteBytes = 4096

const noteSchema = v.object({
  timeline: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffffffff)),
  lsn: v.pipe(v.string(), v.regex(/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/)),
  // It ends up in a server's log: nothing that a terminal would obey.
  host: v.pipe(v.string(), v.regex(/^[\x20-\x7e]{1,255}$/)),
  time: v.pipe(v.string(), v.isoTimestamp()),
})

/** A machine's name as notes have it: one that could not be read back would be damage, whatever a machine is called. */
export function hostInNotes(host: string): string {
  return host.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 255) || 'unknown'
}

export function formatBacklog({ timeline, lsn, host, time }: BacklogNote): string {
  return JSON.stringify({ timeline, lsn: formatLsn(lsn), host, time: time.toISOString() })
}

/** Reads a note's bytes; `key` is for messages. Throws ARCHIVE_DAMAGED. */
export function parseBacklog(key: string, bytes: Uint8Array): BacklogNote {
  const read = v.safeParse(noteSchema, parseJson(key, bytes))
  if (!read.success) throw unreadable(key, v.summarize(read.issues).replaceAll('\n', ' '))
  const { timeline, lsn, host, time } = read.output
  return { timeline, lsn: parseLsn(lsn), host, time: new Date(time) }
}

function parseJson(key: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (cause) {
    throw unreadable(key, 'it is no JSON', cause)
  }
}

/** Writes the note of a slot, over an earlier one. */
export async function putBacklog(
  store: ObjectStore,
  slot: string,
  note: BacklogNote,
  { signal }: CallOptions,
): Promise<void> {
  await store.put(backlogKey(slot), Buffer.from(formatBacklog(note)), { signal, ifAbsent: false })
}

/** Deletes the note of a slot, if there is one. */
export async function deleteBacklog(store: ObjectStore, slot: string, options: CallOptions): Promise<void> {
  await store.deleteMany([backlogKey(slot)], options)
}

/** The note of one slot, or null if there is none. Throws ARCHIVE_DAMAGED. */
export async function findBacklog(
  store: ObjectStore,
  slot: string,
  { signal }: CallOptions,
): Promise<BacklogNote | null> {
  const key = backlogKey(slot)
  const bytes = await readNote(store, key, signal)
  return bytes === null ? null : parseBacklog(key, bytes)
}

/** The notes of all receivers. One request where there are none. Throws ARCHIVE_DAMAGED. */
export async function readBacklog(store: ObjectStore, { signal }: CallOptions): Promise<FoundNote[]> {
  const found: FoundNote[] = []
  for await (const { key } of store.list({ prefix: backlogFolder, signal })) {
    const slot = parseBacklogKey(key)
    const bytes = slot === null ? null : await readNote(store, key, signal)
    if (slot !== null && bytes !== null) found.push({ slot, note: parseBacklog(key, bytes) })
  }
  return found
}

/** Null if it is not there. */
async function readNote(store: ObjectStore, key: string, signal: AbortSignal): Promise<Uint8Array | null> {
  const parts: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const part of await store.get(key, { signal })) {
      bytes += part.length
      if (bytes > maxNoteBytes) throw unreadable(key, `it holds more than ${maxNoteBytes} bytes`)
      parts.push(part)
    }
  } catch (error) {
    if (isError(error, 'KEY_MISSING')) return null
    throw error
  }
  return Buffer.concat(parts)
}

function unreadable(key: string, why: string, cause?: unknown): WalferryError {
  return new WalferryError('ARCHIVE_DAMAGED', `${key} cannot be read: ${why}`, {
    fields: { key },
    hint:
      'Such a note says that a receiver holds WAL which the archive has not. Start the receiver: it writes the note again, ' +
      'or deletes it. Nobody else needs it.',
    ...(cause === undefined ? {} : { cause }),
  })
}
