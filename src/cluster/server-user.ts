/**
 * PostgreSQL refuses to run as root. Where we are not root, our servers run as ourselves, and nothing here does
 * anything. Where we are:
 *
 * - if the kernel allows it, they run in a user namespace (`unshare`), in which root is just some user: files belong to
 *   whom they belonged to, and what a server runs (restore_command) can read what we can read;
 * - else they run as another user, and all that they read and write must belong to it. Then the program, Node.js and all
 *   folders above them must be readable for everybody: a checkout in /root is not.
 */
import { execFile } from 'node:child_process'
import { lchown, readdir, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemCode, WalferryError } from '../kit/errors.ts'

export interface ServerUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** In this order: `postgres` where a package has made it, else the user that owns nothing. */
const candidates = ['postgres', 'nobody']

/** How to start a program as what servers run as. */
export interface ServerCommand {
  readonly file: string
  readonly args: readonly string[]
  /** Options of `spawn`. */
  readonly identity: { readonly uid?: number; readonly gid?: number }
}

const namespaceArguments = ['--user', '--map-user=1000', '--map-group=1000', '--']

/** Throws CLUSTER_FAILED where servers could not run at all. */
export async function serverCommand(file: string, args: readonly string[]): Promise<ServerCommand> {
  if (isRoot() && (await hasUserNamespaces())) {
    return { file: 'unshare', args: [...namespaceArguments, file, ...args], identity: {} }
  }
  const user = await serverUser()
  return { file, args, identity: user === null ? {} : { uid: user.uid, gid: user.gid } }
}

/** The user that servers run as; null if that is ourselves, if only in a namespace. Throws CLUSTER_FAILED. */
export async function serverUser(): Promise<ServerUser | null> {
  if (!isRoot() || (await hasUserNamespaces())) return null
  const users = parsePasswd(await readFile('/etc/passwd', 'utf8'))
  for (const name of candidates) {
    const user = users.find((one) => one.name === name)
    if (user !== undefined) return user
  }
  throw new WalferryError('CLUSTER_FAILED', 'PostgreSQL does not run as root, and there is no user to run it as', {
    hint: `Create a user named ${candidates.join(' or ')}, or run walferry as another user than root.`,
  })
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

let namespacesWork: Promise<boolean> | undefined

/** Asked once: a container may forbid them. */
function hasUserNamespaces(): Promise<boolean> {
  namespacesWork ??= promisify(execFile)('unshare', [...namespaceArguments, 'true']).then(
    () => true,
    () => false,
  )
  return namespacesWork
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
