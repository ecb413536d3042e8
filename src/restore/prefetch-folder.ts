/**
 * Where segments wait that were fetched ahead: a folder in pg_wal, through which three parties meet.
 *
 *     pg_wal/.walferry-prefetch/
 *       for                         whom it serves, one line: the text that bin/walferry-fetch makes of the server's run (process
 *                                   id and start time, from postmaster.pid), of the store's variables, and of the options
 *       asked                       the newest segment that walferry-fetch had to leave to Node.js, and that was served
 *       alive                       touched every second by the background process
 *       .000000010000000000000008   being written
 *       000000010000000000000007    whole, checked, synced: for walferry-fetch to move to DEST, if "for" is what it would write
 *
 * In pg_wal, because a move to DEST is atomic only on DEST's disk, and pg_wal may be a link to another one. PostgreSQL
 * looks at no name there that is not of WAL, and pg_basebackup leaves out what lies in pg_wal. What a crash leaves
 * behind, or a copy of the data folder takes along, is never served: a server that is started again is another run. Nor
 * is what was fetched for another --store, because that is part of the line.
 *
 * The folder appears with all that it needs, and disappears, by one rename each. The background process lives in it, as
 * its working directory, and never makes it: once the folder was moved away, whatever that process still writes goes
 * there, too. So to take the folder away is to end the process.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { systemCode } from '../kit/errors.ts'

const folderName = '.walferry-prefetch'
export const forName = 'for'
export const askedName = 'asked'
export const aliveName = 'alive'

export const beatMs = 1000
const silentMs = 5 * beatMs // a process that is only slow, on a busy machine, is not taken for dead

export function prefetchFolder(dest: string): string {
  return join(dirname(dest), folderName)
}

/** True if a background process fetches ahead of `key`'s server, and was told that it has got `segment`. */
export async function tellPrefetch(folder: string, key: string, segment: string): Promise<boolean> {
  try {
    if ((await readFile(join(folder, forName), 'utf8')) !== `${key}\n`) return false
    if (Math.abs(Date.now() - (await stat(join(folder, aliveName))).mtimeMs) > silentMs) return false
    // Never half written under its name, and never seen as the one before.
    const temporary = join(folder, `.${askedName}`)
    await writeFile(temporary, segment)
    await rename(temporary, join(folder, askedName))
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

/** Makes the folder, for a background process that is to be started, after `segment` was served. */
export async function makePrefetchFolder(folder: string, key: string, segment: string): Promise<void> {
  await removePrefetchFolder(folder)
  const temporary = `${folder}-${process.pid}-new` // the one that was moved away may still be there
  await mkdir(temporary, { mode: 0o700 })
  for (const [name, text] of [
    [forName, `${key}\n`],
    [askedName, segment],
    [aliveName, ''],
  ] as const) {
    await writeFile(join(temporary, name), text, { mode: 0o600 })
  }
  await rename(temporary, folder)
}

/**
 * Takes the folder away, and what crashes have left of such. A process that still writes into one that was moved away may
 * keep it from being removed now: then that process does it, when it ends, or the next call does.
 */
export async function removePrefetchFolder(folder: string): Promise<void> {
  await rename(folder, `${folder}-${process.pid}`).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw error
  })
  for (const name of await readdir(dirname(folder))) {
    if (!name.startsWith(`${basename(folder)}-`)) continue
    await rm(join(dirname(folder), name), { recursive: true, force: true }).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOTEMPTY') throw error
    })
  }
}
