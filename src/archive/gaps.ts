/**
 * Notes of WAL that was lost: the server had discarded it before anybody had received it; or it was missing in the archive
 * when a receiver went on behind it.
 *
 *     walferry_001/gaps/00000001-000000002a000000-000000002c000000.json
 *     {"timeline":1,"from":"0/2A000000","to":"0/2C000000","reason":"...","noticedAt":"2026-01-31T12:00:00.000Z",
 *      "acknowledged":false}
 *
 * Once somebody has said that it is known: `"acknowledged":true,"acknowledgedAt":"2026-02-01T08:00:00.000Z"`.
 *
 * A note is for people, and for the next start: what is missing is always computed from what is there, because a gap can
 * close (another receiver, or archive_command, may have had the WAL).
 */
import * as v from 'valibot'
import { isError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'
import { formatLsn } from '../wal/lsn.ts'
import { damaged } from './damaged.ts'
import { type GapName, gapFolder, gapKey, parseGapKey } from './keys.ts'

export interface GapNote extends GapName {
  /** Why the WAL is not there, as a sentence. */
  readonly reason: string
  readonly noticedAt: Date
}

/** The rest of a note is its key's to say. */
const noteSchema = v.object({ reason: v.string(), noticedAt: v.string(), acknowledged: v.boolean() })

const largestNoteBytes = 64 * 1024

/** Writes a note; false if one is there already. Resolves once it is durable. */
export async function putGap(store: ObjectStore, gap: GapNote, { signal }: CallOptions): Promise<boolean> {
  const { reason, noticedAt } = gap
  const note = { ...placeOf(gap), reason, noticedAt: noticedAt.toISOString(), acknowledged: false }
  try {
    await store.put(gapKey(gap), bytesOf(note), { ifAbsent: true, signal })
    return true
  } catch (error) {
    if (!isError(error, 'KEY_EXISTS')) throw error
    return false
  }
}

/** How a gap is named to people: by its timeline and where it begins, `1/0/2A000000`. */
export function gapPlace({ timeline, from }: GapName): string {
  return `${timeline}/${formatLsn(from)}`
}

/** All gaps that were noticed, by timeline and position. */
export async function listGaps(store: ObjectStore, { signal }: CallOptions): Promise<GapName[]> {
  const found: GapName[] = []
  for await (const { key } of store.list({ prefix: gapFolder, signal })) {
    const gap = parseGapKey(key)
    if (gap !== null) found.push(gap)
  }
  return found
}

/** Whether somebody has said that a gap is known. A note that cannot be read says nothing. */
export async function isAcknowledged(store: ObjectStore, gap: GapName, options: CallOptions): Promise<boolean> {
  try {
    return (await readNote(store, gap, options)).acknowledged
  } catch (error) {
    if (isError(error, 'ARCHIVE_DAMAGED')) return false
    throw error
  }
}

/**
 * Notes, durably, that a gap is known. False if that was so before. A note that cannot be read is written anew: its key
 * says which WAL is gone. Rejects KEY_MISSING without a note.
 */
export async function acknowledgeGap(
  store: ObjectStore,
  gap: GapName,
  { signal, now }: CallOptions & { readonly now: Date },
): Promise<boolean> {
  const { reason, noticedAt, acknowledged } = await readNote(store, gap, { signal }).catch((error: unknown) => {
    if (!isError(error, 'ARCHIVE_DAMAGED')) throw error
    return { reason: 'The note could not be read any more.', noticedAt: now.toISOString(), acknowledged: false }
  })
  if (acknowledged) return false
  const note = { ...placeOf(gap), reason, noticedAt, acknowledged: true, acknowledgedAt: now.toISOString() }
  await store.put(gapKey(gap), bytesOf(note), { ifAbsent: false, signal })
  return true
}

async function readNote(
  store: ObjectStore,
  gap: GapName,
  { signal }: CallOptions,
): Promise<v.InferOutput<typeof noteSchema>> {
  const key = gapKey(gap)
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of await store.get(key, { signal })) {
    bytes += part.length
    if (bytes > largestNoteBytes) throw damaged(key, `holds more than ${largestNoteBytes} bytes`)
    parts.push(part)
  }
  try {
    return v.parse(noteSchema, JSON.parse(Buffer.concat(parts).toString('utf8')))
  } catch (error) {
    throw damaged(key, 'is not the note of a gap', error)
  }
}

function placeOf({ timeline, from, to }: GapName): Record<string, unknown> {
  return { timeline, from: formatLsn(from), to: formatLsn(to) }
}

function bytesOf(note: Record<string, unknown>): Buffer {
  return Buffer.from(`${JSON.stringify(note)}\n`)
}
