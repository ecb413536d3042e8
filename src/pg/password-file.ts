/**
 * The password file, PGPASSFILE or ~/.pgpass (documentation, section "The Password File"). One line for each password,
 * the first that fits is taken, `*` fits everything, and a backslash makes the next character a plain one:
 *
 *     # hostname:port:database:username:password
 *     db.example:5432:replication:walferry:se\:cret
 *
 * As libpq, a file that others may read is not used; unlike libpq, which only warns, we say so when the server asks for
 * the password that was in it.
 */
import { readFile, stat } from 'node:fs/promises'
import { describe, isError, systemCode, WalferryError } from '../kit/errors.ts'

export interface Wanted {
  /** A host name, an address, or the folder of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}

/** The folders that libpq may have been built with. A socket there is found as `localhost`. */
const defaultSocketFolders = ['/tmp', '/run/postgresql', '/var/run/postgresql']

/** The password for a server that asks for one. Rejects PG_REFUSED, with a hint at what is wrong with the file. */
export async function passwordFromFile(path: string, wanted: Wanted): Promise<string> {
  const { host, port, database, user } = wanted
  const nothing = (hint: string): WalferryError =>
    new WalferryError('PG_REFUSED', `${host}:${port} asks for a password of "${user}", and there is none`, { hint })
  const line = `${host}:${port}:${database}:${user}:...`
  try {
    const file = await stat(path)
    if (!file.isFile()) throw nothing(`The password file ${path} is not used, because it is no plain file.`)
    if (process.platform !== 'win32' && (file.mode & 0o077) !== 0) {
      throw nothing(`The password file ${path} is not used, because others than its owner may access it: chmod 600.`)
    }
    const password = findPassword(await readFile(path, 'utf8'), wanted)
    if (password === null) throw nothing(`The password file ${path} has no line for ${line}`)
    return password
  } catch (error) {
    if (isError(error)) throw error
    if (systemCode(error) !== 'ENOENT') throw nothing(`The password file cannot be read: ${describe(error)}.`)
    throw nothing(`Set PGPASSWORD, or PGPASSFILE to a file of mode 600 with a line ${line} (${path} is not there).`)
  }
}

/** The password in a password file of this content, or null. */
export function findPassword(content: string, wanted: Wanted): string | null {
  const field = /((?:[^:\\]|\\.)*):/.source
  const entry = new RegExp(`^${field}${field}${field}${field}(.+)$`)
  for (const line of content.split(/\r?\n/)) {
    const [, host = '', port = '', database = '', user = '', password = ''] = entry.exec(line) ?? []
    if (password === '' || line.startsWith('#')) continue
    const isHere = hostNames(wanted.host).some((name) => fits(host, name))
    if (isHere && fits(port, String(wanted.port)) && fits(database, wanted.database) && fits(user, wanted.user)) {
      return unescape(password)
    }
  }
  return null
}

function hostNames(host: string): string[] {
  return defaultSocketFolders.includes(host) ? [host, 'localhost'] : [host]
}

function fits(field: string, value: string): boolean {
  return field === '*' || unescape(field) === value
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, '$1')
}
