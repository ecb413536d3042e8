/**
 * What an error of the AWS SDK means to a user of the store: decided by the S3 error code and the HTTP status, else by
 * the code of the system error, never by a text (API reference of Amazon S3, section "Error responses").
 */
import { systemCode, type ErrorCode, WalferryError } from '../kit/errors.ts'

/** The call that failed. */
export interface S3Call {
  /** The S3 operation. Example: `PutObject`. */
  readonly operation: string
  /** Where, for messages. Example: `s3://bucket/prefix/wal_005/00000001000000000000002A.lz4`. */
  readonly target: string
  /** True if the call asked for `If-None-Match: *`. */
  readonly ifAbsent?: boolean
}

interface Meaning {
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly hint?: string
}

const later: Meaning = { code: 'STORE_UNREACHABLE', retryable: true }
const never: Meaning = { code: 'STORE_FAILED', retryable: false }
const denied: Meaning = {
  code: 'STORE_DENIED',
  retryable: false,
  hint: 'Check the credentials and what they may do: s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket. Without s3:ListBucket, S3 answers 403 for an object that is not there.',
}
const wrongRegion: Meaning = { ...never, hint: 'The bucket is in another region: set the region, or AWS_REGION.' }
const badCertificate: Meaning = {
  ...never,
  hint: 'The certificate of the endpoint is not trusted: name the file of its authority with --s3-ca-file.',
}

/** S3's error codes, and the SDK's own error names, that say more than their HTTP status. */
const byName: Readonly<Record<string, Meaning>> = {
  NoSuchKey: { code: 'KEY_MISSING', retryable: false },
  NoSuchBucket: { ...never, hint: 'Create the bucket, or correct its name, the endpoint or the region.' },
  // The upload was cleared away, perhaps by a lifecycle rule. A new attempt begins a new one.
  NoSuchUpload: later,
  // Two conditional writes met; one may have failed, and the key may be free or taken now.
  ConditionalRequestConflict: later,
  OperationAborted: later,
  // Answered with status 400: what came over the network was late, cut or altered.
  RequestTimeout: later,
  IncompleteBody: later,
  BadDigest: later,
  XAmzContentSHA256Mismatch: later,
  XAmzContentChecksumMismatch: later,
  // Seen for single keys of DeleteObjects, too, which have no HTTP status.
  AccessDenied: denied,
  InternalError: later,
  ServiceUnavailable: later,
  SlowDown: later,
  // The SDK learns the store's clock from the answer, so the next attempt may succeed.
  RequestTimeTooSkewed: {
    code: 'STORE_DENIED',
    retryable: true,
    hint: 'The clock of this machine and that of the store differ by more than 15 minutes: set the clock.',
  },
  ExpiredToken: { ...denied, retryable: true },
  InvalidToken: denied,
  TokenRefreshRequired: { ...denied, retryable: true },
  // An instance's metadata service may be slow to answer, so this, too, is worth another attempt.
  CredentialsProviderError: {
    code: 'STORE_DENIED',
    retryable: true,
    hint: 'No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role.',
  },
  AuthorizationHeaderMalformed: wrongRegion,
  PermanentRedirect: wrongRegion,
  IllegalLocationConstraintException: wrongRegion,
}

const certificateCodes = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

/** The error to throw in place of one that the SDK threw. A WalferryError stays as it is. */
export function s3Error(error: unknown, call: S3Call): WalferryError {
  if (error instanceof WalferryError) return error
  const name = error instanceof Error ? error.name : ''
  const status = statusOf(error)
  const meaning = meaningOf(error, name, status, call)
  const reason = systemCode(error) ?? name
  const said = status === undefined ? reason : `${reason}, HTTP ${status}`
  const requestId = metadataOf(error)['requestId']
  return new WalferryError(meaning.code, `${call.operation} of ${call.target} failed (${said})`, {
    cause: error,
    retryable: meaning.retryable,
    ...(meaning.hint === undefined ? {} : { hint: meaning.hint }),
    fields: {
      operation: call.operation,
      target: call.target,
      reason,
      ...(status === undefined ? {} : { status }),
      ...(typeof requestId === 'string' ? { requestId } : {}),
    },
  })
}

function meaningOf(error: unknown, name: string, status: number | undefined, call: S3Call): Meaning {
  const named = Object.hasOwn(byName, name) ? byName[name] : undefined
  if (named !== undefined) return named
  return status === undefined ? meaningWithoutAnswer(error, name) : meaningOfStatus(status, call)
}

function meaningOfStatus(status: number, call: S3Call): Meaning {
  if (status === 401 || status === 403) return denied
  // An answer to HEAD has no body, hence no S3 error code: whether it is the key that is missing, the caller must ask.
  if (status === 404 && call.operation === 'HeadObject') return { code: 'KEY_MISSING', retryable: false }
  if (status === 412 && call.ifAbsent === true) return { code: 'KEY_EXISTS', retryable: false }
  if (status === 409 && call.ifAbsent === true) return later
  if (status === 301 || status === 307) return wrongRegion
  if (status === 408 || status === 429 || (status >= 500 && status !== 501)) return later
  if (status >= 200 && status < 300) {
    return { ...never, hint: 'The endpoint answered, but not as S3 does: check the endpoint and any proxy before it.' }
  }
  return never
}

function meaningWithoutAnswer(error: unknown, name: string): Meaning {
  const code = systemCode(error)
  if (code !== undefined && certificateCodes.has(code)) return badCertificate
  if (code !== undefined || name === 'TimeoutError' || name === 'AbortError') return later
  return never
}

function statusOf(error: unknown): number | undefined {
  // An answer that could not be read as S3's has its status only in the raw response.
  for (const status of [metadataOf(error)['httpStatusCode'], property(property(error, '$response'), 'statusCode')]) {
    if (typeof status === 'number') return status
  }
  return undefined
}

function metadataOf(error: unknown): Readonly<Record<string, unknown>> {
  const metadata = property(error, '$metadata')
  return typeof metadata === 'object' && metadata !== null ? { ...metadata } : {}
}

function property(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null ? Reflect.get(of, name) : undefined
}
