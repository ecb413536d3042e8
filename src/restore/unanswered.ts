/**
 * A segment that could not be looked for, and of which the server was told "not there" all the same, because a standby
 * asks again. Before it does, it asks for the segment of the same number on the ancestors' timelines, the newest first
 * (src/backend/access/transam/xlogrecovery.c, XLogFileReadAnyTLI). If the store has come back by then, and the segment
 * holds a fork, it would get its parent's, and replay what that wrote behind the fork, without an error. So a note in pg_wal
 * makes "not there" the answer for those, too:
 *
 *     pg_wal/.walferry-unanswered     71234<tab>1769860800<tab>000000020000000000000007
 *
 * It counts for the run of the server that asked (process id and start time, as in postmaster.pid), and only until the
 * next question that is not one of those: then the server has begun anew, with its newest timeline. A server that follows
 * an older timeline on purpose never asks for the newer one, and so leaves no note.
 */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemCode } from '../kit/errors.ts'
import { isSegmentName } from '../wal/segment.ts'
import { serverRunBeside } from './beside.ts'
import type { FileAsked } from './request.ts'

type Asked = Pick<FileAsked, 'name' | 'dest'>

const noteName = '.walferry-unanswered'

/** The segment of a note for whose sake `name` must not be served now, or null. `run`: the server that asks. */
export function waitsFor(note: string, run: string, name: string): string | null {
  const unanswered = note.slice(run.length + 1).trimEnd()
  if (!note.startsWith(`${run}\t`) || !isSegmentName(unanswered)) return null
  // What follows the timeline in a name is the segment's number.
  return unanswered.slice(8) === name.slice(8) && unanswered.slice(0, 8) > name.slice(0, 8) ? unanswered : null
}

/** The segment on a newer timeline that has to be answered before this one, or null; then no note is left. */
export async function unansweredBefore({ name, dest }: Asked): Promise<string | null> {
  if (!isSegmentName(name)) return null
  const path = join(dirname(dest), noteName)
  const note = await readFile(path, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return null
    throw error
  })
  if (note === null) return null
  const run = await serverRunBeside(dest)
  const unanswered = run === null ? null : waitsFor(note, run, name)
  if (unanswered === null) await rm(path, { force: true })
  return unanswered
}

/** To be called before the server is told "not there" of what could not be looked for. */
export async function noteUnanswered({ name, dest }: Asked): Promise<void> {
  const run = await serverRunBeside(dest)
  // Who asks is no server: it asks for one file, and not for an ancestor's in its place.
  if (run === null || !isSegmentName(name)) return
  await writeFile(join(dirname(dest), noteName), `${run}\t${name}\n`, { mode: 0o600 })
  // Where an ancestor's segment has been fetched ahead, nobody would ask us.
  const { prefetchFolder, removePrefetchFolder } = await import('./prefetch-folder.ts')
  await removePrefetchFolder(prefetchFolder(dest))
}
