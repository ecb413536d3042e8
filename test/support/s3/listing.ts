/** ListObjectsV2 (API reference of Amazon S3). */
import type { Bucket } from './bucket.ts'
import type { S3Request } from './request.ts'
import { S3Error } from './s3-error.ts'
import { type XmlElement, xmlDocument } from './xml.ts'

const maxPageKeys = 1000

export function listObjects(bucket: Bucket, request: S3Request): string {
  const { query } = request
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const startAfter = query.get('start-after') ?? ''
  const token = query.get('continuation-token')
  const asked = Number(query.get('max-keys') ?? maxPageKeys)
  if (!Number.isInteger(asked) || asked < 0) throw new S3Error(400, 'InvalidArgument', 'max-keys is no count')
  const encoding = query.get('encoding-type')
  if (encoding !== undefined && encoding !== 'url')
    throw new S3Error(400, 'InvalidArgument', 'encoding-type is not url')
  const encode = (text: string): string => (encoding === 'url' ? encodeURIComponent(text) : text)

  const page = pageOf(bucket, { prefix, delimiter, after: token === undefined ? startAfter : fromToken(token) }, asked)
  const next = page.last === undefined ? [] : [['NextContinuationToken', toToken(page.last)] as const]
  return xmlDocument('ListBucketResult', [
    ['Name', request.bucket],
    ['Prefix', encode(prefix)],
    ['StartAfter', encode(startAfter)],
    ['Delimiter', encode(delimiter)],
    ['MaxKeys', asked],
    ['KeyCount', page.keys.length + page.prefixes.length],
    ['IsTruncated', page.last !== undefined],
    ...next,
    ...page.keys.map((key): XmlElement => ['Contents', contents(bucket, key, encode)]),
    ...page.prefixes.map((common): XmlElement => ['CommonPrefixes', [['Prefix', encode(common)]]]),
  ])
}

interface Page {
  readonly keys: string[]
  readonly prefixes: string[]
  /** The last key or common prefix of the page, if there is more behind it. */
  last: string | undefined
}

function pageOf(bucket: Bucket, range: { prefix: string; delimiter: string; after: string }, asked: number): Page {
  const { prefix, delimiter, after } = range
  const limit = Math.min(asked, maxPageKeys)
  const page: Page = { keys: [], prefixes: [], last: undefined }
  if (limit === 0) return page
  const keys = bucket.keys()
  let last = after
  for (let at = firstBehind(keys, after); at < keys.length; at++) {
    const key = keys[at] ?? ''
    if (!key.startsWith(prefix)) {
      if (isBefore(key, prefix)) continue
      break
    }
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    const common = cut === -1 ? undefined : key.slice(0, cut + delimiter.length)
    if (common !== undefined && (common === page.prefixes.at(-1) || common === after)) continue
    if (page.keys.length + page.prefixes.length === limit) {
      page.last = last
      break
    }
    if (common === undefined) page.keys.push(key)
    else page.prefixes.push(common)
    last = common ?? key
  }
  return page
}

/** Where the keys behind `after` begin; a common prefix as `after` is behind none of its keys. */
function firstBehind(keys: readonly string[], after: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    const key = keys[middle] ?? ''
    if (key === after || isBefore(key, after)) low = middle + 1
    else high = middle
  }
  return low
}

function isBefore(a: string, b: string): boolean {
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0
}

function contents(bucket: Bucket, key: string, encode: (text: string) => string): XmlElement[] {
  const object = bucket.object(key)
  return [
    ['Key', encode(key)],
    ['LastModified', (object?.modified ?? new Date(0)).toISOString()],
    ['ETag', object?.etag ?? ''],
    ['Size', object?.bytes.length ?? 0],
    ['StorageClass', 'STANDARD'],
  ]
}

function toToken(last: string): string {
  return Buffer.from(last).toString('base64url')
}

function fromToken(token: string): string {
  return Buffer.from(token, 'base64url').toString()
}
