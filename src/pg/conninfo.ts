/**
 * A connection string as libpq takes it (documentation, section "Connection Strings"), in both of its forms:
 *
 *     postgres://replicator@a.example:5432,b.example:5433/?sslmode=verify-full&target_session_attrs=primary
 *     host=a.example,b.example port=5432,5433 user=replicator application_name='it\'s me'
 *
 * What is neither is the name of a database. What comes out is text by parameter; `target.ts` gives it its meaning.
 *
 * A password is refused: whoever shows a connection string, in a process list, a log or a bug report, must not show one.
 * PGPASSFILE and PGPASSWORD are its places. The error names `parameter: 'password'`, and nothing that could be one is repeated in an error: not the string, and of what cannot be
 * read not even a part.
 */
import { WalferryError } from '../kit/errors.ts'

/** The parameters that we understand, and the variable that stands in for each. */
export const parameters = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  user: 'PGUSER',
  dbname: 'PGDATABASE',
  passfile: 'PGPASSFILE',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  application_name: 'PGAPPNAME',
} as const

export type Parameter = keyof typeof parameters
export type Conninfo = Partial<Record<Parameter, string>>

/** Throws BAD_INPUT. */
export function parseConninfo(text: string): Conninfo {
  if (/^postgres(?:ql)?:\/\//.test(text)) return parseUrl(text)
  if (text.includes('=')) return parsePairs(text)
  if (/^[\w$-]+$/.test(text)) return { dbname: text }
  throw bad(
    'the connection string cannot be read',
    'Write it as postgres://user@host:5432/?sslmode=verify-full, or as "host=... port=... user=...".',
  )
}

function parseUrl(url: string): Conninfo {
  const match = /^[a-z]+:\/\/(?:([^@/?]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/.exec(url)
  const [, user = '', hosts = '', dbname = '', query = ''] = match ?? []
  if (user.includes(':')) throw passwordInside()
  // A second @ is a password with a slash or a question mark that was not escaped: nothing of it may be shown.
  if (match === null || [hosts, dbname, query].some((part) => part.includes('@'))) throw unreadableUrl()
  const found: Conninfo = {}
  if (user !== '') found.user = decode(user)
  const places = hosts.split(',').map(parsePlace)
  const names = places.map((place) => place.name).join(',')
  // One host without a port leaves it to PGPORT; of several hosts, those without one have the default. As libpq.
  const ports = places.map((place) => place.port).join(',')
  if (names !== '') found.host = names
  if (ports !== '') found.port = ports
  if (dbname !== '') found.dbname = decode(dbname)
  for (const pair of query.split('&').filter((part) => part !== '')) {
    const [name = '', value, ...more] = pair.split('=')
    const parameter = known(name)
    if (value === undefined || more.length > 0) throw unreadableUrl()
    found[parameter] = decode(value)
  }
  return found
}

function parsePlace(text: string): { name: string; port: string } {
  const match = /^(?:\[([^\][]+)\]|([^:[\]]*))(?::(\d*))?$/.exec(text)
  if (match === null) throw unreadableUrl()
  return { name: decode(match[1] ?? match[2] ?? ''), port: match[3] ?? '' }
}

function parsePairs(text: string): Conninfo {
  const found: Conninfo = {}
  // A value in quotes, or one up to the next space; in both, a backslash makes the next character a plain one.
  const pair = /\s*([^\s=]+)\s*=\s*(?:'((?:[^'\\]|\\[^])*)'|(?!')((?:[^\s\\]|\\[^])*)\\?)\s*/y
  while (pair.lastIndex < text.length) {
    const match = pair.exec(text)
    if (match === null) {
      throw bad(
        'the connection string cannot be read: after a parameter, "=" or the closing quote is missing',
        `Write it as "host=db.example user=walferry"; within quotes, ' is written as \\' and \\ as \\\\.`,
      )
    }
    const [, name = '', quoted, bare = ''] = match
    found[known(name)] = (quoted ?? bare).replace(/\\([^])/g, '$1')
  }
  return found
}

function known(name: string): Parameter {
  if (name === 'password' || name === 'sslpassword') throw passwordInside()
  const parameter = Object.keys(parameters).find((key): key is Parameter => key === name)
  if (parameter !== undefined) return parameter
  const which = /^[a-z_]{1,40}$/.test(name) ? ` "${name}"` : ''
  throw bad(`the connection string has an unknown parameter${which}`, `Known: ${Object.keys(parameters).join(', ')}.`)
}

function decode(text: string): string {
  let decoded
  try {
    decoded = decodeURIComponent(text)
  } catch {
    throw bad('the connection URL has a broken %-escape')
  }
  if (decoded.includes('\0')) throw bad('the connection URL has the forbidden %00')
  return decoded
}

function unreadableUrl(): WalferryError {
  return bad(
    'the connection URL cannot be read',
    'Write it as postgres://user@host:5432/?sslmode=verify-full; several hosts as postgres://user@a:5432,b:5432/.',
  )
}

function passwordInside(): WalferryError {
  const message = 'the connection string holds a password'
  return new WalferryError('BAD_INPUT', message, {
    fields: { parameter: 'password' },
    hint: 'Take it out, and set PGPASSFILE (or PGPASSWORD).',
  })
}

function bad(message: string, hint?: string): WalferryError {
  return new WalferryError('BAD_INPUT', message, hint === undefined ? {} : { hint })
}
