import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, WalferryError } from '../../src/kit/errors.ts'
import { type S3Call, s3Error } from '../../src/store/s3-errors.ts'

const putIfAbsent: S3Call = { operation: 'PutObject', target: 's3://b/k', ifAbsent: true }
const put: S3Call = { operation: 'PutObject', target: 's3://b/k', ifAbsent: false }
const get: S3Call = { operation: 'GetObject', target: 's3://b/k' }
const head: S3Call = { operation: 'HeadObject', target: 's3://b/k' }

/** An error as the SDK throws it for an answer. */
function answered(status: number, name: string): Error {
  return Object.assign(new Error('said the store'), { name, $metadata: { httpStatusCode: status, requestId: 'R1' } })
}

/** An error as the SDK throws it for an answer that it cannot read. */
function unreadable(status: number): Error {
  return Object.assign(new SyntaxError('no XML'), { $response: { statusCode: status } })
}

function system(code: string): Error {
  return Object.assign(new Error(`connect ${code}`), { code })
}

const table: readonly (readonly [Error, S3Call, ErrorCode, 'retryable' | 'final'])[] = [
  [answered(404, 'NoSuchKey'), get, 'KEY_MISSING', 'final'],
  [answered(404, 'NotFound'), head, 'KEY_MISSING', 'final'],
  [answered(404, 'NotFound'), get, 'STORE_FAILED', 'final'],
  [answered(404, 'NoSuchBucket'), get, 'STORE_FAILED', 'final'],
  [answered(404, 'NoSuchUpload'), put, 'STORE_UNREACHABLE', 'retryable'],
  [answered(412, 'PreconditionFailed'), putIfAbsent, 'KEY_EXISTS', 'final'],
  [answered(412, 'PreconditionFailed'), put, 'STORE_FAILED', 'final'],
  [answered(409, 'ConditionalRequestConflict'), putIfAbsent, 'STORE_UNREACHABLE', 'retryable'],
  [answered(409, 'SomeConflict'), putIfAbsent, 'STORE_UNREACHABLE', 'retryable'],
  [answered(409, 'SomeConflict'), put, 'STORE_FAILED', 'final'],
  [answered(501, 'NotImplemented'), putIfAbsent, 'STORE_FAILED', 'final'],
  [answered(501, 'NotImplemented'), put, 'STORE_FAILED', 'final'],
  [answered(401, 'Unauthorized'), get, 'STORE_DENIED', 'final'],
  [answered(403, 'AccessDenied'), get, 'STORE_DENIED', 'final'],
  [answered(403, '403'), head, 'STORE_DENIED', 'final'],
  [answered(403, 'SignatureDoesNotMatch'), put, 'STORE_DENIED', 'final'],
  [answered(403, 'RequestTimeTooSkewed'), put, 'STORE_DENIED', 'retryable'],
  [answered(400, 'ExpiredToken'), put, 'STORE_DENIED', 'retryable'],
  [answered(400, 'RequestTimeout'), put, 'STORE_UNREACHABLE', 'retryable'],
  [answered(400, 'BadDigest'), put, 'STORE_UNREACHABLE', 'retryable'],
  [answered(400, 'InvalidArgument'), put, 'STORE_FAILED', 'final'],
  [answered(400, 'constructor'), put, 'STORE_FAILED', 'final'],
  [answered(301, 'PermanentRedirect'), put, 'STORE_FAILED', 'final'],
  [answered(416, 'InvalidRange'), get, 'STORE_FAILED', 'final'],
  [answered(408, 'Unknown'), get, 'STORE_UNREACHABLE', 'retryable'],
  [answered(429, 'TooManyRequests'), get, 'STORE_UNREACHABLE', 'retryable'],
  [answered(500, 'InternalError'), get, 'STORE_UNREACHABLE', 'retryable'],
  [answered(503, 'SlowDown'), get, 'STORE_UNREACHABLE', 'retryable'],
  [answered(507, 'Unknown'), put, 'STORE_UNREACHABLE', 'retryable'],
  [unreadable(200), get, 'STORE_FAILED', 'final'],
  [unreadable(502), get, 'STORE_UNREACHABLE', 'retryable'],
  [system('ECONNREFUSED'), get, 'STORE_UNREACHABLE', 'retryable'],
  [system('ECONNRESET'), get, 'STORE_UNREACHABLE', 'retryable'],
  [system('ENOTFOUND'), get, 'STORE_UNREACHABLE', 'retryable'],
  [system('EAI_AGAIN'), get, 'STORE_UNREACHABLE', 'retryable'],
  [system('CERT_HAS_EXPIRED'), get, 'STORE_FAILED', 'final'],
  [system('DEPTH_ZERO_SELF_SIGNED_CERT'), get, 'STORE_FAILED', 'final'],
  [Object.assign(new Error('late'), { name: 'TimeoutError' }), get, 'STORE_UNREACHABLE', 'retryable'],
  [Object.assign(new Error('none'), { name: 'CredentialsProviderError' }), get, 'STORE_DENIED', 'retryable'],
  [new TypeError('a mistake of ours'), get, 'STORE_FAILED', 'final'],
]

for (const [error, call, code, kind] of table) {
  const condition = call.ifAbsent === true ? ' if absent' : ''
  test(`${error.name}: ${error.message} at ${call.operation}${condition} means ${code}, ${kind}`, () => {
    const meant = s3Error(error, call)
    assert.equal(meant.code, code)
    assert.equal(meant.retryable, kind === 'retryable')
    assert.equal(meant.cause, error)
    assert.match(meant.message, /Object of s3:\/\/b\/k/)
  })
}

test('the number of the request is kept, for the provider’s support', () => {
  assert.equal(s3Error(answered(500, 'InternalError'), get).fields['requestId'], 'R1')
})

test('an error of ours stays as it is', () => {
  const own = new WalferryError('KEY_EXISTS', 'taken')
  assert.equal(s3Error(own, put), own)
})
