/**
 * A strict S3 server for tests: signatures, bodies and conditions are checked as Amazon's documentation says, objects
 * are kept in memory, and every fault that a network or a store can have may be injected.
 *
 *     const s3 = await startS3Server({ bucket: 'archive' })
 *     s3.inject({ kind: 'error', status: 503, code: 'SlowDown' }, (request) => request.operation === 'PutObject', 2)
 *     ...
 *     s3.objects.get('wal_005/00000001000000000000002A.lz4')
 *     await s3.stop()
 */
import { once, setMaxListeners } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { freePort } from '../../src/cluster/free-port.ts'
import { sleep } from '../../src/kit/abort.ts'
import { Bucket } from './s3/bucket.ts'
import { type Fault, Injection } from './s3/faults.ts'
import { answer, type ConditionalWrites, type S3Answer } from './s3/operations.ts'
import { type Allocate, type Keeping, readPayload } from './s3/payload.ts'
import { parseRequest, type S3Operation, type S3Request } from './s3/request.ts'
import { S3Error } from './s3/s3-error.ts'
import { checkSignature } from './s3/signature.ts'
import { xmlDocument } from './s3/xml.ts'

export interface S3ServerOptions {
  /** A bucket to begin with. Default: `walferry`. */
  readonly bucket?: string
  readonly conditionalWrites?: ConditionalWrites
  /** False: a request to encrypt is passed over. Default: true. */
  readonly encrypts?: boolean
  /** True: the sums that a client sends are not computed anew. Default: false. */
  readonly believes?: boolean
  /** Where bodies are kept that say how long they are, and objects in parts. Default: new memory for each. */
  readonly allocate?: Allocate
  /** Makes it an endpoint of https, named localhost. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer }
}

export interface S3LogEntry {
  readonly operation: S3Operation
  readonly key: string
  /** Undefined where no answer was sent. */
  readonly status: number | undefined
  /** When the answer was given, or given up, by the wall clock of the server's process. */
  readonly atMs: number
}

const tricklesPerSecond = 20

/** Starts a server on a free port of 127.0.0.1. */
export async function startS3Server(options: S3ServerOptions = {}): Promise<S3Server> {
  const server = new S3Server(options)
  await server.accept()
  return server
}

export class S3Server {
  readonly accessKeyId = 'AKIAWALFERRYTEST'
  readonly secretAccessKey = 'secret/of+the=tests'
  readonly region = 'us-east-1'
  readonly bucket: string
  /** All answered requests, in the order of their answers. */
  readonly log: S3LogEntry[] = []
  /** How far the server's clock is ahead. */
  clockSkewMs = 0

  readonly #http: Server
  readonly #buckets = new Map<string, Bucket>()
  readonly #conditionalWrites: ConditionalWrites
  readonly #encrypts: boolean
  readonly #keeping: Keeping
  readonly #origin: string
  readonly #stopping = new AbortController()
  readonly #injections: Injection[] = []
  #arrivals: ((request: S3Request) => void)[] = []
  #port = 0
  #receivedBytes = 0

  constructor(options: S3ServerOptions) {
    this.bucket = options.bucket ?? 'walferry'
    this.#conditionalWrites = options.conditionalWrites ?? 'honoured'
    this.#encrypts = options.encrypts ?? true
    const { allocate = (bytes) => Buffer.allocUnsafeSlow(bytes), believes = false } = options
    this.#keeping = { allocate, believes }
    this.#origin = options.tls === undefined ? 'http://127.0.0.1' : 'https://localhost'
    this.#buckets.set(this.bucket, new Bucket())
    // Every answer that is slow listens to it.
    setMaxListeners(0, this.#stopping.signal)
    const serve = (message: IncomingMessage, response: ServerResponse): void => void this.#serve(message, response)
    this.#http = options.tls === undefined ? createServer(serve) : createTlsServer(options.tls, serve)
    // A connection that ended by itself in an idle moment would be a fault that no test asked for.
    this.#http.keepAliveTimeout = 0
  }

  get endpoint(): string {
    return `${this.#origin}:${this.#port}`
  }

  /** What the AWS SDK needs to find in its environment, and nothing of this machine's. */
  get environment(): Record<string, string> {
    return {
      AWS_ACCESS_KEY_ID: this.accessKeyId,
      AWS_SECRET_ACCESS_KEY: this.secretAccessKey,
      AWS_REGION: this.region,
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    }
  }

  /** The bucket to begin with. */
  get objects(): Bucket {
    return this.bucketNamed(this.bucket)
  }

  bucketNamed(name: string): Bucket {
    const bucket = this.#buckets.get(name)
    if (bucket === undefined) throw new Error(`there is no bucket ${name}`)
    return bucket
  }

  /** Takes a bucket away, with all that is in it. */
  dropBucket(name: string): void {
    this.#buckets.delete(name)
  }

  /** Bytes of request bodies that have come in so far. */
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  /** How many requests of that kind were answered, successfully or not. */
  count(operation: S3Operation): number {
    return this.log.filter((entry) => entry.operation === operation).length
  }

  /** Spoils the next `times` requests that `applies` is true for. Of several injections the first that applies acts. */
  inject(fault: Fault, applies: (request: S3Request) => boolean = () => true, times = Infinity): Injection {
    const injection = new Injection(fault, applies, times)
    this.#injections.push(injection)
    return injection
  }

  /** Resolves when the next request that `matches` has come in. Its body may not have. */
  arrival(matches: (request: S3Request) => boolean): Promise<S3Request> {
    return new Promise((resolve) => {
      const look = (request: S3Request): void => {
        if (matches(request)) resolve(request)
        else this.#arrivals.push(look)
      }
      this.#arrivals.push(look)
    })
  }

  /** Goes away: connections are destroyed, new ones are refused. */
  async refuse(): Promise<void> {
    if (!this.#http.listening) return
    const closed = once(this.#http, 'close')
    this.#http.close()
    this.#http.closeAllConnections()
    await closed
  }

  /** Comes back, on the same port: one that the kernel gives to nobody meanwhile. */
  async accept(): Promise<void> {
    if (this.#port === 0) this.#port = await freePort()
    this.#http.listen(this.#port, '127.0.0.1')
    await once(this.#http, 'listening')
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.refuse()
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    // Where the client goes away, or the server stops, in the middle, nobody is left to be told.
    message.on('error', () => undefined)
    response.on('error', () => undefined)
    try {
      const request = parseRequest(message)
      const fault = this.#injections.find((injection) => injection.take(request))?.fault
      const arrivals = this.#arrivals
      this.#arrivals = []
      for (const arrived of arrivals) arrived(request)
      const status = await this.#answer(message, response, request, fault)
      this.log.push({ operation: request.operation, key: request.key, status, atMs: Date.now() })
    } catch (error) {
      if (!response.destroyed && !this.#stopping.signal.aborted) throw error
    }
  }

  /** Gives the status that was sent, if any was. */
  async #answer(
    message: IncomingMessage,
    response: ServerResponse,
    request: S3Request,
    fault: Fault | undefined,
  ): Promise<number | undefined> {
    if (fault?.kind === 'slow' && fault.latencyMs !== undefined) await sleep(fault.latencyMs, this.#stopping.signal)
    if (fault?.kind === 'noAnswer') return goSilent(message, fault.how)
    let result: S3Answer
    try {
      result = await this.#execute(message, request, fault)
    } catch (error) {
      if (!(error instanceof S3Error)) throw error
      result = errorAnswer(error)
    }
    if (fault?.kind === 'lostAnswer') return goSilent(message, fault.how)
    response.writeHead(result.status, {
      'content-length': Buffer.byteLength(result.body),
      ...result.headers,
      date: new Date(this.#now()).toUTCString(),
      'x-amz-request-id': `TEST${this.log.length}`,
    })
    await this.#sendBody(response, request.method === 'HEAD' ? '' : result.body, fault)
    return result.status
  }

  async #execute(message: IncomingMessage, request: S3Request, fault: Fault | undefined): Promise<S3Answer> {
    if (fault?.kind === 'page')
      return { status: fault.status, headers: { 'content-type': 'text/html' }, body: fault.body }
    if (fault?.kind === 'error') throw new S3Error(fault.status, fault.code, 'injected')
    checkSignature(request, this, this.#now())
    const payload = await readPayload(request, this.#body(message, fault), this.#keeping)
    if (fault?.kind === 'otherRange') request.headers.range = fault.range
    const result = answer(
      {
        buckets: this.#buckets,
        conditionalWrites: this.#conditionalWrites,
        encrypts: this.#encrypts,
        allocate: this.#keeping.allocate,
      },
      request,
      payload,
    )
    if (fault?.kind === 'corrupt' && fault.what === 'stored') this.bucketNamed(request.bucket).flipByte(request.key, 0)
    if (fault?.kind === 'errorIn200') return errorAnswer(new S3Error(200, fault.code, 'injected'))
    return result
  }

  async *#body(message: IncomingMessage, fault: Fault | undefined): AsyncGenerator<Buffer> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no encoding was set: the chunks are buffers
    for await (const chunk of message as AsyncIterable<Buffer>) {
      this.#receivedBytes += chunk.length
      await this.#trickle(chunk.length, fault)
      yield chunk
    }
  }

  async #sendBody(response: ServerResponse, body: Buffer | string, fault: Fault | undefined): Promise<void> {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    if (fault?.kind === 'cutBody') {
      await written(response, bytes.subarray(0, fault.afterBytes))
      if (fault.how === 'reset') response.socket?.resetAndDestroy()
      if (fault.how === 'close') response.socket?.destroy()
    } else if (fault?.kind === 'slow' && fault.bytesPerSecond !== undefined) {
      const step = Math.ceil(fault.bytesPerSecond / tricklesPerSecond)
      for (let at = 0; at < bytes.length && !response.destroyed; at += step) {
        await this.#trickle(step, fault)
        await written(response, bytes.subarray(at, at + step))
      }
      response.end()
    } else {
      response.end(fault?.kind === 'corrupt' && fault.what === 'answer' ? flipped(bytes) : bytes)
    }
  }

  async #trickle(bytes: number, fault: Fault | undefined): Promise<void> {
    if (fault?.kind !== 'slow' || fault.bytesPerSecond === undefined) return
    await sleep((bytes / fault.bytesPerSecond) * 1000, this.#stopping.signal)
  }

  #now(): number {
    return Date.now() + this.clockSkewMs
  }
}

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  copy[0] = (copy[0] ?? 0) ^ 0xff
  return copy
}

function errorAnswer(error: S3Error): S3Answer {
  const body = xmlDocument('Error', [
    ['Code', error.code],
    ['Message', error.message],
  ])
  return { status: error.status, headers: { 'content-type': 'application/xml' }, body }
}

/** No answer will come: with `stall` the connection stays open, and what is still sent is swallowed. */
function goSilent(message: IncomingMessage, how: 'reset' | 'stall'): undefined {
  if (how === 'reset') message.socket.resetAndDestroy()
  else message.resume()
}

/** Resolves once the bytes have gone to the kernel, so that a reset does not overtake them here. */
function written(response: ServerResponse, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    response.write(bytes, () => resolve())
  })
}
