/** From --store to a store. The only place that names concrete stores; S3 is loaded only where it is chosen. */
import { resolve } from 'node:path'
import { DirectoryStore } from '../store/directory.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Config } from './options.ts'

export const storeOptions = ['store', 's3-endpoint', 's3-region', 's3-path-style'] as const

/** Does not touch the store. */
export async function openStore(config: Config<(typeof storeOptions)[number]>): Promise<ObjectStore> {
  const place = config.store
  if (place.kind === 'folder') return new DirectoryStore(resolve(place.path))
  const { S3Store } = await import('../store/s3.ts')
  return new S3Store({
    bucket: place.bucket,
    prefix: place.prefix,
    ...(config['s3-endpoint'] === undefined ? {} : { endpoint: config['s3-endpoint'] }),
    ...(config['s3-region'] === undefined ? {} : { region: config['s3-region'] }),
    forcePathStyle: config['s3-path-style'] ?? config['s3-endpoint'] !== undefined,
  })
}
