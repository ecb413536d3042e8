/** The programs of others that are installed here. */
import { execFile } from 'node:child_process'
import { access, realpath } from 'node:fs/promises'
import { basename, delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const names = ['pg_receivewal', 'pg_basebackup', 'wal-g', 'pgbackrest', 'barman', 'tar', 'lz4'] as const

export type PeerName = (typeof names)[number]

/** A path for each of those that are there. */
export type Peers = Readonly<Partial<Record<PeerName, string>>>

export async function findPeers(pgBin: string | undefined): Promise<Peers> {
  // Debian's programs in PATH are wrappers; those of the versions are measured, the newest first.
  const versioned = [18, 17, 16, 15, 14, 13].map((major) => `/usr/lib/postgresql/${major}/bin`)
  const path = (process.env['PATH'] ?? '').split(delimiter)
  const found: Partial<Record<PeerName, string>> = {}
  for (const name of names) {
    const program = await firstOf([...(pgBin === undefined ? versioned : [pgBin]), ...path], name)
    if (program !== null) found[name] = program
  }
  return found
}

/** A line that tells which are used, and which are missing. */
export async function tellPeers(peers: Peers): Promise<string> {
  const told = await Promise.all(
    names.map(async (name) => `${name} ${peers[name] === undefined ? 'not installed' : await versionOf(peers[name])}`),
  )
  return told.join(', ')
}

async function versionOf(program: string): Promise<string> {
  const args = program.endsWith('/pgbackrest') ? ['version'] : ['--version']
  const said = await promisify(execFile)(program, args).catch(() => ({ stdout: '' }))
  return /\d+\.\d+(?:\.\d+)*/.exec(said.stdout)?.[0] ?? 'of an unknown version'
}

async function firstOf(folders: readonly string[], name: string): Promise<string | null> {
  for (const folder of folders) {
    const path = join(folder, name)
    if (!(await isThere(path))) continue
    const program = await realpath(path)
    // Debian's, which goes by the name that it is called under.
    if (basename(program) !== 'pg_wrapper') return program
  }
  return null
}

export function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
