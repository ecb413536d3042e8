/**
 * Reads an object of S3 with one signed GET, without the AWS SDK's client; signed and sent by the SDK's own parts:
 *
 *     GET /<bucket>/<prefix>/<key>?x-id=GetObject
 *     200, content-length, etag, x-amz-checksum-crc32
 *
 * Only an answer that is beyond doubt is taken. What any other means (an absent key, a wrong secret, a redirect, a proxy's
 * page) is left to the SDK's client to find out, with a request of its own.
 */
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { type S3Calls, tooLate } from './s3-calls.ts'
import type { S3Call } from './s3-errors.ts'
import { HttpRequest, Sha256, SignatureV4 } from './s3-parts.ts'
import type { PlainAccess } from './s3-plain-access.ts'

export class PlainGet {
  readonly #access: PlainAccess
  readonly #calls: S3Calls
  readonly #signer: SignatureV4

  constructor(access: PlainAccess, calls: S3Calls) {
    this.#access = access
    this.#calls = calls
    const { region, credentials } = access
    this.#signer = new SignatureV4({ service: 's3', region, credentials, sha256: Sha256, uriEscapePath: false })
  }

  /**
   * The object's bytes, as `ObjectStore.get` gives them; null where the SDK has to be asked. Rejects where the store could
   * not be reached.
   */
  async get(call: S3Call, key: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | null> {
    const { statusCode, headers, body } = await this.#calls.call(call, 0, signal, async (abortSignal) => {
      const request = HttpRequest.clone(await this.#signer.sign(this.#request(key)))
      return (await this.#calls.handler.handle(request, { abortSignal })).response
    })
    if (!(body instanceof Readable)) return null
    const answer = takenAnswer(statusCode, headers)
    if (answer === null) {
      body.on('error', () => undefined).destroy()
      return null
    }
    const bytes = this.#calls.read(call, body, answer.bytes, signal)
    return answer.crc32 === null ? bytes : checked(call, bytes, answer.crc32)
  }

  #request(key: string): HttpRequest {
    const { protocol, hostname, port, host } = this.#access.origin
    return new HttpRequest({
      method: 'GET',
      protocol,
      hostname,
      ...(port === '' ? {} : { port: Number(port) }),
      path: this.#access.folder + key,
      query: { 'x-id': 'GetObject' },
      headers: { host, 'user-agent': 'walferry', 'x-amz-checksum-mode': 'ENABLED' },
    })
  }
}

export interface TakenAnswer {
  readonly bytes: number
  /** What the object's bytes have to come to, in base64; null where the store does not know. */
  readonly crc32: string | null
}

/** Null for an answer that is not taken, one with a checksum that only the SDK can compute among them. */
export function takenAnswer(status: number, headers: Readonly<Record<string, string>>): TakenAnswer | null {
  const length = headers['content-length'] ?? ''
  if (status !== 200 || headers['etag'] === undefined || !/^[0-9]{1,15}$/.test(length)) return null
  const sums = Object.entries(headers).filter(
    // That of an object that was put in parts is a sum of sums, and ends in their number: `Tk5XIg==-3`.
    ([name, value]) => /^x-amz-checksum-(?!type$)/.test(name) && !/-[0-9]+$/.test(value),
  )
  const sum = headers['x-amz-checksum-crc32']
  if (sums.some(([, value]) => value !== sum)) return null
  return { bytes: Number(length), crc32: sums.length === 0 ? null : (sum ?? null) }
}

async function* checked(call: S3Call, pieces: AsyncIterable<Uint8Array>, expected: string): AsyncGenerator<Uint8Array> {
  let sum = 0
  for await (const piece of pieces) {
    sum = crc32(piece, sum)
    yield piece
  }
  const found = Buffer.alloc(4)
  found.writeUInt32BE(sum)
  if (found.toString('base64') !== expected) throw tooLate(call, 'brought bytes that do not match their checksum')
}
