/**
 * What S3 answers to a request whose signature and body were found right. Each operation decides and stores in one
 * step, without an await: that makes conditional writes atomic.
 */
import { randomUUID } from 'node:crypto'
import { Bucket, type StoredObject, type Upload } from './bucket.ts'
import { listObjects } from './listing.ts'
import { type Allocate, hash, type Payload } from './payload.ts'
import { checkSettings, encryptionHeaders, settingsHeaders } from './settings.ts'
import { header, type S3Operation, type S3Request } from './request.ts'
import { S3Error } from './s3-error.ts'
import { type XmlElement, xmlDocument, xmlElements, xmlText } from './xml.ts'

/**
 * How this store treats `If-None-Match: *` on a write. Not every provider honours it; radosgw 16 does on a PUT, and
 * ignores it where the parts of an upload are put together.
 */
export type ConditionalWrites = 'honoured' | 'refused' | 'ignored' | 'ignored for parts'

export interface Storage {
  readonly buckets: Map<string, Bucket>
  readonly conditionalWrites: ConditionalWrites
  readonly encrypts: boolean
  readonly allocate: Allocate
}

export interface S3Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number>>
  readonly body: Buffer | string
}

type Operation = (bucket: Bucket, request: S3Request, payload: Payload, storage: Storage) => S3Answer

const minPartBytes = 5 * 1024 * 1024
const maxDeletedKeys = 1000

export function answer(storage: Storage, request: S3Request, payload: Payload): S3Answer {
  if (request.operation === 'CreateBucket') return createBucket(storage, request)
  if (request.operation === 'Unknown') throw new S3Error(501, 'NotImplemented', `${request.method} is not implemented`)
  const bucket = storage.buckets.get(request.bucket)
  if (bucket === undefined) throw new S3Error(404, 'NoSuchBucket', 'the specified bucket does not exist')
  checkSettings(request)
  return operations[request.operation](bucket, request, payload, storage)
}

function createBucket(storage: Storage, request: S3Request): S3Answer {
  if (storage.buckets.has(request.bucket)) throw new S3Error(409, 'BucketAlreadyOwnedByYou', 'you already have it')
  storage.buckets.set(request.bucket, new Bucket())
  return { status: 200, headers: { location: `/${request.bucket}` }, body: '' }
}

const putObject: Operation = (bucket, request, payload, storage) => {
  checkWriteConditions(bucket, request, storage)
  const headers = keptHeaders(request, storage)
  const { etag } = bucket.put(request.key, payload, headers)
  return empty(200, { etag, ...checksumHeader(payload.crc32), ...encryptionHeaders(headers) })
}

const copyObject: Operation = (bucket, request, _payload, storage) => {
  checkWriteConditions(bucket, request, storage)
  const source = decodeURIComponent(header(request, 'x-amz-copy-source') ?? '').replace(/^\//, '')
  const slash = source.indexOf('/')
  const from = storage.buckets.get(source.slice(0, slash))?.object(source.slice(slash + 1))
  if (from === undefined) throw noSuchKey()
  const { etag, modified } = bucket.store(request.key, { ...from, modified: new Date() })
  return xml('CopyObjectResult', [
    ['ETag', etag],
    ['LastModified', modified.toISOString()],
  ])
}

const getObject: Operation = (bucket, request) => {
  const object = existing(bucket, request.key)
  const ifMatch = header(request, 'if-match')
  if (ifMatch !== undefined && ifMatch !== object.etag) throw preconditionFailed()
  if (header(request, 'if-none-match') === object.etag) return empty(304, { etag: object.etag })
  const range = header(request, 'range')
  if (range === undefined) return { status: 200, headers: wholeHeaders(object, request), body: object.bytes }
  const { from, to } = parseRange(range, object.bytes.length)
  const headers = {
    ...objectHeaders(object),
    'content-length': to - from,
    'content-range': `bytes ${from}-${to - 1}/${object.bytes.length}`,
  }
  return { status: 206, headers, body: object.bytes.subarray(from, to) }
}

const headObject: Operation = (bucket, request) => empty(200, wholeHeaders(existing(bucket, request.key), request))

const deleteObject: Operation = (bucket, request) => {
  bucket.delete(request.key)
  return empty(204)
}

const deleteObjects: Operation = (bucket, request, payload) => {
  const isSummed = Object.keys(request.headers).some(
    (name) => name === 'content-md5' || name.startsWith('x-amz-checksum-'),
  )
  if (!isSummed) throw new S3Error(400, 'InvalidRequest', 'missing header: Content-MD5 or x-amz-checksum-*')
  const text = payload.bytes.toString()
  const keys = xmlElements(text, 'Object').map((object) => xmlText(object, 'Key') ?? '')
  if (keys.length === 0 || keys.length > maxDeletedKeys) throw malformedXml()
  for (const key of keys) bucket.delete(key)
  const quiet = xmlText(text, 'Quiet') === 'true'
  return xml('DeleteResult', quiet ? [] : keys.map((key): XmlElement => ['Deleted', [['Key', key]]]))
}

const createMultipartUpload: Operation = (bucket, request, _payload, storage) => {
  const uploadId = randomUUID()
  const headers = keptHeaders(request, storage)
  bucket.uploads.set(uploadId, {
    key: request.key,
    started: new Date(),
    headers,
    announcesChecksums: header(request, 'x-amz-checksum-algorithm') !== undefined,
    parts: new Map(),
  })
  const content = [
    ['Bucket', request.bucket],
    ['Key', request.key],
    ['UploadId', uploadId],
  ] as const
  const result = xml('InitiateMultipartUploadResult', content)
  return { ...result, headers: { ...result.headers, ...encryptionHeaders(headers) } }
}

const uploadPart: Operation = (bucket, request, payload) => {
  const number = Number(request.query.get('partNumber'))
  if (!Number.isInteger(number) || number < 1 || number > 10_000) {
    throw new S3Error(400, 'InvalidArgument', 'the part number must be from 1 to 10000')
  }
  const etag = `"${payload.md5}"`
  uploadOf(bucket, request).parts.set(number, { bytes: payload.bytes, etag, crc32: payload.crc32 ?? '' })
  return empty(200, { etag, ...checksumHeader(payload.crc32) })
}

const completeMultipartUpload: Operation = (bucket, request, payload, storage) => {
  const upload = uploadOf(bucket, request)
  const parts = namedParts(upload, payload.bytes.toString())
  checkWriteConditions(bucket, request, storage)
  const md5s = Buffer.concat(parts.map((part) => Buffer.from(part.etag.slice(1, -1), 'hex')))
  const object = bucket.store(request.key, {
    bytes: joined(parts, storage.allocate),
    etag: `"${hash('md5', md5s, 'hex')}-${parts.length}"`,
    modified: new Date(),
    headers: upload.headers,
  })
  bucket.uploads.delete(request.query.get('uploadId') ?? '')
  return xml('CompleteMultipartUploadResult', [
    ['Bucket', request.bucket],
    ['Key', request.key],
    ['ETag', object.etag],
  ])
}

function joined(parts: readonly { readonly bytes: Buffer }[], allocate: Allocate): Buffer {
  const whole = allocate(parts.reduce((sum, { bytes }) => sum + bytes.length, 0))
  let length = 0
  for (const { bytes } of parts) length += bytes.copy(whole, length)
  return whole
}

/** The parts that the client names, which must be in order, as they were uploaded, and large enough. */
function namedParts(upload: Upload, text: string): { bytes: Buffer; etag: string }[] {
  let last = 0
  const parts = xmlElements(text, 'Part').map((element) => {
    const number = Number(xmlText(element, 'PartNumber'))
    if (number <= last) throw new S3Error(400, 'InvalidPartOrder', 'the parts are not in order')
    last = number
    const part = upload.parts.get(number)
    const crc32 = xmlText(element, 'ChecksumCRC32')
    // As Versity's gateway has it: a checksum that the upload has not announced belongs to no part.
    const isChecked = crc32 === undefined || (upload.announcesChecksums && crc32 === part?.crc32)
    const isSame = part?.etag === xmlText(element, 'ETag') && isChecked
    if (part === undefined || !isSame) throw new S3Error(400, 'InvalidPart', `part ${number} was not found`)
    return part
  })
  if (parts.length === 0) throw malformedXml()
  if (parts.slice(0, -1).some((part) => part.bytes.length < minPartBytes)) {
    throw new S3Error(400, 'EntityTooSmall', 'a part is smaller than the minimum allowed size')
  }
  return parts
}

const abortMultipartUpload: Operation = (bucket, request) => {
  uploadOf(bucket, request)
  bucket.uploads.delete(request.query.get('uploadId') ?? '')
  return empty(204)
}

const listMultipartUploads: Operation = (bucket, request) =>
  xml('ListMultipartUploadsResult', [
    ['Bucket', request.bucket],
    ['IsTruncated', false],
    ...[...bucket.uploads].map(
      ([uploadId, upload]): XmlElement => [
        'Upload',
        [
          ['Key', upload.key],
          ['UploadId', uploadId],
          ['Initiated', upload.started.toISOString()],
        ],
      ],
    ),
  ])

const operations: Readonly<Record<Exclude<S3Operation, 'CreateBucket' | 'Unknown'>, Operation>> = {
  AbortMultipartUpload: abortMultipartUpload,
  CompleteMultipartUpload: completeMultipartUpload,
  CopyObject: copyObject,
  CreateMultipartUpload: createMultipartUpload,
  DeleteObject: deleteObject,
  DeleteObjects: deleteObjects,
  GetObject: getObject,
  HeadBucket: () => empty(200),
  HeadObject: headObject,
  ListMultipartUploads: listMultipartUploads,
  ListObjectsV2: (bucket, request) => ({
    status: 200,
    headers: { 'content-type': 'application/xml' },
    body: listObjects(bucket, request),
  }),
  PutObject: putObject,
  UploadPart: uploadPart,
}

function checkWriteConditions(bucket: Bucket, request: S3Request, storage: Storage): void {
  const ifNoneMatch = header(request, 'if-none-match')
  const ifMatch = header(request, 'if-match')
  if (ifNoneMatch === undefined && ifMatch === undefined) return
  if (storage.conditionalWrites === 'ignored') return
  if (storage.conditionalWrites === 'ignored for parts' && request.operation === 'CompleteMultipartUpload') return
  if (storage.conditionalWrites === 'refused' || (ifNoneMatch !== undefined && ifNoneMatch !== '*')) {
    throw new S3Error(501, 'NotImplemented', 'a header you provided implies functionality that is not implemented')
  }
  if (ifNoneMatch !== undefined && bucket.has(request.key)) throw preconditionFailed()
  if (ifMatch !== undefined && ifMatch !== existing(bucket, request.key).etag) throw preconditionFailed()
}

/** Reads `bytes=from-to`, `bytes=from-` or `bytes=-last`; `to` is given back as the byte behind. */
function parseRange(range: string, length: number): { from: number; to: number } {
  const match = /^bytes=(\d*)-(\d*)$/.exec(range)
  const [, first = '', last = ''] = match ?? []
  const from = first === '' ? Math.max(0, length - Number(last)) : Number(first)
  const to = first === '' || last === '' ? length : Math.min(length, Number(last) + 1)
  if (match === null || from >= to) throw new S3Error(416, 'InvalidRange', 'the requested range is not satisfiable')
  return { from, to }
}

/** A sum of the whole object goes with the whole object only. */
function wholeHeaders(object: StoredObject, request: S3Request): Record<string, string | number> {
  const isAsked = header(request, 'x-amz-checksum-mode') === 'ENABLED'
  return { ...objectHeaders(object), ...(isAsked ? checksumHeader(object.crc32) : {}) }
}

function objectHeaders(object: StoredObject): Record<string, string | number> {
  return {
    'content-type': 'binary/octet-stream',
    ...object.headers,
    'content-length': object.bytes.length,
    'last-modified': object.modified.toUTCString(),
    'accept-ranges': 'bytes',
    etag: object.etag,
  }
}

function keptHeaders(request: S3Request, storage: Storage): Record<string, string> {
  const kept = settingsHeaders(request, storage.encrypts)
  for (const name of Object.keys(request.headers)) {
    const value = header(request, name)
    if (value !== undefined && (name === 'content-type' || name.startsWith('x-amz-meta-'))) kept[name] = value
  }
  return kept
}

function existing(bucket: Bucket, key: string): StoredObject {
  const object = bucket.object(key)
  if (object === undefined) throw noSuchKey()
  return object
}

function uploadOf(bucket: Bucket, request: S3Request): Upload {
  const upload = bucket.uploads.get(request.query.get('uploadId') ?? '')
  if (upload?.key !== request.key) throw new S3Error(404, 'NoSuchUpload', 'the specified upload does not exist')
  return upload
}

function checksumHeader(crc32: string | undefined): Record<string, string> {
  return crc32 === undefined ? {} : { 'x-amz-checksum-crc32': crc32, 'x-amz-checksum-type': 'FULL_OBJECT' }
}

function empty(status: number, headers: Readonly<Record<string, string | number>> = {}): S3Answer {
  return { status, headers, body: '' }
}

function xml(name: string, content: readonly XmlElement[]): S3Answer {
  return { status: 200, headers: { 'content-type': 'application/xml' }, body: xmlDocument(name, content) }
}

function noSuchKey(): S3Error {
  return new S3Error(404, 'NoSuchKey', 'the specified key does not exist')
}

function preconditionFailed(): S3Error {
  return new S3Error(412, 'PreconditionFailed', 'at least one of the preconditions you specified did not hold')
}

function malformedXml(): S3Error {
  return new S3Error(400, 'MalformedXML', 'the XML you provided was not well-formed')
}
