/**
 * What lies beside DEST, which is `pg_wal/RECOVERYXLOG` of the data directory for a recovering server. Found from DEST's
 * path as it is written, not through links (pg_wal may be one), and not from the working directory (pg_rewind calls
 * from elsewhere).
 */
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemCode } from '../kit/errors.ts'
import { historyName, parseHistoryName } from '../wal/segment.ts'

/** The cluster's system identifier: the first 8 bytes of global/pg_control; null where there is no such file. */
export async function systemIdentifierBeside(dest: string): Promise<bigint | null> {
  return (await controlBeside(dest, 0, 8))?.readBigUInt64LE() ?? null
}

/**
 * The timeline of the last checkpoint that global/pg_control knows (checkPointCopy.ThisTimeLineID; it has had this place
 * since PostgreSQL 11): the one on which a recovery starts. Null where there is no such file.
 */
export async function timelineBeside(dest: string): Promise<number | null> {
  return (await controlBeside(dest, 48, 4))?.readUInt32LE() ?? null
}

async function controlBeside(dest: string, at: number, bytes: number): Promise<Buffer | null> {
  try {
    const file = await open(join(dirname(dest), '..', 'global', 'pg_control'), 'r')
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, at)
      return bytesRead < bytes ? null : buffer
    } finally {
      await file.close()
    }
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

/** Whether the server that asks is a standby. */
export async function isStandbyBeside(dest: string): Promise<boolean> {
  try {
    await stat(join(dirname(dest), '..', 'standby.signal'))
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

/**
 * Tells one run of the server from another: process id and start time, the first and the third line of postmaster.pid
 * (src/include/miscadmin.h, LOCK_FILE_LINE_...). Null where no server runs.
 */
export async function serverRunBeside(dest: string): Promise<string | null> {
  try {
    const lines = (await readFile(join(dirname(dest), '..', 'postmaster.pid'), 'utf8')).split('\n')
    return lines[2] === undefined ? null : `${lines[0]}\t${lines[2]}`
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

/** The content of pg_wal's own history file of a timeline; null where there is none. */
export async function historyBeside(dest: string, timeline: number): Promise<Uint8Array | null> {
  try {
    return await readFile(join(dirname(dest), historyName(timeline)))
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

/** The newest timeline whose history file lies in pg_wal; null if there is none. */
export async function newestHistoryBeside(dest: string): Promise<number | null> {
  const names = await readdir(dirname(dest)).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw error
  })
  return names.map(parseHistoryName).reduce((newest, one) => (one !== null && one > (newest ?? 0) ? one : newest), null)
}

function isMissing(error: unknown): boolean {
  return systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR'
}
