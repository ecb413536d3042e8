/** Opens one connection with pg.Client over a WireConnection: TLS by libpq's rules, passwords from libpq's places. */
import pg from 'pg'
import pgpass from 'pgpass'
import { orAbort } from '../kit/abort.ts'
import { WalferryError } from '../kit/errors.ts'
import { serverError } from './server-errors.ts'
import { describeTarget, type Target, type TlsAttempt, tlsAttempts } from './target.ts'
import { WireConnection } from './wire-connection.ts'

export interface Session {
  readonly client: pg.Client
  readonly connection: WireConnection
  readonly majorVersion: number
  /** Says goodbye, or cuts the line where the server does not answer. Never rejects. */
  close(): Promise<void>
}

/** How long a connection may take to be made, TLS and authentication included. */
const connectTimeoutMs = 10_000
/** How long a goodbye may take. */
const goodbyeMs = 1000

export async function connect(
  target: Target,
  options: { readonly replication: boolean },
  signal: AbortSignal,
): Promise<Session> {
  const attempts = tlsAttempts(target)
  for (const [n, tls] of attempts.entries()) {
    try {
      return await attempt(target, options.replication, tls, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (n === attempts.length - 1) throw serverError(error, `connect to ${describeTarget(target)}`)
    }
  }
  throw new Error('unreachable: every sslmode has an attempt')
}

async function attempt(target: Target, replication: boolean, tls: TlsAttempt, signal: AbortSignal): Promise<Session> {
  const ssl = tls ?? false
  const connection = new WireConnection({ ssl, keepAlive: true })
  const database = replication ? 'replication' : target.database
  const config = {
    host: target.host,
    port: target.port,
    user: target.user,
    database,
    // libpq asks the password file for the database "replication".
    password: target.password ?? (() => passwordFromFile(target, database)),
    ssl,
    application_name: target.applicationName,
    connectionTimeoutMillis: connectTimeoutMs,
    connection,
    ...(replication ? { replication: 'true' } : {}),
  }
  const client = new pg.Client(config)
  // Without a listener, a connection that breaks between two commands would end the process; the next command tells.
  client.on('error', () => undefined)
  let version = ''
  connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) => {
    if (message.parameterName === 'server_version') version = message.parameterValue
  })
  try {
    await orAbort(client.connect(), signal)
  } catch (error) {
    connection.cut(new Error('given up'))
    throw error
  }
  return { client, connection, majorVersion: Number.parseInt(version, 10), close: () => close(client, connection) }
}

async function close(client: pg.Client, connection: WireConnection): Promise<void> {
  const timer = setTimeout(() => connection.cut(new Error('no goodbye')), goodbyeMs)
  await client.end().catch(() => undefined)
  clearTimeout(timer)
}

function passwordFromFile(target: Target, database: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const wanted = { host: target.host, port: target.port, user: target.user, database }
    pgpass(wanted, (password) => {
      if (password !== undefined) resolve(password)
      else {
        reject(
          new WalferryError(
            'PG_REFUSED',
            `${describeTarget(target)} asks for a password of ${target.user}, and there is none`,
            {
              hint: `Set PGPASSWORD, or PGPASSFILE with a line for the database "${database}".`,
            },
          ),
        )
      }
    })
  })
}
