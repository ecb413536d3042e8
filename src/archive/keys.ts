/**
 * Every key of an archive, written and read. WAL-G's part lies below `wal_005/`, under the names that PostgreSQL gives
 * its files; walferry's own below `walferry_001/`.
 *
 *     wal_005/00000001000000000000002A.lz4                              a segment
 *     wal_005/00000002.history.lz4                                      a timeline's history
 *     wal_005/00000001000000000000002A.partial.lz4                      the last file of a timeline that was left
 *     wal_005/000000010000000000000028.00000028.backup.lz4              the note of a base backup
 *     walferry_001/identity.json                                        whose archive it is
 *     walferry_001/tail/00000001-00000000-0000002a/00000000-00045000.lz4   a chunk: bytes [0, 0x45000) of the segment
 *     walferry_001/gaps/00000001-000000002a000000-000000002c000000.json    WAL that was lost, from and to
 *     walferry_001/backlog/walferry.json                                a receiver (slot `walferry`) holds unshipped WAL
 *     walferry_001/check-0b8f6c1e-3d0f-4c3e-9a53-6f0f3c9d2b11           what `check` writes, and deletes again
 *     walferry_001/partial/00000001-00000000-0000002a-0123456789ab.lz4  a second, other .partial of that name
 *
 * What is encrypted has the same name as what is not. JSON never is.
 *
 * Two traps of `wal-g delete` and `wal-g wal-show` shape them: any `<24 HEX>.<one extension>` in `wal_005/` counts as a
 * segment, so nothing else may look like one; and any key below the whole prefix that holds 24 upper-case hexadecimal
 * digits in a row is deleted once they sort low enough. Decimal digits count, so walferry's names are cut by dashes.
 */
import { asLsn, type Lsn } from '../wal/lsn.ts'
import { historyName } from '../wal/segment.ts'
import { type Codec, extensionOf, parseExtension } from './codec-name.ts'
import type { Chunk } from './tail.ts'

export const walFolder = 'wal_005/'
export const identityKey = 'walferry_001/identity.json'
const tailRoot = 'walferry_001/tail/'
export const gapFolder = 'walferry_001/gaps/'
export const backlogFolder = 'walferry_001/backlog/'

/** A key to try a store with. `id` is a UUID. */
export function probeKey(id: string): string {
  return `walferry_001/check-${id}`
}

/** What lies below `wal_005/`. `segment` is a segment's name, 24 upper-case hexadecimal digits. */
export type WalObject =
  | { readonly kind: 'segment' | 'partial' | 'backup'; readonly segment: string; readonly codec: Codec }
  | { readonly kind: 'history'; readonly timeline: number; readonly codec: Codec }

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0')
}

function hex16(lsn: Lsn): string {
  return lsn.toString(16).padStart(16, '0')
}

/** "00000001000000000000002A" -> "00000001-00000000-0000002a" */
export function dashed(segment: string): string {
  return `${segment.slice(0, 8)}-${segment.slice(8, 16)}-${segment.slice(16)}`.toLowerCase()
}

export function undashed(name: string): string {
  return name.replaceAll('-', '').toUpperCase()
}

/** The key of a file of pg_wal: a segment, `.history`, `.partial` or `.backup`, by the name that PostgreSQL gives it. */
export function walKey(fileName: string, codec: Codec): string {
  return walFolder + fileName + extensionOf(codec)
}

export function segmentKey(segment: string, codec: Codec): string {
  return walKey(segment, codec)
}

export function historyKey(timeline: number, codec: Codec): string {
  return walKey(historyName(timeline), codec)
}

/** Always compressed: without an extension, `<24 HEX>.partial` would count as a segment. */
export function partialKey(segment: string, codec: Exclude<Codec, 'none'>): string {
  return walKey(`${segment}.partial`, codec)
}

/** Null if the key is not below `wal_005/`, or is not of WAL-G's form. */
export function parseWalKey(key: string): WalObject | null {
  const file = /^wal_005\/([0-9A-F]{24})(\.partial|\.[0-9A-F]{8}\.backup)?(\.[a-z0-9]*)?$/.exec(key)
  if (file !== null) {
    const codec = parseExtension(file[3] ?? '')
    if (codec === null) return null
    const kind = file[2] === undefined ? 'segment' : file[2] === '.partial' ? 'partial' : 'backup'
    return { kind, segment: file[1] ?? '', codec }
  }
  const history = /^wal_005\/([0-9A-F]{8})\.history(\.[a-z0-9]*)?$/.exec(key)
  const codec = parseExtension(history?.[2] ?? '')
  if (history === null || codec === null) return null
  return { kind: 'history', timeline: Number.parseInt(history[1] ?? '', 16), codec }
}

/**
 * The segment's name that a key begins with or lies under, whatever follows it: a segment of any extension, a
 * `.partial`, a `.backup`, a chunk. Null if there is none.
 */
export function segmentOfKey(key: string): string | null {
  const wal = /^wal_005\/([0-9A-F]{24})(?:\.|$)/.exec(key)
  if (wal !== null) return wal[1] ?? null
  const tail = /^walferry_001\/tail\/([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})\//.exec(key)
  return tail === null ? null : undashed(tail[1] ?? '')
}

/** Where a segment's chunks lie. Ends in a slash. */
export function tailFolder(segment: string): string {
  return `${tailRoot}${dashed(segment)}/`
}

/** What the keys of the chunks begin with that belong to segments whose names, or all but their last digit, are `beginning`. */
export function tailFolders(beginning: string): string {
  return beginning.length === 24 ? tailFolder(beginning) : tailRoot + dashed(beginning)
}

/**
 * Segments by what their names begin with: all but the last digit, so that few others begin like that; where there is
 * but one, all of its name.
 */
export function neighbours(segments: readonly string[]): Map<string, readonly string[]> {
  const groups = new Map<string, string[]>()
  for (const name of segments) {
    const beginning = name.slice(0, -1)
    groups.set(beginning, [...(groups.get(beginning) ?? []), name])
  }
  return new Map([...groups].map(([beginning, names]) => [names.length > 1 ? beginning : (names[0] ?? ''), names]))
}

/** What the keys of all chunks begin with; those of one timeline, where one is given. */
export function tailPrefix(timeline?: number): string {
  return timeline === undefined ? tailRoot : `${tailRoot}${hex8(timeline)}-`
}

/** The key of the bytes [start, end) of a segment. */
export function chunkKey(segment: string, start: number, end: number, codec: Codec): string {
  return `${tailFolder(segment)}${hex8(start)}-${hex8(end)}${extensionOf(codec)}`
}

/** Null if the key is no chunk's. Whether its range makes sense is for `planTail` to say. */
export function parseChunkKey(key: string): Chunk | null {
  const match =
    /^walferry_001\/tail\/([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})\/([0-9a-f]{8})-([0-9a-f]{8})(\.[a-z0-9]+)?$/.exec(key)
  const codec = parseExtension(match?.[4] ?? '')
  if (match === null || codec === null) return null
  return {
    key,
    segment: undashed(match[1] ?? ''),
    start: Number.parseInt(match[2] ?? '', 16),
    end: Number.parseInt(match[3] ?? '', 16),
    codec,
  }
}

export interface GapName {
  readonly timeline: number
  readonly from: Lsn
  readonly to: Lsn
}

export function gapKey(gap: GapName): string {
  return `${gapFolder}${hex8(gap.timeline)}-${hex16(gap.from)}-${hex16(gap.to)}.json`
}

export function parseGapKey(key: string): GapName | null {
  const match = /^walferry_001\/gaps\/([0-9a-f]{8})-([0-9a-f]{16})-([0-9a-f]{16})\.json$/.exec(key)
  if (match === null) return null
  return {
    timeline: Number.parseInt(match[1] ?? '', 16),
    from: asLsn(BigInt(`0x${match[2]}`)),
    to: asLsn(BigInt(`0x${match[3]}`)),
  }
}

/** A slot's name is made of `a-z0-9_`, so the dashes that cut a long row of digits can be taken out again. */
export function backlogKey(slot: string): string {
  return `${backlogFolder}${slot.replaceAll(/[0-9]{16}/g, '$&-')}.json`
}

/** The slot of a backlog note's key, or null. */
export function parseBacklogKey(key: string): string | null {
  const match = /^walferry_001\/backlog\/([a-z0-9_-]+)\.json$/.exec(key)
  return match === null ? null : (match[1] ?? '').replaceAll('-', '')
}

/** Where a `.partial` goes when its own key holds other content. `sha256` is that of the plain bytes, in hexadecimal. */
export function oddPartialKey(segment: string, sha256: string, codec: Codec): string {
  return `walferry_001/partial/${dashed(segment)}-${sha256.slice(0, 12).toLowerCase()}${extensionOf(codec)}`
}
