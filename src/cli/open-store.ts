/**
 * From options to an archive: its store, and its key if it is encrypted. The only place that names concrete stores and
 * makes an archive of one; S3 is loaded only where it is chosen.
 */
import { resolve } from 'node:path'
import { Archive } from '../archive/archive.ts'
import type { Log } from '../kit/log.ts'
import { DirectoryStore } from '../store/directory.ts'
import type { NotHonoured } from '../store/s3-if-absent.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { S3StoreOptions } from '../store/s3.ts'
import { findPlainAccess } from '../store/s3-plain-access.ts'
import { readCertificates } from './certificate-file.ts'
import { readEncryptionKey } from './encryption-key.ts'
import type { Config } from './options.ts'
import type { StorePlace } from './store-url.ts'

export const keyOptions = ['encryption-key-file', 'encryption-key-transform'] as const

export const storeOptions = [
  'store',
  's3-endpoint',
  's3-region',
  's3-path-style',
  's3-sse',
  's3-storage-class',
  's3-ca-file',
  ...keyOptions,
] as const

const authorityHint =
  'Name a file that holds the certificate of the endpoint’s authority as PEM (-----BEGIN CERTIFICATE-----).'

type StoreConfig = Config<'store'> & Partial<Config<(typeof storeOptions)[number]>>

/**
 * Throws BAD_INPUT for a key or a file of certificates that cannot be used. Does not touch the store, which is the
 * caller's to close. `log` is told what is found out later, and is for those who write. `around` puts something between
 * the archive and its store.
 */
export async function openArchive(
  config: StoreConfig,
  log?: Pick<Log, 'warn'>,
  around: (store: ObjectStore) => ObjectStore = (store) => store,
): Promise<Archive> {
  const secret = await readEncryptionKey(config, process.env)
  return new Archive(around(await openStore(config, log)), secret)
}

/** As `openArchive`, for who reads one segment and ends: S3 is read without the AWS SDK where that is possible. */
export async function openArchiveToFetch(config: StoreConfig): Promise<Archive> {
  const secret = await readEncryptionKey(config, process.env)
  return new Archive(await openReader(config), secret)
}

async function openStore(config: StoreConfig, log?: Pick<Log, 'warn'>): Promise<ObjectStore> {
  const place = config.store
  if (place.kind === 'folder') return new DirectoryStore(resolve(place.path))
  const { S3Store } = await import('../store/s3.ts')
  return new S3Store(await s3Options(config, place, log))
}

async function openReader(config: StoreConfig): Promise<ObjectStore> {
  if (config.store.kind === 'folder') return await openStore(config)
  const options = await s3Options(config, config.store)
  const access = await findPlainAccess(options, process.env)
  if (access === null) {
    const { S3Store } = await import('../store/s3.ts')
    return new S3Store(options)
  }
  const { S3Reader } = await import('../store/s3-reader.ts')
  return new S3Reader(options, access)
}

async function s3Options(
  config: StoreConfig,
  place: Extract<StorePlace, { kind: 's3' }>,
  log?: Pick<Log, 'warn'>,
): Promise<S3StoreOptions> {
  const authorities = config['s3-ca-file']
  return {
    bucket: place.bucket,
    prefix: place.prefix,
    ...(config['s3-endpoint'] === undefined ? {} : { endpoint: config['s3-endpoint'] }),
    ...(config['s3-region'] === undefined ? {} : { region: config['s3-region'] }),
    ...(config['s3-sse'] === undefined ? {} : { encryption: config['s3-sse'] }),
    ...(config['s3-storage-class'] === undefined ? {} : { storageClass: config['s3-storage-class'] }),
    ...(authorities === undefined
      ? {}
      : { authorities: await readCertificates('s3-ca-file', authorities, authorityHint) }),
    forcePathStyle: config['s3-path-style'] ?? config['s3-endpoint'] !== undefined,
    onNotHonoured: (found: NotHonoured) =>
      log?.warn('two writers of one key cannot be told apart: the store does not honour If-None-Match', {
        store: `s3://${place.bucket}/${place.prefix}`,
        conditionalPut: found,
      }),
  }
}
