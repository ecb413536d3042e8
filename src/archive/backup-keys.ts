/**
 * The keys of base backups, in WAL-G's layout, and of what walferry adds to it. A backup is named after the segment in
 * which it starts.
 *
 *     basebackups_005/base_000000010000000000000002/tar_partitions/part_001.tar.lz4      every object here is unpacked
 *     basebackups_005/base_000000010000000000000002/tar_partitions/pg_control.tar.lz4    ... and this one last
 *     basebackups_005/base_000000010000000000000002/metadata.json
 *     basebackups_005/base_000000010000000000000002_backup_stop_sentinel.json            written last: then it is a backup
 *     walferry_001/backups/00000001-00000000-00000002/claim.json                         who writes, or wrote, under that name
 *     walferry_001/backups/00000001-00000000-00000002/backup_manifest.lz4                the server's manifest
 *     walferry_001/backups/00000001-00000000-00000002/deleting.json                      it is being deleted
 *
 * A backup that WAL-G took of what has changed since another one has "_D_" and the other's segment behind its own.
 */
import { type Codec, codecOfKey, extensionOf } from './codec-name.ts'
import { dashed, undashed } from './keys.ts'

export const backupFolder = 'basebackups_005/'
const noteFolder = 'walferry_001/backups/'
const sentinelEnd = '_backup_stop_sentinel.json'

export interface BackupName {
  /** `base_<24 HEX>`, or `base_<24 HEX>_D_<24 HEX>`. */
  readonly name: string
  /** The segment of its start LSN; the timeline is that of its first eight digits. */
  readonly segment: string
  /** Whether it holds only what has changed since another backup. */
  readonly isDelta: boolean
}

/** Example: `base_00000001000000000000002A`. */
export function backupName(segment: string): string {
  return `base_${segment}`
}

/** Null if it is no backup's name. */
export function parseBackupName(name: string): BackupName | null {
  const match = /^base_([0-9A-F]{24})(_D_[0-9A-F]{24})?$/.exec(name)
  return match === null ? null : { name, segment: match[1] ?? '', isDelta: match[2] !== undefined }
}

export function sentinelKey(name: string): string {
  return backupFolder + name + sentinelEnd
}

/** The backup's name, or null if the key is not that of a sentinel. */
export function parseSentinelKey(key: string): string | null {
  if (!key.startsWith(backupFolder) || !key.endsWith(sentinelEnd)) return null
  const name = key.slice(backupFolder.length, -sentinelEnd.length)
  return parseBackupName(name) === null ? null : name
}

/** Where all objects of a backup lie but its sentinel. Ends in a slash. */
export function objectsFolder(name: string): string {
  return `${backupFolder}${name}/`
}

export function metadataKey(name: string): string {
  return `${objectsFolder(name)}metadata.json`
}

/** Where a backup's tar files lie. Ends in a slash. */
export function partsFolder(name: string): string {
  return `${objectsFolder(name)}tar_partitions/`
}

/** Parts are counted from 1. */
export function partKey(name: string, part: number, codec: Codec): string {
  return `${partsFolder(name)}part_${String(part).padStart(3, '0')}.tar${extensionOf(codec)}`
}

export function controlKey(name: string, codec: Codec): string {
  return `${partsFolder(name)}pg_control.tar${extensionOf(codec)}`
}

/** What a key below `partsFolder` holds, or null if it is no tar file's. */
export function parsePartKey(key: string): { readonly isControl: boolean; readonly codec: Codec } | null {
  const match = /^basebackups_005\/[^/]+\/tar_partitions\/([A-Za-z0-9_.-]+)\.tar(?:\.[a-z0-9]+)?$/.exec(key)
  if (match === null) return null
  return { isControl: match[1] === 'pg_control', codec: codecOfKey(key) }
}

/** Where walferry's own notes of the backup lie that starts in `segment`. Ends in a slash. */
export function backupNotes(segment: string): string {
  return `${noteFolder}${dashed(segment)}/`
}

export function claimKey(segment: string): string {
  return `${backupNotes(segment)}claim.json`
}

/** A note that the backup is being deleted: what is left of it then is not one that is being written. */
export function deletingKey(segment: string): string {
  return `${backupNotes(segment)}deleting.json`
}

/** The segment of a claim's key, or null. */
export function parseClaimKey(key: string): string | null {
  const match = /^walferry_001\/backups\/([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})\/claim\.json$/.exec(key)
  return match === null ? null : undashed(match[1] ?? '')
}

/** What every claim's key begins with. */
export const claimPrefix = noteFolder

/** Without its extension: `Archive.findContent` finds it under any. */
export function manifestContent(segment: string): string {
  return `${backupNotes(segment)}backup_manifest`
}

export function manifestKey(segment: string, codec: Codec): string {
  return manifestContent(segment) + extensionOf(codec)
}
