/** One SQL statement on a connection of its own. */
import pg from 'pg'
import { orAbort } from '../kit/abort.ts'

/** How to reach a server as its superuser, without a password. */
export interface Connection {
  /** A host name, or the folder of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
}

export type Row = Readonly<Record<string, unknown>>

const connectTimeoutMs = 10_000

/** Rejects with pg's error: a DatabaseError with the server's `code`, or a connection's. */
export async function query(connection: Connection, sql: string, signal: AbortSignal): Promise<readonly Row[]> {
  const client = new pg.Client({
    ...connection,
    // All that pg would else take from the environment (PGPASSWORD, PGSSLMODE, PGOPTIONS, PGAPPNAME).
    password: '',
    ssl: false,
    options: '-c client_min_messages=warning',
    application_name: 'walferry',
    connectionTimeoutMillis: connectTimeoutMs,
  })
  // A server that dies is seen by the query that fails; without a listener it would end our process.
  client.on('error', () => undefined)
  try {
    await orAbort(client.connect(), signal)
    const result = await orAbort(client.query<Row>(sql), signal)
    return result.rows
  } finally {
    // Not waited for: a server that does not answer must not hold back one who has given up.
    client.end().catch(() => undefined)
  }
}
