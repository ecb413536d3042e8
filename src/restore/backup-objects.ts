/**
 * What the archive holds of a base backup, looked at before anything is written: its parts, the server's manifest, and
 * whether its two JSON objects agree, which have no checksums of their own.
 */
import { parse, parseNumberAndBigInt } from 'lossless-json'
import type { Archive } from '../archive/archive.ts'
import {
  claimKey,
  manifestContent,
  metadataKey,
  parsePartKey,
  partsFolder,
  sentinelKey,
} from '../archive/backup-keys.ts'
import { type BackupManifest, parseManifest } from '../archive/backup-manifest.ts'
import type { Backup } from '../archive/backups.ts'
import { damaged } from '../archive/damaged.ts'
import { WalferryError } from '../kit/errors.ts'
import type { CallOptions, ObjectInfo } from '../store/object-store.ts'
import { formatLsn } from '../wal/lsn.ts'

export interface BackupObjects {
  /** Tar files, to be unpacked in any order. */
  readonly parts: readonly ObjectInfo[]
  /** The one that is unpacked last. */
  readonly control: ObjectInfo
  /** Null for a backup of WAL-G, which keeps none. */
  readonly manifest: StoredManifest | null
}

export interface StoredManifest {
  readonly key: string
  readonly content: Uint8Array
  readonly list: BackupManifest
}

const mostManifestBytes = 1024 ** 3 // about six million files
const mostJsonBytes = 1024 ** 2

/** The sentinel's fields, and what metadata.json calls the same. */
const twice: Readonly<Record<string, string>> = {
  LSN: 'start_lsn',
  FinishLSN: 'finish_lsn',
  PgVersion: 'pg_version',
  SystemIdentifier: 'system_identifier',
  UncompressedSize: 'uncompressed_size',
  CompressedSize: 'compressed_size',
  StartTime: 'start_time',
  FinishTime: 'finish_time',
  DateFmt: 'date_fmt',
  Hostname: 'hostname',
  DataDir: 'data_dir',
  UserData: 'user_data',
}

/** Throws ARCHIVE_DAMAGED if something is missing or does not fit; BAD_INPUT for a delta backup of WAL-G. */
export async function findObjects(archive: Archive, backup: Backup, options: CallOptions): Promise<BackupObjects> {
  refuseDelta(backup)
  const manifest = await readManifest(archive, backup, options)
  await refuseContradiction(archive, backup, manifest !== null, options)
  return { ...(await listParts(archive, backup, options)), manifest }
}

function refuseDelta({ name, deltaFrom }: Backup): void {
  if (deltaFrom === null && !name.includes('_D_')) return
  const message = `${name} holds only what has changed since ${deltaFrom ?? 'another backup'}`
  throw new WalferryError('BAD_INPUT', message, {
    hint: `WAL-G can put the two together: wal-g backup-fetch DIR ${name}. Or restore a full one: --backup NAME.`,
    fields: { backup: name },
  })
}

/** Old versions of WAL-G wrote no metadata.json, or fewer fields into one of the two. We write all of them into both. */
async function refuseContradiction(
  archive: Archive,
  backup: Backup,
  isOurs: boolean,
  options: CallOptions,
): Promise<void> {
  const [ofSentinel, ofMetadata] = [sentinelKey(backup.name), metadataKey(backup.name)]
  if ((await archive.store.head(ofMetadata, options)) === null) return
  const sentinel = await readJson(archive, ofSentinel, options)
  const metadata = await readJson(archive, ofMetadata, options)
  for (const [name, other] of Object.entries(twice)) {
    const [one, two] = [sentinel[name], metadata[other]].map((value) => JSON.stringify(value ?? null, textOfBig))
    if (one === two || (!isOurs && (one === 'null' || two === 'null'))) continue
    throw damaged(ofSentinel, `and ${ofMetadata} contradict each other: ${name} is not ${other}`)
  }
}

async function readJson(
  archive: Archive,
  key: string,
  options: CallOptions,
): Promise<Readonly<Record<string, unknown>>> {
  // As it lies there: JSON is neither compressed nor encrypted.
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of await archive.store.get(key, options)) {
    bytes += piece.length
    if (bytes > mostJsonBytes) throw damaged(key, `holds more than ${mostJsonBytes} bytes`)
    pieces.push(piece)
  }
  let value: unknown
  try {
    value = parse(Buffer.concat(pieces).toString('utf8'), null, parseNumberAndBigInt)
  } catch (error) {
    throw damaged(key, 'is no JSON', error)
  }
  if (typeof value !== 'object' || value === null) throw damaged(key, 'is no JSON object')
  return Object.fromEntries(Object.entries(value))
}

function textOfBig(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

/** Every object in the folder holds a part. */
async function listParts(archive: Archive, { name, storedBytes }: Backup, { signal }: CallOptions) {
  const parts: ObjectInfo[] = []
  const controls: ObjectInfo[] = []
  for await (const info of archive.store.list({ prefix: partsFolder(name), signal })) {
    const parsed = parsePartKey(info.key)
    if (parsed === null) throw damaged(info.key, 'lies among the parts of a backup, and its name is not that of a part')
    ;(parsed.isControl ? controls : parts).push(info)
  }
  const [control, another] = controls
  if (control === undefined) throw damaged(`${partsFolder(name)}pg_control.tar`, 'is not there')
  if (another !== undefined) throw damaged(another.key, 'is there under another extension, too')
  // Nothing else would tell of a part that is gone where there is no manifest.
  const there = [...parts, control].reduce((sum, info) => sum + info.bytes, 0)
  if (there < storedBytes) {
    throw damaged(partsFolder(name), `holds ${there} bytes, and the sentinel says ${storedBytes}: something is missing`)
  }
  return { parts, control }
}

async function readManifest(archive: Archive, backup: Backup, options: CallOptions): Promise<StoredManifest | null> {
  const [found] = await archive.findContent(manifestContent(backup.segment), options)
  if (found === undefined) {
    if ((await archive.store.head(claimKey(backup.segment), options)) === null) return null
    throw damaged(manifestContent(backup.segment), 'is not there, and the backup was taken with one')
  }
  const content = await archive.readSmall(found.key, mostManifestBytes, options)
  const list = parseManifest(found.key, content)
  const range = list.walRanges.find(({ timeline }) => timeline === backup.timeline)
  if (range?.start !== backup.startLsn) {
    throw damaged(found.key, `is that of another backup: it does not begin at ${formatLsn(backup.startLsn)}`)
  }
  return { key: found.key, content, list }
}
