/**
 * The two JSON objects of a base backup, with WAL-G's fields (internal/databases/postgres/backup_sentinel_dto.go): the
 * sentinel, whose presence makes the backup one, and the metadata, which `wal-g backup-list --detail` reads.
 *
 *     {"LSN":33554472,"FinishLSN":33554688,"PgVersion":150018,"SystemIdentifier":7710202200355448818,
 *      "UncompressedSize":23580160,"CompressedSize":1241923,"FilesMetadataDisabled":true,"Version":2,
 *      "StartTime":"2026-11-20T10:42:23.478Z","FinishTime":"2026-11-20T10:42:23.574Z","DateFmt":"%Y-%m-%dT%H:%M:%S.%fZ",
 *      "Hostname":"db1","DataDir":"/var/lib/postgresql/15/main","IsPermanent":false,"UserData":"before the migration",
 *      "Spec":{"base_prefix":"/var/lib/postgresql/15/main","tablespaces":["16384"],
 *              "16384":{"loc":"/mnt/fast","link":"pg_tblspc/16384"}}}
 *
 * LSNs and system identifiers are JSON numbers above 2^53: they are read and written exactly. `FilesMetadataDisabled`
 * tells WAL-G not to look for files_metadata.json. The label is `UserData`, by which WAL-G can choose a backup. One
 * field is ours: `StopTimeline`, where it is not the one that the name begins with.
 */
import { parse, parseNumberAndBigInt, stringify } from 'lossless-json'
import * as v from 'valibot'
import { asLsn, type Lsn } from '../wal/lsn.ts'
import { damaged } from './damaged.ts'

export interface Tablespace {
  readonly oid: string
  /** Where it lay on the server: an absolute path, by what the store says. */
  readonly location: string
}

export interface Sentinel {
  readonly startLsn: Lsn
  readonly finishLsn: Lsn
  /** The timeline of `finishLsn`, where it is known not to be that of the backup's name. */
  readonly stopTimeline: number | null
  /** As server_version_num, 150018. */
  readonly serverVersion: number
  /** Null in a sentinel of an old WAL-G. */
  readonly systemIdentifier: bigint | null
  /** Bytes of the tar files, and of the objects that hold them. */
  readonly plainBytes: number
  readonly storedBytes: number
  /** Null in a sentinel of an old WAL-G. */
  readonly startTime: Date | null
  readonly finishTime: Date | null
  readonly host: string
  /** The server's data directory. */
  readonly dataFolder: string
  readonly isPermanent: boolean
  /** The label; what else WAL-G's users have put there, as JSON. */
  readonly label: string | null
  readonly tablespaces: readonly Tablespace[]
  /** The backup that this one needs, for one that holds only what has changed since. */
  readonly deltaFrom: string | null
}

const dateFormat = '%Y-%m-%dT%H:%M:%S.%fZ'

const unsigned64 = v.pipe(v.bigint(), v.minValue(0n), v.maxValue(0xffff_ffff_ffff_ffffn))
const bytes = v.pipe(v.bigint(), v.minValue(0n), v.maxValue(BigInt(Number.MAX_SAFE_INTEGER)), v.transform(Number))
const time = v.pipe(
  v.string(),
  v.transform((text) => new Date(text)),
  v.check((date) => !Number.isNaN(date.getTime()), 'is no time'),
)
const oid = v.pipe(v.string(), v.regex(/^[1-9][0-9]{0,9}$/))

const sentinelSchema = v.object({
  LSN: unsigned64,
  FinishLSN: unsigned64,
  StopTimeline: v.optional(bytes),
  PgVersion: bytes,
  SystemIdentifier: v.nullish(unsigned64),
  UncompressedSize: v.nullish(bytes),
  CompressedSize: v.nullish(bytes),
  StartTime: v.nullish(time),
  FinishTime: v.nullish(time),
  Hostname: v.nullish(v.string()),
  DataDir: v.nullish(v.string()),
  IsPermanent: v.nullish(v.boolean()),
  UserData: v.optional(v.unknown()),
  Spec: v.nullish(v.looseObject({ tablespaces: v.nullish(v.array(oid)) })),
  DeltaFrom: v.nullish(v.string()),
})

const tablespaceSchema = v.object({ loc: v.string() })

/** Reads what lies under `key`. Throws ARCHIVE_DAMAGED. */
export function parseSentinel(key: string, content: Uint8Array): Sentinel {
  const read = v.safeParse(sentinelSchema, parseJson(key, content))
  if (!read.success) throw damaged(key, `cannot be read: ${v.summarize(read.issues).replaceAll('\n', ' ')}`)
  const from = read.output
  return {
    startLsn: asLsn(from.LSN),
    finishLsn: asLsn(from.FinishLSN),
    stopTimeline: from.StopTimeline ?? null,
    serverVersion: from.PgVersion,
    systemIdentifier: from.SystemIdentifier ?? null,
    plainBytes: from.UncompressedSize ?? 0,
    storedBytes: from.CompressedSize ?? 0,
    startTime: from.StartTime ?? null,
    finishTime: from.FinishTime ?? null,
    host: from.Hostname ?? '',
    dataFolder: from.DataDir ?? '',
    isPermanent: from.IsPermanent ?? false,
    label: labelOf(from.UserData),
    tablespaces: (from.Spec?.tablespaces ?? []).map((number) => tablespaceOf(key, number, from.Spec?.[number])),
    deltaFrom: from.DeltaFrom ?? null,
  }
}

function parseJson(key: string, content: Uint8Array): unknown {
  try {
    return parse(Buffer.from(content).toString('utf8'), null, parseNumberAndBigInt)
  } catch (error) {
    throw damaged(key, 'is no JSON', error)
  }
}

function labelOf(userData: unknown): string | null {
  if (userData === undefined || userData === null) return null
  return typeof userData === 'string' ? userData : (stringify(userData) ?? null)
}

function tablespaceOf(key: string, number: string, spec: unknown): Tablespace {
  const read = v.safeParse(tablespaceSchema, spec)
  if (!read.success) throw damaged(key, `does not say where tablespace ${number} lies`)
  return { oid: number, location: read.output.loc }
}

export function formatSentinel(sentinel: Sentinel): string {
  return json({
    LSN: sentinel.startLsn,
    FinishLSN: sentinel.finishLsn,
    StopTimeline: sentinel.stopTimeline ?? undefined,
    PgVersion: sentinel.serverVersion,
    SystemIdentifier: sentinel.systemIdentifier,
    UncompressedSize: sentinel.plainBytes,
    CompressedSize: sentinel.storedBytes,
    FilesMetadataDisabled: true,
    Version: 2,
    StartTime: sentinel.startTime?.toISOString() ?? null,
    FinishTime: sentinel.finishTime?.toISOString() ?? null,
    DateFmt: dateFormat,
    Hostname: sentinel.host,
    DataDir: sentinel.dataFolder,
    IsPermanent: sentinel.isPermanent,
    UserData: sentinel.label ?? undefined,
    Spec: sentinel.tablespaces.length === 0 ? undefined : specOf(sentinel),
  })
}

export function formatMetadata(sentinel: Sentinel): string {
  return json({
    start_time: sentinel.startTime?.toISOString() ?? null,
    finish_time: sentinel.finishTime?.toISOString() ?? null,
    date_fmt: dateFormat,
    hostname: sentinel.host,
    data_dir: sentinel.dataFolder,
    pg_version: sentinel.serverVersion,
    start_lsn: sentinel.startLsn,
    finish_lsn: sentinel.finishLsn,
    is_permanent: sentinel.isPermanent,
    system_identifier: sentinel.systemIdentifier,
    uncompressed_size: sentinel.plainBytes,
    compressed_size: sentinel.storedBytes,
    user_data: sentinel.label ?? undefined,
  })
}

function specOf({ dataFolder, tablespaces }: Sentinel): Record<string, unknown> {
  const places = tablespaces.map((one) => [one.oid, { loc: one.location, link: `pg_tblspc/${one.oid}` }] as const)
  return {
    base_prefix: dataFolder,
    tablespaces: tablespaces.map((one) => one.oid),
    ...Object.fromEntries(places),
  }
}

function json(value: Record<string, unknown>): string {
  const text = stringify(value)
  if (text === undefined) throw new Error('an object is always written')
  return text
}
