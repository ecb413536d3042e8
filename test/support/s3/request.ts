/** An HTTP request read as a request to S3, with the bucket in the path: `/bucket/key?query`. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { S3Error } from './s3-error.ts'

export type S3Operation =
  | 'AbortMultipartUpload'
  | 'CompleteMultipartUpload'
  | 'CopyObject'
  | 'CreateBucket'
  | 'CreateMultipartUpload'
  | 'DeleteObject'
  | 'DeleteObjects'
  | 'GetObject'
  | 'HeadBucket'
  | 'HeadObject'
  | 'ListMultipartUploads'
  | 'ListObjectsV2'
  | 'PutObject'
  | 'UploadPart'
  | 'Unknown'

export interface S3Request {
  readonly operation: S3Operation
  readonly method: string
  /** As it was sent, before the query. */
  readonly path: string
  readonly bucket: string
  /** Empty for a request to the bucket. */
  readonly key: string
  readonly query: ReadonlyMap<string, string>
  readonly headers: IncomingHttpHeaders
}

export function parseRequest(message: IncomingMessage): S3Request {
  const { method = '', url = '/', headers } = message
  const mark = url.indexOf('?')
  const path = mark === -1 ? url : url.slice(0, mark)
  const query = new Map<string, string>()
  for (const pair of mark === -1 ? [] : url.slice(mark + 1).split('&')) {
    const equals = pair.indexOf('=')
    const name = equals === -1 ? pair : pair.slice(0, equals)
    if (name !== '') query.set(decode(name), equals === -1 ? '' : decode(pair.slice(equals + 1)))
  }
  const slash = path.indexOf('/', 1)
  const bucket = decode(slash === -1 ? path.slice(1) : path.slice(1, slash))
  const key = slash === -1 ? '' : decode(path.slice(slash + 1))
  const operation = operationOf(method, key, query, headers)
  return { operation, method, path, bucket, key, query, headers }
}

function operationOf(
  method: string,
  key: string,
  query: ReadonlyMap<string, string>,
  headers: IncomingHttpHeaders,
): S3Operation {
  if (key === '') {
    if (method === 'PUT') return 'CreateBucket'
    if (method === 'HEAD') return 'HeadBucket'
    if (method === 'POST' && query.has('delete')) return 'DeleteObjects'
    if (method === 'GET' && query.has('uploads')) return 'ListMultipartUploads'
    if (method === 'GET' && query.get('list-type') === '2') return 'ListObjectsV2'
    return 'Unknown'
  }
  const inUpload = query.has('uploadId')
  if (method === 'PUT' && inUpload) return 'UploadPart'
  if (method === 'PUT') return headers['x-amz-copy-source'] === undefined ? 'PutObject' : 'CopyObject'
  if (method === 'POST' && query.has('uploads')) return 'CreateMultipartUpload'
  if (method === 'POST' && inUpload) return 'CompleteMultipartUpload'
  if (method === 'DELETE') return inUpload ? 'AbortMultipartUpload' : 'DeleteObject'
  if (method === 'HEAD') return 'HeadObject'
  return method === 'GET' ? 'GetObject' : 'Unknown'
}

/** One header's value, however often it was sent. */
export function header(request: S3Request, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value.join(',') : value
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new S3Error(400, 'InvalidURI', `cannot decode ${text}`)
  }
}
