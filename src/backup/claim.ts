/**
 * Who may write under a backup's name: `walferry_001/backups/<tli>-<hi>-<seg>/claim.json`, put only if it is not there.
 *
 *     {"run":"0b8f6c1e-3d0f-4c3e-9a53-6f0f3c9d2b11","host":"db1","time":"2026-11-21T03:00:00.000Z",
 *      "process":{"boot":"9d0f...","namespace":"pid:[4026531836]","pid":4711}}
 *
 * Two backups have one name where both start in one segment: backups from a standby do, until its next restartpoint. Parts
 * of two backups in one folder would be unpacked over each other. So a name is never written to that has a sentinel, a
 * claim, or parts without a claim (WAL-G's).
 *
 * The claim of a run that was killed stays. It is taken over where that run is proved to have ended: its process ran on
 * this machine since its last start, in our own namespace of process numbers, and is gone. Of two that take it over, the
 * one goes on that puts `taken-<run>.json` beside it, which stays. Everywhere else, a person has to say.
 */
import { randomUUID } from 'node:crypto'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import * as v from 'valibot'
import {
  backupName,
  backupNotes,
  claimKey,
  claimPrefix,
  objectsFolder,
  parseClaimKey,
  sentinelKey,
} from '../archive/backup-keys.ts'
import { listSentinels } from '../archive/backups.ts'
import { isError, systemCode, WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectStore } from '../store/object-store.ts'

const processSchema = v.object({ boot: v.string(), namespace: v.string(), pid: v.number() })
const claimSchema = v.object({
  run: v.pipe(v.string(), v.uuid()),
  host: v.string(),
  time: v.pipe(v.string(), v.isoTimestamp()),
  process: v.nullable(processSchema),
})

export type Claim = v.InferOutput<typeof claimSchema>

const largestClaimBytes = 64 * 1024

/** A claim of this process, for one backup. */
export async function makeClaim(now: Date): Promise<Claim> {
  return { run: randomUUID(), host: hostname(), time: now.toISOString(), process: await ownProcess() }
}

/** Null where the system does not tell. */
async function ownProcess(): Promise<Claim['process']> {
  try {
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
    return { boot, namespace: await readlink('/proc/self/ns/pid'), pid: process.pid }
  } catch {
    return null
  }
}

/** Whether the run that claimed is proved to have ended. `mine` is a claim of this process. */
export function isGone(claim: Claim, mine: Claim, isThere: (pid: number) => boolean = isRunning): boolean {
  const theirs = claim.process
  if (theirs === null || mine.process === null) return false
  return theirs.boot === mine.process.boot && theirs.namespace === mine.process.namespace && !isThere(theirs.pid)
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemCode(error) !== 'ESRCH'
  }
}

/**
 * Makes the name of the backup that starts in `segment` ours. Throws BACKUP_TAKEN. Returns the run whose leftovers were
 * removed for that, or null.
 */
export async function claimName(
  store: ObjectStore,
  segment: string,
  mine: Claim,
  options: CallOptions,
): Promise<Claim | null> {
  const name = backupName(segment)
  await refuseWhole(store, name, options)
  const other = await putClaim(store, segment, mine, options)
  if (other !== null) {
    if (!isGone(other, mine)) throw taken(name, `${other.host} began it at ${other.time}, and may still be at it`)
    // It may have come to its end just now, after the first look: what it has written is a backup then.
    await refuseWhole(store, name, options)
    await takeOver(store, segment, other, mine, options)
  }
  for await (const { key } of store.list({ prefix: objectsFolder(name), limit: 1, signal: options.signal })) {
    await store.deleteMany([claimKey(segment)], options)
    throw taken(name, `${key} lies there, and nobody has claimed it`)
  }
  return other
}

async function refuseWhole(store: ObjectStore, name: string, options: CallOptions): Promise<void> {
  if ((await store.head(sentinelKey(name), options)) !== null) throw taken(name, 'it is there, and whole')
}

/** Null if the claim is ours now, else the one that is there. */
async function putClaim(
  store: ObjectStore,
  segment: string,
  mine: Claim,
  { signal }: CallOptions,
): Promise<Claim | null> {
  const key = claimKey(segment)
  try {
    await store.put(key, Buffer.from(JSON.stringify(mine)), { ifAbsent: true, signal })
    return null
  } catch (error) {
    if (!isError(error, 'KEY_EXISTS')) throw error
  }
  const there = await readClaim(store, key, { signal })
  if (there === null) throw taken(backupName(segment), 'a claim is there that cannot be read')
  return there.run === mine.run ? null : there
}

async function takeOver(
  store: ObjectStore,
  segment: string,
  gone: Claim,
  mine: Claim,
  options: CallOptions,
): Promise<void> {
  const name = backupName(segment)
  const note = `${backupNotes(segment)}taken-${gone.run}.json`
  try {
    await store.put(note, Buffer.from(JSON.stringify(mine)), { ifAbsent: true, signal: options.signal })
  } catch (error) {
    if (!isError(error, 'KEY_EXISTS')) throw error
    const other = await readClaim(store, note, options)
    if (other?.run !== mine.run) throw taken(name, 'another run takes over what a killed one has left')
  }
  const left: string[] = []
  for await (const { key } of store.list({ prefix: objectsFolder(name), signal: options.signal })) left.push(key)
  for await (const { key } of store.list({ prefix: backupNotes(segment), signal: options.signal })) {
    if (!key.includes('/taken-') && key !== claimKey(segment)) left.push(key)
  }
  await store.deleteMany(left, options)
  await store.deleteMany([claimKey(segment)], options)
  if ((await putClaim(store, segment, mine, options)) !== null) throw taken(name, 'another run has claimed it just now')
}

async function readClaim(store: ObjectStore, key: string, { signal }: CallOptions): Promise<Claim | null> {
  const parts: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const part of await store.get(key, { signal })) {
      bytes += part.length
      if (bytes > largestClaimBytes) return null
      parts.push(part)
    }
    const read = v.safeParse(claimSchema, JSON.parse(Buffer.concat(parts).toString('utf8')))
    return read.success ? read.output : null
  } catch (error) {
    if (error instanceof SyntaxError || isError(error, 'KEY_MISSING')) return null
    throw error
  }
}

/** A backup that was begun and has no sentinel. It may still be under way. */
export interface Unfinished {
  readonly name: string
  /** Null if it cannot be read. */
  readonly claim: Claim | null
}

export async function listUnfinished(store: ObjectStore, options: CallOptions): Promise<Unfinished[]> {
  const whole = new Set<string>()
  for await (const { name } of listSentinels(store, options)) whole.add(name)
  const found: Unfinished[] = []
  for await (const { key } of store.list({ prefix: claimPrefix, signal: options.signal })) {
    const segment = parseClaimKey(key)
    if (segment === null || whole.has(backupName(segment))) continue
    found.push({ name: backupName(segment), claim: await readClaim(store, key, options) })
  }
  return found
}

/** `why` is a clause of its own. */
function taken(name: string, why: string): WalferryError {
  return new WalferryError('BACKUP_TAKEN', `the base backup ${name} cannot be taken: ${why}`, {
    hint:
      'The name is that of the segment in which the backup starts. It will be another one after a checkpoint in a later ' +
      'segment: run SELECT pg_switch_wal() and CHECKPOINT on the primary and let the standby come to it, wait, or back ' +
      'up the primary.',
    fields: { name },
  })
}
