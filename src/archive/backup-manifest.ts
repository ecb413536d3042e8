/**
 * The server's list of what a base backup holds (documentation, "Backup Manifest Format"): every file with its size and
 * a checksum, the WAL that the backup needs, and a checksum of the list itself.
 *
 *     { "PostgreSQL-Backup-Manifest-Version": 1,
 *     "Files": [
 *     { "Path": "backup_label", "Size": 205, "Last-Modified": "2026-11-20 10:42:23 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "2f1a6c1d" },
 *     { "Encoded-Path": "fffe", "Size": 0, "Last-Modified": "..." }
 *     ],
 *     "WAL-Ranges": [
 *     { "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }
 *     ],
 *     "Manifest-Checksum": "..."}
 *
 * The last line's checksum is the SHA-256 of all lines before it.
 */
import { createHash, type Hash } from 'node:crypto'
import { crc32c } from '@node-rs/crc32'
import * as v from 'valibot'
import { type Lsn, parseLsn } from '../wal/lsn.ts'
import { damaged } from './damaged.ts'

const algorithms = ['CRC32C', 'SHA224', 'SHA256', 'SHA384', 'SHA512'] as const
type Algorithm = (typeof algorithms)[number]

export interface ManifestFile {
  readonly bytes: number
  /** Null where the backup was taken without checksums. */
  readonly checksum: { readonly algorithm: Algorithm; readonly hex: string } | null
}

export interface WalRange {
  readonly timeline: number
  readonly start: Lsn
  readonly end: Lsn
}

export interface BackupManifest {
  /** By path below the data folder, `pg_tblspc/<oid>/...` in a tablespace. */
  readonly files: ReadonlyMap<string, ManifestFile>
  /** In the order of the server: the newest timeline first. */
  readonly walRanges: readonly WalRange[]
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const lsn = v.pipe(v.string(), v.regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/), v.transform(parseLsn))

const fileSchema = v.object({
  Path: v.optional(v.string()),
  'Encoded-Path': v.optional(v.pipe(v.string(), v.regex(/^(?:[0-9a-f]{2})+$/))),
  Size: count,
  'Checksum-Algorithm': v.optional(v.picklist(algorithms)),
  Checksum: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]+$/))),
})

const manifestSchema = v.object({
  'PostgreSQL-Backup-Manifest-Version': v.picklist([1, 2]),
  Files: v.array(fileSchema),
  'WAL-Ranges': v.array(v.object({ Timeline: count, 'Start-LSN': lsn, 'End-LSN': lsn })),
})

/** Reads the manifest that lies under `key`, and checks its own checksum. Throws ARCHIVE_DAMAGED. */
export function parseManifest(key: string, content: Uint8Array): BackupManifest {
  const text = Buffer.from(content).toString('utf8')
  const stated = /"Manifest-Checksum": "([0-9a-f]{64})"\}\n$/.exec(text)
  if (stated === null) throw damaged(key, 'does not end in a checksum')
  if (sumOfLines(Buffer.from(content)) !== stated[1]) throw damaged(key, 'has a wrong checksum')
  const read = v.safeParse(manifestSchema, parseJson(key, text))
  if (!read.success) throw damaged(key, `cannot be read: ${read.issues[0].message}`)
  const files = new Map(read.output.Files.map((file) => [pathOf(key, file), fileOf(key, file)]))
  if (files.size !== read.output.Files.length) throw damaged(key, 'names a file twice')
  const walRanges = read.output['WAL-Ranges'].map((range) => ({
    timeline: range.Timeline,
    start: range['Start-LSN'],
    end: range['End-LSN'],
  }))
  return { files, walRanges }
}

/** The manifest with another size and checksum for one of its files, for a file that is changed on purpose. */
export function withFile(content: Uint8Array, path: string, plain: Uint8Array): Buffer {
  const lines = Buffer.from(content).toString('utf8').split('\n')
  const at = lines.findIndex((line) => line.startsWith(`{ "Path": ${JSON.stringify(path)}, `))
  const line = lines[at]
  if (line === undefined) return Buffer.from(content)
  const algorithm = algorithms.find((one) => line.includes(`"Checksum-Algorithm": "${one}"`))
  const sum = new Checksum(algorithm ?? null)
  sum.add(plain)
  lines[at] = line
    .replace(/"Size": \d+/, `"Size": ${plain.length}`)
    .replace(/"Checksum": "[0-9a-f]*"/, `"Checksum": "${sum.hex()}"`)
  const changed = Buffer.from(lines.join('\n'))
  return Buffer.from(
    changed.toString('utf8').replace(/("Manifest-Checksum": ")[0-9a-f]{64}/, `$1${sumOfLines(changed)}`),
  )
}

/** A checksum that grows with the bytes of a file. */
export class Checksum {
  readonly #hash: Hash | null
  readonly #algorithm: Algorithm | null
  #crc = 0

  /** Null sums up nothing. */
  constructor(algorithm: Algorithm | null) {
    this.#algorithm = algorithm
    this.#hash = algorithm === null || algorithm === 'CRC32C' ? null : createHash(algorithm.toLowerCase())
  }

  add(bytes: Uint8Array): void {
    if (this.#algorithm === 'CRC32C') this.#crc = crc32c(bytes, this.#crc)
    else this.#hash?.update(bytes)
  }

  /** As the server writes it: a CRC-32C is the four bytes that it has in memory, the lowest one first. */
  hex(): string {
    if (this.#hash !== null) return this.#hash.digest('hex')
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(this.#crc)
    return this.#algorithm === null ? '' : bytes.toString('hex')
  }
}

/** SHA-256 of all lines but the last one. */
function sumOfLines(content: Buffer): string {
  const end = content.lastIndexOf('\n', content.length - 2)
  return createHash('sha256')
    .update(content.subarray(0, end + 1))
    .digest('hex')
}

function parseJson(key: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw damaged(key, 'is no JSON', error)
  }
}

type FileEntry = v.InferOutput<typeof fileSchema>

function pathOf(key: string, { Path, 'Encoded-Path': encoded }: FileEntry): string {
  const path = Path ?? (encoded === undefined ? undefined : Buffer.from(encoded, 'hex').toString('utf8'))
  if (path === undefined) throw damaged(key, 'names a file without its path')
  return path
}

function fileOf(key: string, file: FileEntry): ManifestFile {
  const { 'Checksum-Algorithm': algorithm, Checksum: hex } = file
  if ((algorithm === undefined) !== (hex === undefined)) throw damaged(key, 'has half a checksum')
  return { bytes: file.Size, checksum: algorithm === undefined || hex === undefined ? null : { algorithm, hex } }
}
