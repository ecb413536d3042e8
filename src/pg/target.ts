/**
 * Which servers to connect to, and how: a connection string (conninfo.ts), filled up from libpq's variables, with
 * libpq's meaning (documentation, sections "Parameter Key Words" and "Environment Variables"). Three defaults are our
 * own: `localhost` instead of a socket's folder that depends on how libpq was built, ten seconds of connect_timeout
 * instead of for ever, and the application_name.
 */
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { WalferryError } from '../kit/errors.ts'
import { type Conninfo, type Parameter, parameters, parseConninfo } from './conninfo.ts'

export const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof sslModes)[number]

export const sessionAttrs = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const
export type SessionAttrs = (typeof sessionAttrs)[number]

/** Where one server is. */
export interface Host {
  /** A host name, an address, or the folder of a Unix socket (begins with a slash). */
  readonly name: string
  /** The address to use instead of looking the name up; the name still is what a certificate is checked for. */
  readonly address: string | null
  readonly port: number
}

export interface Target {
  /** At least one; tried in order. */
  readonly hosts: readonly Host[]
  readonly sessionAttrs: SessionAttrs
  /** For each host, from the look-up of its name to a session that is ready; 0: no limit. */
  readonly connectTimeoutSeconds: number
  readonly user: string
  /** The database of ordinary connections; a replication connection has none. */
  readonly database: string
  /** null: ask the password file. */
  readonly password: string | null
  readonly passFile: string
  readonly sslMode: SslMode
  readonly sslRootCert: string | null
  readonly sslCert: string | null
  readonly sslKey: string | null
  readonly applicationName: string
}

type Variables = Readonly<Record<string, string | undefined>>
type Value = (name: Parameter) => string | undefined

/** Longer than Node.js' timers can wait. */
const maxTimeoutSeconds = 2_000_000

/** Reads a connection string (undefined: variables and defaults alone). Throws BAD_INPUT. */
export function parseTarget(conninfo: string | undefined, env: Variables): Target {
  const given: Conninfo = conninfo === undefined ? {} : parseConninfo(conninfo)
  const value: Value = (name) => {
    const text = given[name] ?? env[parameters[name]]
    return text === '' ? undefined : text
  }
  const rootCert = value('sslrootcert') ?? null
  const sslMode = oneOf(sslModes, 'sslmode', value('sslmode') ?? (rootCert === 'system' ? 'verify-full' : 'prefer'))
  // As libpq: with every public authority trusted, anything weaker would verify nothing.
  if (rootCert === 'system' && sslMode !== 'verify-full' && sslMode !== 'disable') {
    throw bad(`sslrootcert=system and sslmode=${sslMode} verify nothing`, 'Use sslmode=verify-full.')
  }
  return {
    hosts: hostsOf(value),
    sessionAttrs: oneOf(sessionAttrs, 'target_session_attrs', value('target_session_attrs') ?? 'any'),
    connectTimeoutSeconds: timeoutOf(value('connect_timeout') ?? '10'),
    user: value('user') ?? userName(),
    database: value('dbname') ?? 'postgres',
    password: env['PGPASSWORD'] || null,
    passFile: value('passfile') ?? join(homeFolder(), '.pgpass'),
    sslMode,
    sslRootCert: rootCert,
    sslCert: value('sslcert') ?? null,
    sslKey: value('sslkey') ?? null,
    applicationName: value('application_name') ?? 'walferry',
  }
}

/** The hosts as describeHost has them, `a:5432, b:5432`: for messages. */
export function describeTarget(target: Target): string {
  return target.hosts.map(describeHost).join(', ')
}

/** `host:port`, or the socket's path. */
export function describeHost({ name, port }: Host): string {
  if (name.startsWith('/')) return `${name}/.s.PGSQL.${port}`
  return name.includes(':') ? `[${name}]:${port}` : `${name}:${port}`
}

/** Of a user that the machine does not know, as a container may run us, and without HOME: the root folder. */
export function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    throw bad('no user is given, and this machine has no name for the one that runs us', 'Set user=, or PGUSER.')
  }
}

/** An empty entry of a list has its default. One port is that of every host. */
function hostsOf(value: Value): Host[] {
  const [names, addresses, ports] = [value('host'), value('hostaddr'), value('port')].map((text) => text?.split(','))
  const count = (addresses ?? names ?? ['']).length
  if (addresses !== undefined && names !== undefined && names.length !== count) {
    throw bad(`${names.length} hosts and ${count} values of hostaddr do not match`)
  }
  if (ports !== undefined && ports.length !== 1 && ports.length !== count) {
    throw bad(`${ports.length} ports and ${count} hosts do not match`, 'Give one port for all hosts, or one for each.')
  }
  return Array.from({ length: count }, (_, n) => {
    const address = addresses?.[n] || null
    const portText = (ports?.length === 1 ? ports[0] : ports?.[n]) || '5432'
    return { name: names?.[n] || address || 'localhost', address, port: portOf(portText) }
  })
}

function portOf(text: string): number {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) throw bad(`"${text}" is not a port`)
  return port
}

function timeoutOf(text: string): number {
  if (!/^-?\d+$/.test(text) || Number(text) > maxTimeoutSeconds) {
    throw bad(`"${text}" is not a connect_timeout`, 'Give whole seconds; 0 is no limit.')
  }
  return Math.max(Number(text), 0)
}

function oneOf<T extends string>(choices: readonly T[], parameter: Parameter, text: string): T {
  const found = choices.find((choice) => choice === text)
  if (found === undefined) throw bad(`"${text}" is no value of ${parameter}`, `One of ${choices.join(', ')}.`)
  return found
}

function bad(message: string, hint?: string): WalferryError {
  return new WalferryError('BAD_INPUT', message, hint === undefined ? {} : { hint })
}
