/**
 * The body of a request: read whole, unwrapped where it is `aws-chunked`, and held against everything that the client
 * said about it (its length, SHA-256, MD5 and checksums). What was cut or altered on the way is never handed on.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { header, type S3Request } from './request.ts'
import { S3Error } from './s3-error.ts'

export interface Payload {
  readonly bytes: Buffer
  /** Base64, where the client sent one; it was right. */
  readonly crc32: string | undefined
  /** Hex: what the ETag is made of. */
  readonly md5: string
}

const unsignedTrailer = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'

/** Gives memory to be kept for so many bytes. */
export type Allocate = (bytes: number) => Buffer

export interface Keeping {
  /** For bodies that say how long they are. */
  readonly allocate: Allocate
  /** No sum is computed: it would cost as much CPU time as the client's, where that one is measured on the same machine. */
  readonly believes: boolean
}

/** `chunks` throws if the connection breaks. */
export async function readPayload(
  request: S3Request,
  chunks: AsyncIterable<Buffer>,
  { allocate, believes }: Keeping,
): Promise<Payload> {
  const sha256 = header(request, 'x-amz-content-sha256') ?? ''
  const isChunked = sha256.startsWith('STREAMING-')
  if (isChunked && sha256 !== unsignedTrailer) throw new S3Error(501, 'NotImplemented', `${sha256} is not implemented`)
  if (!isChunked && header(request, 'transfer-encoding') !== undefined) {
    throw new S3Error(411, 'MissingContentLength', 'you must provide the Content-Length header')
  }
  if (isChunked) return decodeChunked(request, await readAll(chunks))
  const raw = allocate(Number(header(request, 'content-length') ?? 0))
  let length = 0
  for await (const chunk of chunks) length += chunk.copy(raw, length)
  if (length !== raw.length) throw new S3Error(400, 'IncompleteBody', 'the body is shorter than its Content-Length')
  if (believes) {
    const said = header(request, 'x-amz-checksum-crc32')
    return { bytes: raw, crc32: said, md5: hash('md5', Buffer.from(`${sha256} ${said}`), 'hex') }
  }
  if (sha256 !== 'UNSIGNED-PAYLOAD' && sha256 !== hash('sha256', raw, 'hex')) {
    throw new S3Error(400, 'XAmzContentSHA256Mismatch', 'x-amz-content-sha256 does not match what was computed')
  }
  const md5 = header(request, 'content-md5')
  if (md5 !== undefined && md5 !== hash('md5', raw, 'base64')) {
    throw new S3Error(400, 'BadDigest', 'the Content-MD5 you specified did not match what we received')
  }
  return { bytes: raw, crc32: checkSums(raw, (name) => header(request, name)), md5: hash('md5', raw, 'hex') }
}

async function readAll(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const collected: Buffer[] = []
  for await (const chunk of chunks) collected.push(chunk)
  return Buffer.concat(collected)
}

/** `<hex length>[;extension]\r\n<bytes>\r\n`, repeated, then `0\r\n`, trailing headers, and an empty line. */
function decodeChunked(request: S3Request, raw: Buffer): Payload {
  const chunks: Buffer[] = []
  let at = 0
  const line = (): string => {
    const end = raw.indexOf('\r\n', at)
    if (end === -1) throw new S3Error(400, 'IncompleteBody', 'the body ends within a line')
    const text = raw.toString('latin1', at, end)
    at = end + 2
    return text
  }
  for (;;) {
    const length = Number.parseInt(line(), 16)
    if (Number.isNaN(length)) throw new S3Error(400, 'IncompleteBody', 'a chunk has no length')
    if (length === 0) break
    chunks.push(raw.subarray(at, at + length))
    at += length
    if (line() !== '') throw new S3Error(400, 'IncompleteBody', 'a chunk is longer than it says')
  }
  const trailers = new Map<string, string>()
  for (let text = line(); text !== ''; text = line()) {
    const colon = text.indexOf(':')
    trailers.set(text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim())
  }
  const bytes = Buffer.concat(chunks)
  if (bytes.length !== Number(header(request, 'x-amz-decoded-content-length'))) {
    throw new S3Error(400, 'IncompleteBody', 'x-amz-decoded-content-length does not match what we received')
  }
  for (const name of (header(request, 'x-amz-trailer') ?? '').split(',').filter(Boolean)) {
    if (!trailers.has(name.trim())) throw new S3Error(400, 'MalformedTrailerError', `trailer ${name} is missing`)
  }
  const crc32 = checkSums(bytes, (name) => trailers.get(name) ?? header(request, name))
  return { bytes, crc32, md5: hash('md5', bytes, 'hex') }
}

/** Gives the CRC-32 where there is one. */
function checkSums(bytes: Buffer, said: (name: string) => string | undefined): string | undefined {
  const compute: Readonly<Record<string, (() => string) | null>> = {
    crc32: () => crc32Base64(bytes),
    sha1: () => hash('sha1', bytes, 'base64'),
    sha256: () => hash('sha256', bytes, 'base64'),
    crc32c: null,
    crc64nvme: null,
  }
  for (const [name, algorithm] of Object.entries(compute)) {
    const value = said(`x-amz-checksum-${name}`)
    if (value === undefined) continue
    if (algorithm === null) throw new S3Error(501, 'NotImplemented', `${name} is not implemented`)
    if (value !== algorithm()) {
      throw new S3Error(400, 'BadDigest', `the ${name} you specified did not match the calculated checksum`)
    }
  }
  return said('x-amz-checksum-crc32')
}

export function crc32Base64(bytes: Uint8Array): string {
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(bytes))
  return sum.toString('base64')
}

export function hash(algorithm: 'md5' | 'sha1' | 'sha256', bytes: Uint8Array, encoding: 'hex' | 'base64'): string {
  return createHash(algorithm).update(bytes).digest(encoding)
}
