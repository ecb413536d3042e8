/**
 * Asks a running receiver for its status: `GET /status.json` at its listener. What comes back may be anything, from
 * anybody who listens there: it is bounded, checked by the schema, and can do nothing to a terminal.
 */
import { X509Certificate } from 'node:crypto'
import { type IncomingMessage, request as requestPlain, type RequestOptions } from 'node:http'
import { request as requestTls } from 'node:https'
import type { ConnectionOptions } from 'node:tls'
import * as v from 'valibot'
import { withDeadline } from '../kit/abort.ts'
import { describe, isError, systemCode, WalferryError } from '../kit/errors.ts'
import { oneLine } from '../kit/one-line.ts'
import { type Status, statusSchema } from '../serve/status.ts'
import { readCertificates } from './certificate-file.ts'

export interface ReceiverAddress {
  readonly host: string
  readonly port: number
  /** The file of the one certificate that is trusted, as PEM. Null: it is asked without TLS. */
  readonly certificateFile: string | null
}

/** Nobody is there, or nobody answers. */
export interface Silence {
  readonly silence: string
}

const answerMs = 5000
const largestBytes = 256 * 1024
const path = '/status.json'
/** There is nobody, or a network between that says so. */
const silent =
  /^E(?:CONNREFUSED|HOSTUNREACH|NETUNREACH|HOSTDOWN|NETDOWN|TIMEDOUT|ADDRNOTAVAIL)$|^ENOTFOUND$|^EAI_AGAIN$/

/** Such as `http://127.0.0.1:9868`. */
export function urlOf({ host, port, certificateFile }: ReceiverAddress): string {
  return `${certificateFile === null ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/**
 * Rejects RECEIVER_FOREIGN for an answer that is no receiver's, BAD_INPUT for a file that holds no certificate, or the
 * signal's reason.
 */
export async function askReceiver(address: ReceiverAddress, signal: AbortSignal): Promise<Status | Silence> {
  const late = new Error(`it does not answer within ${answerMs / 1000} s`)
  try {
    return await withDeadline(
      answerMs,
      signal,
      () => late,
      async (inner) => readStatus(address, await get(address, await trustOf(address), inner)),
    )
  } catch (error) {
    if (signal.aborted || isError(error)) throw error
    if (error === late) return { silence: late.message }
    const code = systemCode(error) ?? ''
    if (silent.test(code)) return { silence: code }
    throw foreign(address, `does not answer as a receiver: ${describe(error)}`, tlsHint(address))
  }
}

interface Received {
  readonly status: number
  readonly type: string
  readonly body: string
}

function get({ host, port }: ReceiverAddress, trust: Trust | null, signal: AbortSignal): Promise<Received> {
  const plain: RequestOptions = { host, port, path, signal, agent: false, headers: { Accept: 'application/json' } }
  return new Promise((resolve, reject) => {
    const onResponse = (response: IncomingMessage): void => void receive(response).then(resolve, reject)
    const request = trust === null ? requestPlain(plain, onResponse) : requestTls({ ...plain, ...trust }, onResponse)
    request.once('error', reject)
    request.end()
  })
}

type Trust = Pick<ConnectionOptions, 'ca' | 'allowPartialTrustChain' | 'checkServerIdentity'>

/**
 * That certificate and no other, under whatever name the listener is reached: it is usually 127.0.0.1, which the
 * certificate of a listener that others scrape does not name. Read each time, because certificates are renewed.
 */
async function trustOf({ certificateFile }: ReceiverAddress): Promise<Trust | null> {
  if (certificateFile === null) return null
  const hint = 'Name the file that walferry receive is given with this option; a copy of it will do.'
  const pem = await readCertificates('listen-tls-cert', certificateFile, hint)
  const expected = new X509Certificate(pem)
  return {
    ca: pem,
    // Also if it is signed by an authority that is not among them.
    allowPartialTrustChain: true,
    checkServerIdentity: (_host, { raw }) =>
      expected.raw.equals(raw) ? undefined : new Error('its certificate is another one than that of --listen-tls-cert'),
  }
}

async function receive(response: IncomingMessage): Promise<Received> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of response) {
    if (!(part instanceof Buffer)) continue
    bytes += part.length
    if (bytes > largestBytes) throw new Error(`its answer is longer than ${largestBytes} bytes`)
    parts.push(part)
  }
  const type = response.headers['content-type'] ?? 'no type'
  return { status: response.statusCode ?? 0, type, body: Buffer.concat(parts).toString('utf8') }
}

function readStatus(address: ReceiverAddress, { status, type, body }: Received): Status {
  if (status !== 200 || !type.startsWith('application/json')) {
    throw foreign(address, `answers ${path} with HTTP ${status} (${shown(type)})`, tlsHint(address))
  }
  const told = parseJson(body)
  const read = v.safeParse(statusSchema, told)
  if (read.success) return read.output
  const field = v.getDotPath(read.issues[0]) ?? 'all of it'
  const of = v.safeParse(v.object({ version: v.string() }), told)
  const version = of.success ? ` (it says that it is version ${shown(of.output.version)})` : ''
  const hint = 'If that is a receiver, ask it with the walferry of its own version.'
  throw foreign(address, `answers ${path} with something else than a status: ${field}${version}`, hint)
}

/** With texts that may go to a terminal. Not JSON: undefined. */
function parseJson(body: string): unknown {
  try {
    return JSON.parse(body, (_key, value: unknown) => (typeof value === 'string' ? oneLine(value) : value))
  } catch {
    return undefined
  }
}

function shown(text: string): string {
  return oneLine(text).slice(0, 60)
}

function tlsHint({ certificateFile }: ReceiverAddress): string {
  const tls =
    certificateFile === null
      ? 'if the receiver serves TLS, give its --listen-tls-cert, too'
      : 'leave --listen-tls-cert out if the receiver serves no TLS'
  return `--listen is the receiver's own option; ${tls}. --listen off asks the archive alone.`
}

function foreign(address: ReceiverAddress, what: string, hint: string): WalferryError {
  return new WalferryError('RECEIVER_FOREIGN', `what listens on ${urlOf(address)} ${oneLine(what)}`, { hint })
}
