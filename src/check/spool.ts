/** Whether the spool can take WAL. Creates nothing that stays: a folder that is missing is left to receive. */
import { randomUUID } from 'node:crypto'
import { access, constants, open, rm, stat, statfs } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { isError, systemCode, type WalferryError } from '../kit/errors.ts'
import { lockSpool } from '../spool/lock.ts'
import { findSpoolOwner } from '../spool/recover.ts'
import { spoolError } from '../spool/spool-error.ts'
import { type Finding, failedWith, ok, skipped, warning } from './finding.ts'

export interface SpoolFacts {
  readonly folder: string
  /** Why it cannot be used; null: it can. */
  readonly fault: WalferryError | null
  readonly isThere: boolean
  /** A receiver runs with it now. */
  readonly isLocked: boolean
  /** Of its disk, for us. Null if it could not be asked. */
  readonly freeBytes: number | null
  /** Whose WAL lies in it; null: none, or it could not be read. */
  readonly owner: { readonly systemIdentifier: bigint; readonly segmentBytes: number } | null
}

const mebibyte = 1024 * 1024
const gibibyte = 1024 * mebibyte
/** A short outage of the store fills this much, whatever the segments' size is. */
const fewSegments = 10
const probeBytes = 64 * 1024

/** Rejects only where the program is at fault. */
export async function lookAtSpool(path: string): Promise<SpoolFacts> {
  const folder = resolve(path)
  let facts: SpoolFacts = { folder, fault: null, isThere: false, isLocked: false, freeBytes: null, owner: null }
  try {
    const parent = await nearestFolder(folder)
    facts = { ...facts, isThere: parent === folder, freeBytes: await freeBytesOf(parent) }
    if (!facts.isThere) {
      await access(parent, constants.W_OK | constants.X_OK)
      return facts
    }
    await tryWriting(folder)
    facts = { ...facts, isLocked: await isLocked(folder) }
    return { ...facts, owner: await findSpoolOwner(folder) }
  } catch (error) {
    return { ...facts, fault: spoolError(error, `use the spool ${folder}`) }
  }
}

/** The folder itself, or the nearest above it that is there. */
async function nearestFolder(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) {
    try {
      // The slash refuses what is no folder.
      await stat(join(at, '/'))
      return at
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' || at === dirname(at)) throw error
    }
  }
}

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

/** What receive will do with every segment: create, write, sync. */
async function tryWriting(folder: string): Promise<void> {
  const path = join(folder, `check-${randomUUID()}`)
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      await file.write(Buffer.alloc(probeBytes))
      await file.sync()
    } finally {
      await file.close()
    }
  } finally {
    await rm(path, { force: true })
  }
}

/** A lock file that is not there is not created, and then nobody holds it. */
async function isLocked(folder: string): Promise<boolean> {
  try {
    await stat(join(folder, 'lock'))
    await (await lockSpool(folder)).close()
    return false
  } catch (error) {
    if (isError(error, 'SPOOL_IN_USE')) return true
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

export function checkSpool(facts: SpoolFacts): Finding {
  const { folder, fault, isThere } = facts
  if (fault !== null) return failedWith('spool', fault)
  if (!isThere) return ok('spool', `${folder} is not there: receive creates it`)
  return ok('spool', `${folder} can be written to${facts.isLocked ? '; a receiver is running with it' : ''}`)
}

/** `segmentBytes` is null where the server could not be asked. */
export function checkSpace({ freeBytes }: SpoolFacts, segmentBytes: number | null): Finding {
  const name = 'spool space'
  if (freeBytes === null) return skipped(name, 'the disk of the spool could not be asked')
  const leastBytes = Math.max(gibibyte, fewSegments * (segmentBytes ?? 0))
  const what = `${inGibibytes(freeBytes)} free`
  if (freeBytes >= leastBytes) return ok(name, what)
  return warning(
    name,
    `${what}: while the store is away, WAL gathers there`,
    `Make room: at least ${inGibibytes(leastBytes)}, better what the server writes in the longest outage to get over.`,
  )
}

function inGibibytes(bytes: number): string {
  return `${(bytes / gibibyte).toFixed(1)} GiB`
}
