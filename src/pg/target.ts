/**
 * Which server to connect to, and how: a URL as libpq takes it, filled up from libpq's variables (documentation,
 * sections "Connection URIs" and "Environment Variables"). Example:
 *
 *     postgres://replicator@db.example:5432/?sslmode=verify-full
 *
 * Every value is given to pg explicitly, because pg reads PGSSLMODE itself, with another meaning than libpq.
 */
import { readFileSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { systemCode, WalferryError } from '../kit/errors.ts'

export const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof sslModes)[number]

export interface Target {
  /** A host name, an address, or the folder of a Unix socket (begins with a slash). */
  readonly host: string
  readonly port: number
  readonly user: string
  /** The database of ordinary connections; a replication connection has none. */
  readonly database: string
  /** null: ask the password file. */
  readonly password: string | null
  readonly sslMode: SslMode
  readonly sslRootCert: string | null
  readonly sslCert: string | null
  readonly sslKey: string | null
  readonly applicationName: string
}

type Variables = Readonly<Record<string, string | undefined>>

/** Parameters of a URL that we understand, and the variable that stands in for each. */
const parameters = {
  host: 'PGHOST',
  port: 'PGPORT',
  user: 'PGUSER',
  dbname: 'PGDATABASE',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  application_name: 'PGAPPNAME',
} as const

/** Reads a connection URL (undefined: variables and defaults alone). Throws BAD_INPUT. */
export function parseTarget(url: string | undefined, env: Variables): Target {
  const given = url === undefined ? {} : parseUrl(url)
  const value = (name: keyof typeof parameters): string | undefined => {
    const text = given[name] ?? env[parameters[name]]
    return text === '' ? undefined : text
  }
  const host = value('host') ?? 'localhost'
  if (host.includes(',')) throw bad(`the host "${host}" names several hosts, of which one can be used`)
  const portText = value('port') ?? '5432'
  const port = Number(portText)
  if (!/^\d+$/.test(portText) || port < 1 || port > 65_535) throw bad(`"${portText}" is not a port`)
  const rootCert = value('sslrootcert') ?? null
  const mode = value('sslmode') ?? (rootCert === 'system' ? 'verify-full' : 'prefer')
  const sslMode = sslModes.find((known) => known === mode)
  if (sslMode === undefined) throw bad(`"${mode}" is not an sslmode`, `One of ${sslModes.join(', ')}.`)
  // As libpq: with every public authority trusted, anything weaker would verify nothing.
  if (rootCert === 'system' && sslMode !== 'verify-full' && sslMode !== 'disable') {
    throw bad(`sslrootcert=system and sslmode=${sslMode} verify nothing`, 'Use sslmode=verify-full.')
  }
  return {
    host,
    port,
    user: value('user') ?? userInfo().username,
    database: value('dbname') ?? 'postgres',
    password: env['PGPASSWORD'] || null,
    sslMode,
    sslRootCert: rootCert,
    sslCert: value('sslcert') ?? null,
    sslKey: value('sslkey') ?? null,
    applicationName: value('application_name') ?? 'walferry',
  }
}

/** `host:port`, or the socket's path: for messages. */
export function describeTarget(target: Target): string {
  return target.host.startsWith('/') ? `${target.host}/.s.PGSQL.${target.port}` : `${target.host}:${target.port}`
}

function parseUrl(url: string): Partial<Record<keyof typeof parameters, string>> {
  const match = /^postgres(?:ql)?:\/\/(?:([^@/?]*)@)?(\[[^\]]*\]|[^:/?]*)(?::(\d*))?(?:\/([^?]*))?(?:\?(.*))?$/.exec(
    url,
  )
  // A second @ is a password with a slash or a question mark that was not escaped: nothing of it may be shown.
  const [, user = '', host = '', port = '', dbname = '', query = ''] = match ?? []
  if (match === null || dbname.includes('@') || query.includes('@')) {
    throw bad('the connection URL cannot be read', 'Write it as postgres://user@host:5432/?sslmode=verify-full.')
  }
  if (user.includes(':')) throw passwordInUrl()
  const found: Partial<Record<keyof typeof parameters, string>> = {}
  if (user !== '') found.user = decode(user)
  if (host !== '') found.host = decode(host.replace(/^\[|\]$/g, ''))
  if (port !== '') found.port = port
  if (dbname !== '') found.dbname = decode(dbname)
  for (const pair of query.split('&').filter((part) => part !== '')) {
    const [name = '', text = ''] = pair.split('=', 2)
    if (name === 'password') throw passwordInUrl()
    const known = Object.keys(parameters).find((key): key is keyof typeof parameters => key === name)
    if (known === undefined) {
      throw bad(
        `the connection URL has an unknown parameter "${name}"`,
        `Known: ${Object.keys(parameters).join(', ')}.`,
      )
    }
    found[known] = decode(text)
  }
  return found
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw bad('the connection URL has a broken %-escape')
  }
}

function passwordInUrl(): WalferryError {
  return bad(
    'the connection URL holds a password, which every user of this machine could read in the process list',
    'Take it out, and set PGPASSFILE (or PGPASSWORD).',
  )
}

function bad(message: string, hint?: string): WalferryError {
  return new WalferryError('BAD_INPUT', message, hint === undefined ? {} : { hint })
}

/** One way to try: plain text (null), or TLS with these options. */
export type TlsAttempt = ConnectionOptions | null

/**
 * What to try, in order, for an sslmode (documentation, section "SSL Support" of libpq): `prefer` and `allow` are two
 * attempts, and `require` verifies the authority where a root certificate is given. Throws BAD_INPUT for files that
 * cannot be read.
 */
export function tlsAttempts(target: Target): TlsAttempt[] {
  if (target.host.startsWith('/')) return [null]
  const unverified = { rejectUnauthorized: false }
  switch (target.sslMode) {
    case 'disable':
      return [null]
    case 'allow':
      return [null, { ...unverified, ...clientCertificate(target) }]
    case 'prefer':
      return [{ ...unverified, ...clientCertificate(target) }, null]
    case 'require': {
      const ca = rootCertificate(target, false)
      const how = ca === undefined ? unverified : { ca, checkServerIdentity: () => undefined }
      return [{ ...how, ...clientCertificate(target) }]
    }
    case 'verify-ca':
      return [{ ...authority(target), checkServerIdentity: () => undefined, ...clientCertificate(target) }]
    case 'verify-full':
      return [{ ...authority(target), ...clientCertificate(target) }]
  }
}

/** `system` means the authorities that Node.js trusts. */
function authority(target: Target): { ca?: Buffer; rejectUnauthorized: true } {
  if (target.sslRootCert === 'system') return { rejectUnauthorized: true }
  const ca = rootCertificate(target, true)
  return ca === undefined ? { rejectUnauthorized: true } : { ca, rejectUnauthorized: true }
}

function rootCertificate(target: Target, needed: boolean): Buffer | undefined {
  if (target.sslRootCert !== null && target.sslRootCert !== 'system') return readFile(target.sslRootCert, 'sslrootcert')
  const path = join(homedir(), '.postgresql', 'root.crt')
  try {
    return readFileSync(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw unreadable(path, 'sslrootcert', error)
    if (!needed) return undefined
    throw bad(
      `sslmode=${target.sslMode} needs a root certificate, and ${path} is not there`,
      'Set sslrootcert to its path, or to "system".',
    )
  }
}

function clientCertificate(target: Target): { cert?: Buffer; key?: Buffer } {
  return {
    ...(target.sslCert === null ? {} : { cert: readFile(target.sslCert, 'sslcert') }),
    ...(target.sslKey === null ? {} : { key: readFile(target.sslKey, 'sslkey') }),
  }
}

function readFile(path: string, name: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw unreadable(path, name, error)
  }
}

function unreadable(path: string, name: string, cause: unknown): WalferryError {
  return new WalferryError('BAD_INPUT', `the file of ${name}, ${path}, cannot be read`, { cause })
}
