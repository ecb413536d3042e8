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
import { fetchCommand } from './restore-command.ts'
import type { StorePlace } from './store-url.ts'

/** Without a store, the demo has one of its own; a key is for either. */
export type DemoStore = Config<(typeof storeOptions)[number]> | Config<(typeof keyOptions)[number]>

export interface DemoArchive {
  readonly archive: Archive
  /** The restore_command that reads it. `program`: the absolute path of walferry-fetch. */
  fetchCommand(program: string): string
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
  return {
    archive,
    fetchCommand: (program) => fetchCommand(program, config),
    env: place.kind === 's3' ? awsVariables() : {},
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

/** What variables say of a key reaches `fetch` without our help: the server inherits them. */
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
