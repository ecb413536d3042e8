/**
 * The last steps in a folder whose files are all there and checked: the links of tablespaces, the settings, the signal
 * file; then everything is made durable, and only then global/pg_control gets its name.
 */
import { chmod, mkdir, open, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { withFile } from '../archive/backup-manifest.ts'
import { inOrder } from '../archive/in-order.ts'
import type { Tablespace } from '../archive/sentinel.ts'
import { mergeSettings } from '../cluster/settings.ts'
import { syncFolder } from '../kit/durable-fs.ts'
import { systemCode } from '../kit/errors.ts'
import type { FolderWriter } from './folder-writer.ts'
import { makeSettings, type SettingsAsked } from './recovery-settings.ts'
import { mapTablespaces } from './tablespaces.ts'
import { controlPath } from './unfinished.ts'

export interface Settling {
  readonly folder: string
  /** The backup's sentinel, for messages. */
  readonly key: string
  readonly writer: FolderWriter
  /** The content of global/pg_control. */
  readonly control: Uint8Array
  /** The tablespaces as the sentinel has them, and with their places here. */
  readonly stated: readonly Tablespace[]
  readonly tablespaces: readonly Tablespace[]
  /** The server's, if there is one. */
  readonly manifest: Uint8Array | null
  readonly standby: boolean
  readonly settings: SettingsAsked
}

const syncsAtOnce = 16 // the thread pool's size as bin/walferry sets it
const controlAside = `${controlPath}.walferry`
const mapFile = 'tablespace_map'
const subscriptionsFile = 'global/6100' // pg_subscription, in all versions: empty where there are none

/** Returns what of the original's settings was switched off. An abort leaves it without global/pg_control. */
export async function settle(job: Settling, signal: AbortSignal): Promise<readonly string[]> {
  const { folder, writer } = job
  const groupMayRead = ((writer.files.get('PG_VERSION')?.mode ?? 0) & 0o040) !== 0
  const put = async (name: string, content: string | Uint8Array): Promise<void> => {
    const path = join(folder, name)
    await writeFile(path, content)
    await chmod(path, groupMayRead ? 0o640 : 0o600)
    own.push(path)
  }
  const own: string[] = []

  const links = join(folder, 'pg_tblspc')
  await mkdir(links, { recursive: true, mode: 0o700 })
  for (const { oid, location } of job.tablespaces) await symlink(location, join(links, oid))
  const map = await readText(join(folder, mapFile))
  const mapped = mapTablespaces(job.key, map, job.stated, job.tablespaces)
  if (mapped !== map) await put(mapFile, mapped)
  // What lay in the server's folder was the manifest of the backup that it was made from.
  await rm(join(folder, 'backup_manifest'), { force: true })
  if (job.manifest !== null) {
    const manifest = mapped === map ? job.manifest : withFile(job.manifest, mapFile, Buffer.from(mapped))
    await put('backup_manifest', manifest)
  }
  const auto = await readText(join(folder, 'postgresql.auto.conf'))
  const conf = await readText(join(folder, 'postgresql.conf'))
  const copy = { isStandby: job.standby, hasSubscriptions: (writer.files.get(subscriptionsFile)?.bytes ?? 0) > 0 }
  const { settings, notes } = makeSettings(job.settings, copy, conf, auto)
  await put('postgresql.auto.conf', mergeSettings(auto, settings))
  for (const name of ['recovery.signal', 'standby.signal']) await rm(join(folder, name), { force: true })
  await put(job.standby ? 'standby.signal' : 'recovery.signal', '')
  await chmod(folder, groupMayRead ? 0o750 : 0o700)

  await put(controlAside, job.control)
  await syncAll(
    [...[...writer.files.values()].flatMap((file) => file?.at ?? []), ...own, ...writer.folders, links],
    signal,
  )
  await rename(join(folder, controlAside), join(folder, controlPath))
  await syncFolder(join(folder, 'global'))
  return notes
}

async function syncAll(paths: Iterable<string>, signal: AbortSignal): Promise<void> {
  const synced = inOrder(paths, syncsAtOnce, async (path) => {
    signal.throwIfAborted()
    // Of a file that was removed again, nothing has to last.
    const file = await open(path, 'r').catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return null
      throw error
    })
    try {
      await file?.sync()
    } finally {
      await file?.close()
    }
  })
  for await (const _ of synced);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return ''
    throw error
  }
}
