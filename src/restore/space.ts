/** Whether a backup fits on the disks that it goes to, as far as that can be told before anything is written. */
import { stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { BackupManifest } from '../archive/backup-manifest.ts'
import type { Tablespace } from '../archive/sentinel.ts'
import { WalferryError } from '../kit/errors.ts'

export interface Disk {
  /** Equal for folders on the same file system. */
  readonly device: number
  readonly freeBytes: number
}

/** What goes where. Several places: it is not known how it is spread over them. */
export interface Need {
  readonly places: readonly string[]
  readonly bytes: number
}

export interface Shortage {
  readonly places: readonly string[]
  readonly neededBytes: number
  readonly freeBytes: number
}

const blockBytes = 4096 // a file takes whole blocks

/** With a manifest, what each tablespace needs is known; else only the sum. */
export function needsOf(
  folder: string,
  tablespaces: readonly Tablespace[],
  manifest: BackupManifest | null,
  plainBytes: number,
): Need[] {
  const places = new Map(tablespaces.map(({ oid, location }) => [oid, location]))
  if (manifest === null) return [{ places: [folder, ...places.values()], bytes: plainBytes }]
  const needed = new Map<string, number>()
  for (const [path, { bytes }] of manifest.files) {
    const place = places.get(/^pg_tblspc\/(\d+)\//.exec(path)?.[1] ?? '') ?? folder
    needed.set(place, (needed.get(place) ?? 0) + Math.ceil(bytes / blockBytes) * blockBytes)
  }
  return [...needed].map(([place, bytes]) => ({ places: [place], bytes }))
}

/** The disks that are too small. A need of several places has all their disks for itself. */
export function shortages(needs: readonly Need[], disks: ReadonlyMap<string, Disk>): Shortage[] {
  const byDisks = new Map<string, { places: string[]; neededBytes: number; freeBytes: number }>()
  for (const { places, bytes } of needs) {
    const used = new Map(places.flatMap((place) => disks.get(place) ?? []).map((disk) => [disk.device, disk.freeBytes]))
    const freeBytes = [...used.values()].reduce((sum, one) => sum + one, 0)
    const key = [...used.keys()].toSorted((a, b) => a - b).join()
    const known = byDisks.get(key) ?? { places: [], neededBytes: 0, freeBytes }
    byDisks.set(key, { ...known, places: [...known.places, ...places], neededBytes: known.neededBytes + bytes })
  }
  return [...byDisks.values()].filter(({ neededBytes, freeBytes }) => neededBytes > freeBytes)
}

/** Throws BAD_INPUT with what is missing. The WAL that the recovery replays needs some more. */
export async function refuseNoSpace(needs: readonly Need[]): Promise<void> {
  const disks = new Map<string, Disk>()
  for (const place of needs.flatMap(({ places }) => places)) disks.set(place, await diskOf(place))
  const [short] = shortages(needs, disks)
  if (short === undefined) return
  const { places, neededBytes, freeBytes } = short
  throw new WalferryError(
    'BAD_INPUT',
    `the backup needs ${neededBytes} bytes in ${places.join(', ')}, and ${freeBytes} are free: ${neededBytes - freeBytes} are missing`,
    {
      hint: 'Make room, or name a folder on another disk; a tablespace goes elsewhere with --tablespace-mapping OLD=NEW.',
    },
  )
}

/** That of the folder, or of the nearest one above it that is there. */
async function diskOf(place: string): Promise<Disk> {
  const info = await stat(place).catch(() => null)
  if (info === null) return await diskOf(dirname(place))
  const { bavail, bsize } = await statfs(place)
  return { device: info.dev, freeBytes: bavail * bsize }
}
