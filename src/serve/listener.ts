/** The HTTP listener: sockets and their limits. What it answers is `routes.ts`'s to know. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WalferryError } from '../kit/errors.ts'
import { type Answer, noSuchPath, routes, type Served } from './routes.ts'

export interface Listener {
  /** Such as `http://127.0.0.1:9868`. */
  readonly url: string
  close(): Promise<void>
}

const maxConnections = 64
const maxHeaderBytes = 8192
const requestTimeoutMs = 10_000

/** Throws BAD_INPUT if the address cannot be had. */
export async function listen(host: string, port: number, served: Served): Promise<Listener> {
  const server = createServer(
    { maxHeaderSize: maxHeaderBytes, requestTimeout: requestTimeoutMs },
    (request, response) => {
      answer(request, response, served).catch(() => {
        if (!response.headersSent) response.writeHead(500)
        response.end()
      })
    },
  )
  server.maxConnections = maxConnections
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const hint = 'Choose another --listen HOST:PORT, or "off".'
      reject(new WalferryError('BAD_INPUT', `cannot listen on ${host}:${port}`, { cause, hint }))
    })
    server.listen(port, host, resolve)
  })
  // A connection that cannot be accepted (too many open files, say) is the client's loss, and must not end the daemon.
  server.on('error', () => undefined)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
  const address = server.address() as AddressInfo
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return {
    url: `http://${name}:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, served: Served): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    send(response, { status: 405, type: 'text/plain', body: 'GET and HEAD only\n', headers: { Allow: 'GET, HEAD' } })
    return
  }
  const route = routes.get(request.url?.split('?', 1)[0] ?? '')
  send(response, route === undefined ? noSuchPath() : await route(served))
}

function send(response: ServerResponse, { status, type, body, headers = {} }: Answer): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body), ...headers })
  response.end(response.req.method === 'HEAD' ? undefined : body)
}
