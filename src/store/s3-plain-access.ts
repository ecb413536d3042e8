/**
 * Where objects of S3 are read, and as whom, where that is plain to see: then s3-plain-get.ts reads them, and the AWS SDK,
 * which takes longer to load than Node.js to start, is not needed. The SDK knows many more ways to be told; whatever hints
 * at one of them makes the answer null, and the SDK is asked.
 *
 *     --s3-endpoint https://s3.example:9000    https://s3.example:9000/<bucket>/<prefix>/<key>, region us-east-1 unless said
 *     none, and the region eu-central-1        https://<bucket>.s3.eu-central-1.amazonaws.com/<prefix>/<key>
 */
import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { systemCode } from '../kit/errors.ts'
import { isKey } from './keys.ts'
import { ownRegion, trimmedPrefix } from './s3-names.ts'

export interface S3Place {
  readonly bucket: string
  readonly prefix?: string
  readonly endpoint?: string
  readonly region?: string
  readonly forcePathStyle?: boolean
}

export interface PlainAccess {
  readonly origin: URL
  /** What a key follows in the path of its URL. Example: `/bucket/prefix/`. */
  readonly folder: string
  readonly region: string
  readonly credentials: {
    readonly accessKeyId: string
    readonly secretAccessKey: string
    readonly sessionToken?: string
  }
}

export type Environment = Readonly<Record<string, string | undefined>>

/** As `plainAccess`; looks for the SDK's files. */
export async function findPlainAccess(place: S3Place, env: Environment): Promise<PlainAccess | null> {
  const access = plainAccess(place, env)
  if (access === null) return null
  const files = [fileOf(env['AWS_CONFIG_FILE'], 'config'), fileOf(env['AWS_SHARED_CREDENTIALS_FILE'], 'credentials')]
  return (await Promise.all(files.map(isAbsent))).every(Boolean) ? access : null
}

/** What the options and the variables say, if they say all: for a machine without the SDK's files. */
export function plainAccess(place: S3Place, env: Environment): PlainAccess | null {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = env
  const isPlain = Object.keys(env).every((name) => !name.startsWith('AWS_') || plainVariables.has(name))
  if (!isPlain || !accessKeyId || !secretAccessKey) return null
  const prefix = trimmedPrefix(place.prefix)
  if (prefix !== '' && !isKey(prefix)) return null
  const found = place.endpoint === undefined ? atAmazon(place, env) : atOwnEndpoint(place, place.endpoint)
  if (found === null) return null
  return {
    ...found,
    folder: prefix === '' ? found.folder : `${found.folder}${prefix}/`,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) },
  }
}

type Found = Pick<PlainAccess, 'origin' | 'folder' | 'region'>

function atOwnEndpoint({ bucket, region = ownRegion, forcePathStyle = true }: S3Place, endpoint: string): Found | null {
  const origin = new URL(endpoint)
  if (!forcePathStyle || !plainBucket.test(bucket) || origin.href !== `${origin.origin}/`) return null
  return { origin, folder: `/${bucket}/`, region }
}

function atAmazon({ bucket, region, forcePathStyle = false }: S3Place, env: Environment): Found | null {
  const where = region ?? env['AWS_REGION'] ?? ''
  if (forcePathStyle || !plainBucket.test(bucket) || bucket.includes('.') || !commonRegion.test(where)) return null
  return { origin: new URL(`https://${bucket}.s3.${where}.amazonaws.com`), folder: '/', region: where }
}

/** What is known here, or says nothing about how an object is read. AWS_PROFILE, for one, is not among them. */
const plainVariables = new Set([
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_REGION',
  'AWS_DEFAULT_REGION',
  'AWS_ENDPOINT',
  'AWS_S3_FORCE_PATH_STYLE',
  'AWS_CA_BUNDLE', // the SDK for JavaScript does not read it
  'AWS_CONFIG_FILE',
  'AWS_SHARED_CREDENTIALS_FILE',
  'AWS_EC2_METADATA_DISABLED',
  'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED',
])

/** No ARN, no access point, no directory bucket (`--x-s3`). */
const plainBucket = /^(?!.*(?:--|\.\.))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/

/** Of Amazon's common partition, whose hosts end in amazonaws.com: not China, not the governments'. */
const commonRegion = /^(?:af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-[0-9]$/

/** Where the SDK looks, to which an empty variable says nothing. */
function fileOf(said: string | undefined, name: string): string {
  return said === undefined || said === '' ? join(homedir(), '.aws', name) : said
}

async function isAbsent(path: string): Promise<boolean> {
  if (path === '/dev/null') return true
  try {
    await stat(path)
    return false
  } catch (error) {
    return systemCode(error) === 'ENOENT'
  }
}
