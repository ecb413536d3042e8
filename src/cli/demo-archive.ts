/**
 * Where the demo ships to: a folder that goes with it, or a place of its own below `--store`, because each demo has a
 * server, and so an archive, of its own. Nothing is left there.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Archive } from '../archive/archive.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type keyOptions, openArchive, type storeOptions } from './open-store.ts'
import type { Config } from './options.ts'
import type { StorePlace } from './store-url.ts'

/** Without a store, the demo has one of its own; a key is for either. */
export type DemoStore = Config<(typeof storeOptions)[number]> | Config<(typeof keyOptions)[number]>

export interface DemoArchive {
  readonly archive: Archive
  /** What `fetch` needs to find it, behind its arguments. */
  readonly fetchArgs: readonly string[]
  /** What the server has to hand on to `fetch`: credentials do not belong into restore_command. */
  readonly env: Readonly<Record<string, string>>
  /** Removes what the demo has stored. */
  remove(): Promise<void>
}

/** @param folder the demo's own, for when no store was given. */
export async function openDemoArchive(folder: string, given: DemoStore): Promise<DemoArchive> {
  const place = placeOf(folder, given)
  const config = { ...given, store: place }
  if (place.kind === 'folder') await mkdir(place.path, { recursive: true })
  const archive = await openArchive(config)
  const inS3 = place.kind === 's3'
  return {
    archive,
    fetchArgs: [
      '--store',
      inS3 ? `s3://${place.bucket}/${place.prefix}` : place.path,
      ...(inS3 ? s3Args(config) : []),
      ...keyArgs(config),
    ],
    env: inS3 ? awsVariables() : {},
    async remove() {
      if (place.kind === 'folder') await rm(place.path, { recursive: true, force: true })
      else await removeAll(archive.store)
      archive.store.close()
    },
  }
}

function placeOf(folder: string, given: DemoStore): StorePlace {
  if (!('store' in given)) return { kind: 'folder', path: join(folder, 'archive') }
  const own = `walferry-demo-${randomBytes(4).toString('hex')}`
  if (given.store.kind === 'folder') return { kind: 'folder', path: join(resolve(given.store.path), own) }
  const { bucket, prefix } = given.store
  return { kind: 's3', bucket, prefix: prefix === '' ? own : `${prefix}/${own}` }
}

function s3Args(config: Partial<Config<(typeof storeOptions)[number]>>): string[] {
  const args: string[] = []
  for (const name of ['s3-endpoint', 's3-region', 's3-ca-file'] as const) {
    const value = config[name]
    if (value !== undefined) args.push(`--${name}`, name === 's3-ca-file' ? resolve(value) : value)
  }
  if (config['s3-path-style'] !== undefined)
    args.push(config['s3-path-style'] ? '--s3-path-style' : '--no-s3-path-style')
  return args
}

/** What variables say of the key reaches `fetch` without our help: the server inherits them. */
function keyArgs({
  'encryption-key-file': file,
  'encryption-key-transform': transform,
}: Config<(typeof keyOptions)[number]>): string[] {
  return [
    ...(file === undefined ? [] : ['--encryption-key-file', resolve(file)]),
    ...(transform === undefined ? [] : ['--encryption-key-transform', transform]),
  ]
}

function awsVariables(): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) {
    if (name.startsWith('AWS_') && value !== undefined) found[name] = value
  }
  return found
}

async function removeAll(store: ObjectStore): Promise<void> {
  const signal = AbortSignal.timeout(60_000)
  const keys: string[] = []
  for await (const { key } of store.list({ prefix: '', signal })) keys.push(key)
  await store.deleteMany(keys, { signal })
}
