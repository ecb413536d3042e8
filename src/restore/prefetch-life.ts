/**
 * How long the background process has something to do: while the server that it was started for recovers.
 *
 * The server's run is the beginning of the folder's "for": the first and the third line of postmaster.pid, which are its
 * process id and its start time (src/include/miscadmin.h, LOCK_FILE_LINE_...).
 */
import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../kit/errors.ts'

/** False once the server has ended, another one was started, or its recovery is over. */
export async function isRecovering(dataFolder: string, key: string): Promise<boolean> {
  const [pid, started] = key.split('\t')
  const lines = (await textOf(join(dataFolder, 'postmaster.pid')))?.split('\n')
  if (lines === undefined || lines[0] !== pid || lines[2] !== started || !isAlive(Number(pid))) return false
  // The server removes them when its recovery ends.
  return (await isThere(join(dataFolder, 'recovery.signal'))) || (await isThere(join(dataFolder, 'standby.signal')))
}

/** A killed server leaves its postmaster.pid behind. */
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return systemCode(error) === 'EPERM'
  }
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}

async function textOf(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch(() => undefined)
}
