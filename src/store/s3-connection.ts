/** The AWS SDK's client, whose calls end (s3-calls.ts). */
import type { Readable } from 'node:stream'
import { S3Client } from '@aws-sdk/client-s3'
import { WalferryError } from '../kit/errors.ts'
import { S3Calls, type S3CallsOptions } from './s3-calls.ts'
import type { S3Call } from './s3-errors.ts'
import { ownRegion } from './s3-names.ts'
import { HttpRequest } from './s3-parts.ts'
import { sha256InTurns } from './sha256-in-turns.ts'

export interface S3ConnectionOptions extends S3CallsOptions {
  /** Only for stores other than Amazon's. Example: `https://s3.example.org:9000`. */
  readonly endpoint?: string
  /** Default: what the SDK finds (AWS_REGION, the profile); with an endpoint of one's own `us-east-1`. */
  readonly region?: string
  /** Whether the bucket is in the path and not in the host's name. Default: with an endpoint of one's own. */
  readonly forcePathStyle?: boolean
}

interface SendOptions {
  readonly abortSignal: AbortSignal
}

export class S3Connection {
  readonly #client: S3Client
  readonly #calls: S3Calls

  constructor(options: S3ConnectionOptions) {
    this.#calls = new S3Calls(options)
    const own = options.endpoint !== undefined
    const region = options.region ?? (own ? ownRegion : undefined)
    this.#client = new S3Client({
      ...(own ? { endpoint: options.endpoint } : {}),
      ...(region === undefined ? {} : { region }),
      forcePathStyle: options.forcePathStyle ?? own,
      maxAttempts: 1,
      // It saves nothing with bodies of a few MiB, and proxies that mishandle it are common.
      expectContinueHeader: false,
      requestHandler: this.#calls.handler,
    })
    sumBodies(this.#client)
  }

  /** Makes one call: see S3Calls. */
  async send<T>(
    call: S3Call,
    bytes: number,
    signal: AbortSignal,
    run: (client: S3Client, options: SendOptions) => Promise<T>,
  ): Promise<T> {
    return await this.#calls.call(call, bytes, signal, async (abortSignal) => {
      await this.#checkRegion()
      return await run(this.#client, { abortSignal })
    })
  }

  /** The bytes of an answer, which must be `bytes`. */
  read(call: S3Call, body: Readable, bytes: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#calls.read(call, body, bytes, signal)
  }

  /** Calls that are under way reject. */
  close(): void {
    this.#client.destroy()
    this.#calls.close()
  }

  /** The SDK says that the region is missing with an error that only its text tells from others. */
  async #checkRegion(): Promise<void> {
    try {
      await this.#client.config.region()
    } catch (error) {
      throw new WalferryError('BAD_INPUT', 'the region of the bucket is not known', {
        hint: 'Set the region, or AWS_REGION.',
        cause: error,
      })
    }
  }
}

/**
 * Says what the signature holds of a body that is put, before the SDK computes its SHA-256 in one go, which for a part of
 * 16 MiB keeps everything else waiting for 50 ms.
 */
function sumBodies(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const { request } = args
      if (HttpRequest.isInstance(request) && request.body instanceof Uint8Array) {
        const sum = isLeftToTls(request) ? 'UNSIGNED-PAYLOAD' : await sha256InTurns(request.body)
        request.headers['x-amz-content-sha256'] = sum
      }
      return await next(args)
    },
    // Behind the SDK's own, which computes the checksum, and before all that signs.
    { step: 'build', priority: 'low' },
  )
}

/**
 * The SHA-256 is left out of the signature where TLS sees to it that nobody alters the body, and a checksum goes along,
 * which AWS_REQUEST_CHECKSUM_CALCULATION can forbid: it takes 2 CPU seconds and more for a GB, in the event loop that
 * answers commits. Amazon's own command line does so, too (AWS CLI, "payload_signing_enabled").
 */
function isLeftToTls({ protocol, headers }: HttpRequest): boolean {
  return protocol === 'https:' && Object.keys(headers).some((name) => name.startsWith('x-amz-checksum-'))
}
