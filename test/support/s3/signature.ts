/**
 * Signature version 4 in the Authorization header, checked in full ("Authenticating Requests (AWS Signature Version
 * 4)" in the API reference of Amazon S3). Presigned URLs and signed chunks are not known.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { header, type S3Request } from './request.ts'
import { S3Error } from './s3-error.ts'

export interface SigningIdentity {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
}

const maxSkewMs = 15 * 60 * 1000

const authorizationForm =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/

/** Throws what S3 answers to a request that is not signed, or not rightly. */
export function checkSignature(request: S3Request, identity: SigningIdentity, nowMs: number): void {
  const authorization = header(request, 'authorization')
  if (authorization === undefined) throw new S3Error(403, 'AccessDenied', 'Access Denied')
  const match = authorizationForm.exec(authorization)
  if (match === null) throw new S3Error(400, 'AuthorizationHeaderMalformed', 'the authorization header is malformed')
  const [, accessKeyId = '', day = '', region = '', signedHeaders = '', signature = ''] = match
  if (accessKeyId !== identity.accessKeyId) {
    throw new S3Error(403, 'InvalidAccessKeyId', `the access key ${accessKeyId} does not exist`)
  }
  if (region !== identity.region) {
    throw new S3Error(400, 'AuthorizationHeaderMalformed', `region ${region} is wrong; expecting ${identity.region}`)
  }
  const time = header(request, 'x-amz-date') ?? ''
  checkTime(time, day, nowMs)
  const names = signedHeaders.split(';')
  checkSignedHeaders(request, names)
  const scope = `${day}/${region}/s3/aws4_request`
  const text = ['AWS4-HMAC-SHA256', time, scope, sha256(canonicalRequest(request, names))].join('\n')
  const keys = [day, region, 's3', 'aws4_request']
  const key = keys.reduce<Buffer | string>((secret, part) => hmac(secret, part), `AWS4${identity.secretAccessKey}`)
  if (!timingSafeEqual(hmac(key, text), Buffer.from(signature, 'hex'))) {
    throw new S3Error(403, 'SignatureDoesNotMatch', 'the request signature that was calculated does not match')
  }
}

function checkTime(time: string, day: string, nowMs: number): void {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time)
  if (match === null || !time.startsWith(day)) {
    throw new S3Error(403, 'AccessDenied', 'x-amz-date is missing, malformed, or of another day than the credential')
  }
  const [, year, month, date, hour, minute, second] = match.map(Number)
  const atMs = Date.UTC(year ?? 0, (month ?? 0) - 1, date, hour, minute, second)
  if (Math.abs(atMs - nowMs) > maxSkewMs) {
    throw new S3Error(403, 'RequestTimeTooSkewed', "the request's time and the current time differ too much")
  }
}

function checkSignedHeaders(request: S3Request, names: readonly string[]): void {
  if (header(request, 'x-amz-content-sha256') === undefined) {
    throw new S3Error(400, 'InvalidRequest', 'x-amz-content-sha256 is missing')
  }
  const mustBe = Object.keys(request.headers).filter((name) => name === 'host' || name.startsWith('x-amz-'))
  const missing = mustBe.filter((name) => !names.includes(name))
  if (missing.length > 0) throw new S3Error(403, 'AccessDenied', `headers were not signed: ${missing.join(', ')}`)
}

function canonicalRequest(request: S3Request, names: readonly string[]): string {
  const path = request.path
    .split('/')
    .map((part) => encode(decodeURIComponent(part)))
    .join('/')
  const query = [...request.query]
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&')
  const headers = names.map((name) => `${name}:${(header(request, name) ?? '').trim().replace(/ +/g, ' ')}\n`).join('')
  const payload = header(request, 'x-amz-content-sha256')
  return [request.method, path, query, headers, names.join(';'), payload].join('\n')
}

/** Encodes all but the unreserved characters of RFC 3986. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
