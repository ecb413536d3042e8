/**
 * What `fetch` does for the segments that will be asked for next, once it has served one: it tells the background process,
 * or starts it.
 *
 * The process is started only where it is of use: for a server that recovers, and only if the next segment is in the
 * archive, so that a short recovery does not pay for it. It runs below a `sh` that ends with 0 whatever happens:
 * where the postmaster is process 1 it inherits the orphan, and would take a killed one for a crash of its own.
 */
import { spawn } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import { segmentKey } from '../archive/keys.ts'
import { withDeadline } from '../kit/abort.ts'
import { makePrefetchFolder, prefetchFolder, tellPrefetch } from '../restore/prefetch-folder.ts'
import { isRecovering } from '../restore/prefetch-life.ts'
import { nameAfter } from '../restore/prefetch-plan.ts'

export interface Served {
  readonly archive: Archive
  readonly name: string
  readonly dest: string
  /** The command line: NAME, DEST, options. */
  readonly args: readonly string[]
  /** What bin/walferry-fetch wants to find in the folder's "for". */
  readonly key: string
}

const patienceMs = 2000 // the server waits meanwhile
const shell = 'trap "" HUP INT TERM; "$@"; exit 0'
const program = join(import.meta.dirname, 'prefetch-main.js')

/** Never throws: the segment was served, and what is not fetched ahead is fetched when it is asked for. */
export async function fetchAhead(served: Served, signal: AbortSignal): Promise<void> {
  const { archive, name, key, args } = served
  const dest = resolve(served.dest)
  const folder = prefetchFolder(dest)
  try {
    if (await tellPrefetch(folder, key, name)) return
    if (!(await isRecovering(dirname(dirname(dest)), key))) return
    const { size } = await stat(dest)
    const next = nameAfter(name, size)
    if (!(await withDeadline(patienceMs, signal, tooSlow, (short) => isInArchive(archive, next, short)))) return
    await makePrefetchFolder(folder, key, name)
    const command = [process.execPath, program, String(size), ...args]
    // In a session of its own: the server signals all of its own one. Node.js hands on no other file that is open.
    const child = spawn('/bin/sh', ['-c', shell, 'walferry', ...command], { detached: true, stdio: 'ignore' })
    // It is told later, and nobody listening would end this process, and the recovery with it.
    child.once('error', () => undefined)
    child.unref()
  } catch {
    // As it is said above.
  }
}

const tooSlow = (): Error => new Error('the store did not say in time')

async function isInArchive(archive: Archive, name: string, signal: AbortSignal): Promise<boolean> {
  if ((await archive.store.head(segmentKey(name, 'lz4'), { signal })) !== null) return true
  return (await archive.findSegment(name, { signal })).length > 0
}
