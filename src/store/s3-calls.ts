/**
 * Calls to S3 that end. Four things can go wrong without any error, and each has its clock:
 *
 * - no connection comes about: `connectTimeoutMs`;
 * - the socket falls silent while a request is sent or its answer awaited: `idleTimeoutMs`;
 * - bytes trickle: a deadline for the whole call, which grows with its bytes by `minBytesPerSecond`;
 * - an object's bytes stall while they are read: as the two above, but only the waiting for the network counts. A
 *   consumer that takes its time (a full disk, a paused server) is not cut.
 *
 * The SDK's own requestTimeout is no help: by default it only warns, and it never sees the answer's body. Of the SDK, only
 * what speaks HTTP is loaded here: s3-connection.ts loads the rest, s3-plain-get.ts does without.
 */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Readable } from 'node:stream'
import { orAbort, reasonOf, withDeadline } from '../kit/abort.ts'
import { WalferryError } from '../kit/errors.ts'
import { type S3Call, s3Error } from './s3-errors.ts'
import { NodeHttpHandler, type NodeHttpHandlerOptions } from './s3-parts.ts'

export interface S3CallsOptions {
  /** Certificates in PEM. Only those that one of them has signed are trusted then. Default: Node.js's. */
  readonly authorities?: string
  readonly connectTimeoutMs?: number
  readonly idleTimeoutMs?: number
  readonly minBytesPerSecond?: number
}

const defaultConnectTimeoutMs = 5000 // one lost SYN is sent again after 1 s, a second one after 3 s
const defaultIdleTimeoutMs = 10_000 // a store that works is silent for a second or two; a dead peer is for ever
const defaultMinBytesPerSecond = 64 * 1024 // a segment of 16 MiB in four minutes: no link so slow can carry WAL

export class S3Calls {
  readonly handler: NodeHttpHandler
  readonly #agents: readonly (HttpAgent | HttpsAgent)[]
  readonly #idleTimeoutMs: number
  readonly #minBytesPerSecond: number
  readonly #graceMs: number

  constructor(options: S3CallsOptions) {
    const connectTimeoutMs = options.connectTimeoutMs ?? defaultConnectTimeoutMs
    this.#idleTimeoutMs = options.idleTimeoutMs ?? defaultIdleTimeoutMs
    this.#minBytesPerSecond = options.minBytesPerSecond ?? defaultMinBytesPerSecond
    this.#graceMs = connectTimeoutMs + this.#idleTimeoutMs
    // How much is done at once is for the callers to say; to queue for a socket here would eat up their deadlines.
    const httpAgent = new HttpAgent({ keepAlive: true })
    const { authorities } = options
    const httpsAgent = new HttpsAgent({
      keepAlive: true,
      // Said, it holds against NODE_TLS_REJECT_UNAUTHORIZED=0 as well.
      rejectUnauthorized: true,
      ...(authorities === undefined ? {} : { ca: authorities }),
    })
    this.#agents = [httpAgent, httpsAgent]
    this.handler = new PatientReadHandler({
      httpAgent,
      httpsAgent,
      connectionTimeout: connectTimeoutMs,
      socketTimeout: this.#idleTimeoutMs,
    })
  }

  /**
   * Makes one call, which carries about `bytes` bytes one way or the other. Rejects with a WalferryError, or with the
   * signal's reason. An abort leaves the call undone or done.
   */
  async call<T>(
    call: S3Call,
    bytes: number,
    signal: AbortSignal,
    run: (abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const deadlineMs = this.#deadlineMs(bytes)
    const late = (): Error => tooLate(call, `did not end within ${deadlineMs} ms`)
    try {
      return await withDeadline(deadlineMs, signal, late, (abortSignal) =>
        // The SDK looks at the signal only once it has credentials, and a provider of those may hang.
        orAbort(run(abortSignal), abortSignal),
      )
    } catch (error) {
      if (signal.aborted) throw reasonOf(signal)
      throw s3Error(error, call)
    }
  }

  /** The bytes of an answer, which must be `bytes`. */
  read(call: S3Call, body: Readable, bytes: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    // A body may fail before it is iterated; the iteration will tell.
    body.on('error', () => undefined)
    return this.#read(call, body, bytes, signal)
  }

  async *#read(
    call: S3Call,
    body: Readable,
    bytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const deadlineMs = this.#deadlineMs(bytes)
    const onAbort = (): void => void body.destroy(reasonOf(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    let received = 0
    let waitedMs = 0
    try {
      const chunks: AsyncIterator<Uint8Array> = body[Symbol.asyncIterator]()
      for (;;) {
        signal.throwIfAborted()
        const limitMs = Math.min(this.#idleTimeoutMs, deadlineMs - waitedMs)
        const onStall = (): void => void body.destroy(tooLate(call, `stalled after ${received} of ${bytes} bytes`))
        const timer = setTimeout(onStall, limitMs)
        const startedMs = performance.now()
        const next = await chunks.next().finally(() => clearTimeout(timer))
        waitedMs += performance.now() - startedMs
        if (next.done === true) break
        received += next.value.length
        yield next.value
      }
    } catch (error) {
      if (signal.aborted) throw reasonOf(signal)
      if (error instanceof WalferryError) throw error
      // Whatever it was, a reset or a wrong checksum: the bytes did not arrive as they were sent.
      throw tooLate(call, `broke off after ${received} of ${bytes} bytes`, error)
    } finally {
      signal.removeEventListener('abort', onAbort)
      body.destroy()
    }
    if (received !== bytes) throw tooLate(call, `ended after ${received} of ${bytes} bytes`)
  }

  /** Calls that are under way reject. */
  close(): void {
    for (const agent of this.#agents) agent.destroy()
  }

  #deadlineMs(bytes: number): number {
    return this.#graceMs + (bytes / this.#minBytesPerSecond) * 1000
  }
}

/**
 * The handler's socket time-out also counts while nobody reads the answer's body, and would cut a slow consumer. So
 * the one request whose answer is read by others goes through a handler without it; `call` and `read` watch it.
 */
class PatientReadHandler extends NodeHttpHandler {
  readonly #patient: NodeHttpHandler

  constructor(options: NodeHttpHandlerOptions) {
    super(options)
    this.#patient = new NodeHttpHandler({ ...options, socketTimeout: 0 })
  }

  override handle(...args: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    const isRead = args[0].query['x-id'] === 'GetObject'
    return isRead ? this.#patient.handle(...args) : super.handle(...args)
  }
}

/** What came of a call is not known, or its bytes did not come whole: the next attempt may do better. */
export function tooLate(call: S3Call, what: string, cause?: unknown): WalferryError {
  return new WalferryError('STORE_UNREACHABLE', `${call.operation} of ${call.target} ${what}`, {
    retryable: true,
    cause,
    fields: { operation: call.operation, target: call.target },
  })
}
