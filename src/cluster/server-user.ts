/**
 * PostgreSQL refuses to run as root. Where we are root, our servers run as another user, and all that they read and
 * write must belong to it: data folders, and the folder that holds them. Where we are not, they run as ourselves, and
 * nothing here does anything.
 *
 * What a server runs (archive_command, restore_command) runs as that user, too. So below root the program, Node.js and
 * all folders above them must be readable for everybody: a checkout in /root is not.
 */
import { lchown, readdir, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode, WalferryError } from '../kit/errors.ts'

export interface ServerUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** In this order: `postgres` where a package has made it, else the user that owns nothing. */
const candidates = ['postgres', 'nobody']

/** The user that servers run as; null if that is ourselves. Throws CLUSTER_FAILED. */
export async function serverUser(): Promise<ServerUser | null> {
  if (process.getuid?.() !== 0) return null
  const users = parsePasswd(await readFile('/etc/passwd', 'utf8'))
  for (const name of candidates) {
    const user = users.find((one) => one.name === name)
    if (user !== undefined) return user
  }
  throw new WalferryError('CLUSTER_FAILED', 'PostgreSQL does not run as root, and there is no user to run it as', {
    hint: `Create a user named ${candidates.join(' or ')}, or run walferry as another user than root.`,
  })
}

/** Reads lines such as `postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash`. */
export function parsePasswd(text: string): ServerUser[] {
  const users: ServerUser[] = []
  for (const line of text.split('\n')) {
    const match = /^([^:#]+):[^:]*:(\d+):(\d+):/.exec(line)
    if (match !== null) users.push({ name: match[1] ?? '', uid: Number(match[2]), gid: Number(match[3]) })
  }
  return users
}

/** Gives one file or folder to the servers' user. */
export async function giveToServer(path: string): Promise<void> {
  const user = await serverUser()
  if (user !== null) await lchown(path, user.uid, user.gid)
}

/** Gives a data folder and all below it, its tablespaces included, to the servers' user. */
export async function giveDataToServer(dataFolder: string): Promise<void> {
  const user = await serverUser()
  if (user === null) return
  await chownTree(dataFolder, user)
  for (const link of await namesIn(join(dataFolder, 'pg_tblspc'))) {
    await chownTree(await realpath(join(dataFolder, 'pg_tblspc', link)), user)
  }
}

async function chownTree(folder: string, user: ServerUser): Promise<void> {
  await lchown(folder, user.uid, user.gid)
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    await (entry.isDirectory() ? chownTree(path, user) : lchown(path, user.uid, user.gid))
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}
