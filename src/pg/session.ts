/** Opens one session on one host, with pg.Client over a WireConnection. */
import pg from 'pg'
import { orAbort } from '../kit/abort.ts'
import { describe, WalferryError } from '../kit/errors.ts'
import { passwordFromFile } from './password-file.ts'
import { PlainSocket } from './plain-socket.ts'
import { isWithoutTls, serverError } from './server-errors.ts'
import { describeHost, type Host, type Target } from './target.ts'
import { type TlsAttempt, tlsAttempts } from './tls-attempts.ts'
import { WireConnection } from './wire-connection.ts'

export interface SessionOptions {
  /** A physical replication connection, or an ordinary one. */
  readonly replication: boolean
}

export interface Session {
  readonly client: pg.Client
  readonly connection: WireConnection
  readonly majorVersion: number
  /** `18.1`, `19beta2`: without what a packager adds. */
  readonly serverVersion: string
  /** Which host of the target it is, for messages. */
  readonly host: string
  /** The same, as the entry of the target's hosts that it is. */
  readonly entry: Host
  /** `TLSv1.3`, or null for plain text. */
  readonly tlsVersion: string | null
  /** The target narrowed to the very server that this session is on, even if the host's name leads to several. */
  readonly target: Target
  /** Says goodbye, or cuts the line where the server does not answer. Never rejects. */
  close(): Promise<void>
}

/** How long a goodbye may take. */
const goodbyeMs = 1000

/**
 * Tries what the sslmode allows. As in libpq, the second way is for a server that does not take the first one, not for
 * one that cannot be reached or that has got as far as asking who we are.
 */
export async function openSession(
  target: Target,
  host: Host,
  options: SessionOptions,
  signal: AbortSignal,
): Promise<Session> {
  const doing = `connect to ${describeHost(host)}`
  const [first = null, second] = tlsAttempts(target, host)
  const attempt = new Attempt(target, host, options, first)
  try {
    return await attempt.run(signal)
  } catch (error) {
    signal.throwIfAborted()
    if (second === undefined || attempt.reached !== 'server') throw serverError(error, doing)
    return await new Attempt(target, host, options, second).run(signal).catch((later: unknown) => {
      signal.throwIfAborted()
      throw withFirst(error, second === null, serverError(later, doing))
    })
  }
}

/** Both ways have failed, and either reason may be the one to mend. That a server has no TLS, sslmode has reckoned with. */
function withFirst(first: unknown, wasTls: boolean, later: WalferryError): WalferryError {
  if (isWithoutTls(first) || describe(first) === describe(later.cause)) return later
  const { code, message, fields, retryable, hint, cause } = later
  return new WalferryError(code, `${message} (${wasTls ? 'with' : 'without'} TLS: ${describe(first)})`, {
    fields,
    retryable,
    cause,
    ...(hint === undefined ? {} : { hint }),
  })
}

class Attempt {
  /** How far it came. `authentication`: the server has taken the way, and asked who we are. */
  reached: 'nothing' | 'server' | 'authentication' = 'nothing'
  readonly #target: Target
  readonly #host: Host
  readonly #options: SessionOptions
  readonly #tls: TlsAttempt

  constructor(target: Target, host: Host, options: SessionOptions, tls: TlsAttempt) {
    this.#target = target
    this.#host = host
    this.#options = options
    this.#tls = tls
  }

  async run(signal: AbortSignal): Promise<Session> {
    const target = this.#target
    const host = this.#host
    const ssl = this.#tls ?? false
    const plain = ssl === false ? { stream: () => new PlainSocket() } : {}
    const connection = new WireConnection({ ssl, keepAlive: true, ...plain })
    // libpq asks the password file for the database "replication".
    const database = this.#options.replication ? 'replication' : target.database
    const { user } = target
    const config = {
      host: host.address ?? host.name,
      port: host.port,
      user,
      database,
      password:
        target.password ??
        (() => passwordFromFile(target.passFile, { host: host.name, port: host.port, database, user })),
      ssl,
      sslnegotiation: 'postgres' as const,
      application_name: target.applicationName,
      connection,
      ...(this.#options.replication ? { replication: 'true' } : {}),
    }
    const client = new pg.Client(config)
    // Without a listener, a connection that breaks between two commands would end the process; the next command tells.
    client.on('error', () => undefined)
    let version = ''
    connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) => {
      if (message.parameterName === 'server_version') version = message.parameterValue
    })
    connection.once('connect', () => (this.reached = 'server'))
    for (const request of authenticationRequests) connection.once(request, () => (this.reached = 'authentication'))
    try {
      await orAbort(client.connect(), signal)
    } catch (error) {
      connection.cut(new Error('given up'))
      throw error
    }
    return {
      client,
      connection,
      majorVersion: Number.parseInt(version, 10),
      serverVersion: version.split(' ')[0] ?? version,
      host: describeHost(host),
      entry: host,
      tlsVersion: connection.tlsVersion,
      target: { ...target, sessionAttrs: 'any', hosts: [{ ...host, address: connection.remoteAddress }] },
      close: () => close(client, connection),
    }
  }
}

/** pg's names of the messages with which a server begins to ask, or has nothing to ask. */
const authenticationRequests = [
  'authenticationOk',
  'authenticationCleartextPassword',
  'authenticationMD5Password',
  'authenticationSASL',
] as const

async function close(client: pg.Client, connection: WireConnection): Promise<void> {
  const timer = setTimeout(() => connection.cut(new Error('no goodbye')), goodbyeMs)
  await client.end().catch(() => undefined)
  clearTimeout(timer)
}
