/**
 * A pg.Connection that frames the stream itself (see framing.ts), and publishes the values of rows as bytes. pg's client
 * does the rest: TLS, SCRAM, queries.
 *
 * `attachListeners`, `sendCopyFromChunk` and `endCopyFrom` are not documented by pg: its version is pinned exactly, and
 * a test streams through every cut of a recorded conversation.
 */
import { TLSSocket } from 'node:tls'
import pg from 'pg'
import type { BackendMessage } from 'pg-protocol/dist/messages.js'
import { Parser } from 'pg-protocol/dist/parser.js'
import { dataRowType, valuesOf } from './data-row.ts'
import { type CopySink, Framer } from './framing.ts'
import { PlainSocket } from './plain-socket.ts'

/** What pg.Connection has beyond its published types. */
interface Internals {
  stream: NodeJS.ReadWriteStream & { destroy(error?: Error): void; readonly remoteAddress?: string }
  sendCopyFromChunk(payload: Buffer): void
  endCopyFrom(): void
}

export class WireConnection extends pg.Connection {
  readonly #parser = new Parser()
  readonly #framer = new Framer((message) => this.#take(message))

  /** Where CopyData goes from now on. */
  set sink(sink: CopySink | null) {
    this.#framer.sink = sink
  }

  /** Called by pg.Connection with the plain socket, or with the TLS socket once there is one. */
  attachListeners(stream: NodeJS.ReadableStream): void {
    if (stream instanceof PlainSocket) stream.onRead.take = (bytes) => this.#feed(bytes)
    else stream.on('data', (chunk: Buffer) => this.#feed(chunk))
  }

  /** Stops reading from the socket: what waits in the kernel makes the server wait. */
  pause(): void {
    this.#internals.stream.pause()
  }

  resume(): void {
    this.#internals.stream.resume()
  }

  /** Sends one CopyData message. */
  sendCopyData(payload: Buffer): void {
    this.#internals.sendCopyFromChunk(payload)
  }

  /** Sends CopyDone. */
  sendCopyDone(): void {
    this.#internals.endCopyFrom()
  }

  /** Breaks the connection at once, without a goodbye. */
  cut(reason: Error): void {
    this.#internals.stream.destroy(reason)
  }

  /** The server's address; null on a Unix socket, and once the connection is gone. */
  get remoteAddress(): string | null {
    return this.#internals.stream.remoteAddress ?? null
  }

  /** `TLSv1.3`, or null for plain text. */
  get tlsVersion(): string | null {
    const { stream } = this.#internals
    return stream instanceof TLSSocket ? stream.getProtocol() : null
  }

  get #internals(): Internals {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place that names what pg does not publish
    return this as unknown as Internals
  }

  #feed(chunk: Buffer): void {
    try {
      this.#framer.feed(chunk)
    } catch (error) {
      this.cut(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #take(message: Buffer): void {
    if (message[0] === dataRowType) this.emit('dataRow', { fields: valuesOf(message) })
    else this.#parser.parse(message, (parsed) => this.#publish(parsed))
  }

  #publish(message: BackendMessage): void {
    // pg.Connection names a server's error so, because "error" is the socket's.
    this.emit(message.name === 'error' ? 'errorMessage' : message.name, message)
  }
}
