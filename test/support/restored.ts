/** Brings a base backup back with the system's tar alone, as somebody would who has nothing else. */
import { execFile } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { Archive } from '../../src/archive/archive.ts'
import { parsePartKey, partsFolder } from '../../src/archive/backup-keys.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { deadline, type TestVersion } from './postgres.ts'

const run = promisify(execFile)
const largestPart = 2 ** 32

export interface Restoring {
  readonly version: TestVersion
  readonly store: ObjectStore
  readonly name: string
  /** A new folder, below which everything is put. */
  readonly folder: string
  /** Where the tablespaces go. They are put back under these paths, by number. */
  readonly tablespaces?: Readonly<Record<string, string>>
}

/** A cluster that can be started once it has a restore_command. To be discarded by the caller. */
export async function restoreByHand(restoring: Restoring): Promise<Cluster> {
  const { version, store, name, folder, tablespaces = {} } = restoring
  const cluster = await Cluster.open({ binaries: version.binaries, folder, tcp: true })
  const { dataFolder } = cluster
  await mkdir(join(dataFolder, 'pg_tblspc'), { recursive: true })
  await chmod(dataFolder, 0o700)
  for (const [oid, path] of Object.entries(tablespaces)) {
    await mkdir(path, { recursive: true })
    await symlink(path, join(dataFolder, 'pg_tblspc', oid))
  }
  const signal = deadline()
  const tars: string[] = []
  for await (const { key } of store.list({ prefix: partsFolder(name), signal })) tars.push(key)
  // The one of pg_control comes last.
  tars.sort((a, b) => Number(parsePartKey(a)?.isControl ?? false) - Number(parsePartKey(b)?.isControl ?? false))
  for (const key of tars) {
    const tar = join(folder, 'part.tar')
    await pipeline(
      await new Archive(store).readObject(key, { atMost: largestPart }, { signal }),
      createWriteStream(tar),
    )
    await run('tar', [
      '--extract',
      '--file',
      tar,
      '--directory',
      dataFolder,
      '--keep-directory-symlink',
      '--no-same-owner',
    ])
    await rm(tar)
  }
  if (Object.keys(tablespaces).length > 0) {
    const lines = Object.entries(tablespaces).map(([oid, path]) => `${oid} ${path}\n`)
    await readFile(join(dataFolder, 'tablespace_map'))
    await writeFile(join(dataFolder, 'tablespace_map'), lines.join(''))
  }
  return cluster
}
