/**
 * The HTTP listener: sockets, TLS and their limits. What it answers is `routes.ts`'s to know.
 *
 * It must not harm the capture beside it, whoever connects: heads and times are limited, and so is the number of
 * connections.
 */
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { ConnectionLimit } from './connection-limit.ts'
import { type Answer, noSuchPath, routes, type Served } from './routes.ts'
import { followTlsFiles, readTlsFiles, type TlsFiles } from './tls-files.ts'

export interface ListenOptions {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  /** null: plain HTTP. */
  readonly tls: TlsFiles | null
  readonly log: Log
}

export interface Listener {
  /** Such as `http://127.0.0.1:9868`. */
  readonly url: string
  close(): Promise<void>
}

const maxConnections = 64
/** A TLS handshake, and the head of a request: a client that takes longer is slow on purpose, or gone. */
const headTimeoutMs = 5000
const idleTimeoutMs = 10_000

const limits: ServerOptions = {
  maxHeaderSize: 8192,
  headersTimeout: headTimeoutMs,
  requestTimeout: idleTimeoutMs,
  connectionsCheckingInterval: 1000,
  keepAliveTimeout: headTimeoutMs,
}

/**
 * Nothing here is for other sites, to be taken for something else, or for a cache: after an update of walferry no script of
 * before meets the answers of now. A route may allow what it needs.
 */
const headers: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}

/** Throws BAD_INPUT if the address cannot be had, or the files of TLS cannot be used. */
export async function listen(options: ListenOptions, served: Served): Promise<Listener> {
  const { host, port, tls, log } = options
  const connections = new ConnectionLimit(maxConnections)
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    connections.heard(request.socket)
    answer(request, response, served).catch(() => {
      if (!response.headersSent) response.writeHead(500, headers)
      response.end()
    })
  }
  const closed = new AbortController()
  const { server, following } = await makeServer(tls, log, onRequest, closed.signal)
  server.on('connection', (socket) => connections.add(socket))
  // Whoever does not read what was asked for does not hold it here, either.
  server.setTimeout(idleTimeoutMs)
  try {
    await listenOn(server, host, port)
  } catch (error) {
    closed.abort(new Error('not listening'))
    throw error
  }
  // A connection that cannot be accepted (too many open files, say) is the client's loss, and must not end the daemon.
  server.on('error', () => undefined)
  return {
    url: urlOf(server, tls === null ? 'http' : 'https'),
    close: async () => {
      closed.abort(new Error('closed'))
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
        connections.closeAll()
      })
      await following
    },
  }
}

async function makeServer(
  tls: TlsFiles | null,
  log: Log,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
  closed: AbortSignal,
): Promise<{ readonly server: Server; readonly following: Promise<void> }> {
  if (tls === null) return { server: createServer(limits, onRequest), following: Promise.resolve() }
  const pair = await readTlsFiles(tls)
  const server = createTlsServer({ ...limits, ...pair, handshakeTimeout: headTimeoutMs }, onRequest)
  const following = followTlsFiles(tls, log, (renewed) => server.setSecureContext(renewed), closed)
  return { server, following }
}

async function listenOn(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const hint = 'Choose another --listen HOST:PORT, or "off".'
      reject(new WalferryError('BAD_INPUT', `cannot listen on ${host}:${port}`, { cause, hint }))
    })
    server.listen(port, host, resolve)
  })
}

function urlOf(server: Server, scheme: string): string {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
  const address = server.address() as AddressInfo
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `${scheme}://${name}:${address.port}`
}

async function answer(request: IncomingMessage, response: ServerResponse, served: Served): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    send(response, { status: 405, type: 'text/plain', body: 'GET and HEAD only\n', headers: { Allow: 'GET, HEAD' } })
    return
  }
  const route = routes.get(request.url?.split('?', 1)[0] ?? '')
  send(response, route === undefined ? noSuchPath() : await route(served))
}

function send(response: ServerResponse, { status, type, body, headers: own = {} }: Answer): void {
  const length = Buffer.byteLength(body)
  response.writeHead(status, { ...headers, 'Content-Type': type, 'Content-Length': length, ...own })
  response.end(response.req.method === 'HEAD' ? undefined : body)
}
