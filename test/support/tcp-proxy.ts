/**
 * A line between a client and a server that can be bad: it records what goes over it, trickles it byte by byte, stalls,
 * breaks, and refuses connections.
 *
 *     const proxy = await TcpProxy.open(t, cluster.connection)
 *     // connect to 127.0.0.1:proxy.port ...
 *     proxy.towardsClient = stalled
 *     // ... the client hears nothing more, and what the server says piles up in its kernel
 *     proxy.towardsClient = flowing
 *     proxy.reset()
 *
 * A way (`towardsClient`, `towardsServer`) holds for all lines, those that are open and those that will be. Nothing is
 * lost or reordered by changing it. Back pressure passes through: who does not read, or a stalled way, makes the sender
 * wait once the kernel's buffers are full. The proxy closes after its test.
 */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { TestContext } from 'node:test'
import { Bell } from '../../src/kit/bell.ts'

export interface Way {
  /** Bytes that go at once, each piece in a packet of its own; 0 for none at all. */
  readonly bytes: number
  /** Pause before each piece. */
  readonly delayMs: number
}

export const flowing: Way = { bytes: Infinity, delayMs: 0 }
export const stalled: Way = { bytes: 0, delayMs: 0 }
export const byteByByte: Way = { bytes: 1, delayMs: 0 }

/** Everything takes this much longer. */
export function delayed(delayMs: number): Way {
  return { bytes: Infinity, delayMs }
}

/** One connection that was made through the proxy. */
export class Line {
  readonly #client: Socket
  readonly #server: Socket
  readonly #fromServer: Buffer[] = []
  readonly #fromClient: Buffer[] = []
  readonly #gone = new AbortController()
  /** Resolves once both sides are closed. */
  readonly closed: Promise<unknown>

  constructor(client: Socket, server: Socket) {
    this.#client = client
    this.#server = server
    this.closed = Promise.all([client, server].map((socket) => new Promise((resolve) => socket.once('close', resolve))))
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      // A side that breaks takes the other one with it, as a broken line does.
      socket.once('error', () => this.reset())
      socket.once('close', () => this.#gone.abort())
    }
  }

  /** All bytes that the server has sent so far, whether they have reached the client or not. */
  get fromServer(): Buffer {
    return Buffer.concat(this.#fromServer)
  }

  /** All bytes that the client has sent so far. */
  get fromClient(): Buffer {
    return Buffer.concat(this.#fromClient)
  }

  /** Breaks the line for both sides with a TCP reset, as a firewall or a crash does. */
  reset(): void {
    for (const socket of [this.#client, this.#server]) {
      // A side that has said its end cannot be reset any more: Node.js would lose it, without a "close".
      if (socket.readyState === 'open') socket.resetAndDestroy()
      else socket.destroy()
    }
  }

  /** Carries both ways until the line ends. `way` is asked before each piece; `changes` rings when its answer changes. */
  async carry(way: { readonly client: () => Way; readonly server: () => Way; readonly changes: Bell }): Promise<void> {
    const { signal } = this.#gone
    await Promise.all([
      pump(this.#server, this.#client, this.#fromServer, way.client, way.changes, signal),
      pump(this.#client, this.#server, this.#fromClient, way.server, way.changes, signal),
    ]).catch(() => this.reset())
  }
}

export class TcpProxy {
  readonly host = '127.0.0.1'
  readonly port: number
  /** Every line since the proxy was opened, oldest first. */
  readonly lines: Line[] = []
  /** True: new connections are reset at once; those that are there stay. */
  refuses = false
  readonly #listener: Server
  readonly #changes = new Bell()
  #towardsClient = flowing
  #towardsServer = flowing

  private constructor(listener: Server, port: number) {
    this.#listener = listener
    this.port = port
  }

  /** Opens a proxy before a server, on a free port of 127.0.0.1. */
  static async open(t: TestContext, server: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const listener = createServer({ allowHalfOpen: true })
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a server that listens on a port has an AddressInfo
    const proxy = new TcpProxy(listener, (listener.address() as AddressInfo).port)
    listener.on('connection', (client) => proxy.#accept(client, server))
    t.after(() => proxy.close())
    return proxy
  }

  /** How what the server says goes on to the client. */
  set towardsClient(way: Way) {
    this.#towardsClient = way
    this.#changes.ring()
  }

  /** How what the client says goes on to the server. */
  set towardsServer(way: Way) {
    this.#towardsServer = way
    this.#changes.ring()
  }

  /** Breaks every line with a TCP reset. New ones can be made. */
  reset(): void {
    for (const line of this.lines) line.reset()
  }

  /** Breaks every line and takes no more. Resolves once all sockets are closed. */
  async close(): Promise<void> {
    this.refuses = true
    this.reset()
    this.#listener.close()
    await Promise.all(this.lines.map((line) => line.closed))
  }

  #accept(client: Socket, server: { readonly host: string; readonly port: number }): void {
    if (this.refuses) {
      client.resetAndDestroy()
      return
    }
    const line = new Line(client, createConnection({ ...server, allowHalfOpen: true }))
    this.lines.push(line)
    void line.carry({ client: () => this.#towardsClient, server: () => this.#towardsServer, changes: this.#changes })
  }
}

async function pump(
  from: Socket,
  to: Socket,
  record: Buffer[],
  way: () => Way,
  changes: Bell,
  signal: AbortSignal,
): Promise<void> {
  for await (const chunk of from) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('a socket without encoding gives buffers')
    record.push(chunk)
    for (let at = 0; at < chunk.length; ) {
      const { bytes, delayMs } = await openWay(way, changes, signal)
      if (delayMs > 0) await wait(delayMs, undefined, { signal })
      const piece = chunk.subarray(at, at + bytes)
      at += piece.length
      if (!to.write(piece)) await once(to, 'drain', { signal })
      // Two pieces that are written in one turn would travel in one packet.
      if (at < chunk.length) await new Promise(setImmediate)
    }
  }
  await openWay(way, changes, signal)
  to.end()
}

/** Waits while the way is stalled: the end of a connection does not overtake what is held back. */
async function openWay(way: () => Way, changes: Bell, signal: AbortSignal): Promise<Way> {
  for (;;) {
    const seen = changes.count
    const now = way()
    if (now.bytes > 0) return now
    await changes.after(seen, signal)
  }
}
