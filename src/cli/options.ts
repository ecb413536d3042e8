/**
 * The one option table: flags, environment variables, keys of the configuration file, help and meaning of every option
 * of every command.
 *
 * An option `ship-interval` is the flag `--ship-interval`, the variable `WALFERRY_SHIP_INTERVAL` and the key
 * `ship-interval`; flags win over variables, variables over the file. A boolean is named positively, and `--no-<name>`
 * switches it off. A bare number of a duration is seconds.
 */
import * as v from 'valibot'
import { parseBackupName } from '../archive/backup-keys.ts'
import type { WritableCodec } from '../archive/codec-name.ts'
import { keyTransforms } from '../archive/encryption/key.ts'
import { parseEncryption } from '../store/encryption.ts'
import { parseTablespaceMapping } from '../restore/tablespaces.ts'
import { parseLsn } from '../wal/lsn.ts'
import { parseTargetTime, parseTargetTimeline, parseXid } from './recovery-target.ts'
import {
  boolean,
  duration,
  parseBytes,
  parseCount,
  parsed,
  parseEndpoint,
  parseListen,
  parseRate,
  refusePassword,
  text,
} from './option-values.ts'
import { parseStore } from './store-url.ts'

export interface OptionEntry {
  readonly group:
    | 'Configuration'
    | 'PostgreSQL'
    | 'Replication slot'
    | 'Spool'
    | 'Store'
    | 'Backup'
    | 'Running'
    | 'Recovery'
    | 'Restore'
    | 'Archive'
    | 'Demo'
  readonly help: string
  readonly schema: v.GenericSchema<string, unknown>
  /** What the help writes in the value's place, its unit. Default: VALUE. */
  readonly value?: string
  /** As a person would write it; absent: the option may be left out, or is `required`. */
  readonly fallback?: string
  readonly required?: true
  /** One letter. */
  readonly alias?: string
  readonly longAlias?: string
  readonly boolean?: true
  /** One letter that means `--no-<name>`. */
  readonly offAlias?: string
  /** Variables of other programs that stand in where nothing else gives a value; the first that is set. */
  readonly standIns?: readonly string[]
  /** The flag may be given several times; its values come as lines of one text. */
  readonly repeatable?: true
  /** What people put here may hold a secret by mistake: errors do not repeat it. */
  readonly unspoken?: true
}

export const options = {
  config: {
    group: 'Configuration',
    help: 'Read options from a YAML or JSON file, one mapping with option names (without the dashes) as keys.',
    schema: text,
    value: 'FILE',
  },
  url: {
    group: 'PostgreSQL',
    help: "Server, as postgres://user@host:5432/?sslmode=verify-full (a:5432,b:5432 for several) or 'host=... user=...'; libpq's PG* variables fill it up. No password here: use PGPASSFILE.",
    schema: text,
    value: 'URL',
    alias: 'd',
    longAlias: 'dbname',
    unspoken: true,
  },
  host: {
    group: 'PostgreSQL',
    help: 'Host, address, or folder of the Unix socket, where the URL names none. Else PGHOST.',
    schema: text,
    value: 'HOST',
    alias: 'h',
  },
  port: {
    group: 'PostgreSQL',
    help: 'Port, where the URL names none. Else PGPORT.',
    schema: text,
    value: 'PORT',
    alias: 'p',
  },
  username: {
    group: 'PostgreSQL',
    help: 'Role, where the URL names none. Else PGUSER.',
    schema: text,
    value: 'ROLE',
    alias: 'U',
  },
  password: {
    group: 'PostgreSQL',
    help: '--no-password changes nothing: walferry never asks for one. It reads PGPASSFILE, ~/.pgpass or PGPASSWORD.',
    schema: parsed(
      refusePassword,
      'something that walferry takes: it never asks for a password, and reads it from PGPASSFILE or PGPASSWORD',
    ),
    boolean: true,
    offAlias: 'w',
    unspoken: true,
  },
  'status-interval': {
    group: 'PostgreSQL',
    help: 'How often to report to an idle server, and to ask it for a word; never less often than a third of its wal_sender_timeout.',
    schema: v.pipe(duration, v.minValue(100, 'at least 100ms')),
    value: 'DURATION',
    fallback: '10s',
    alias: 's',
  },
  synchronous: {
    group: 'PostgreSQL',
    help: 'Changes nothing: what arrives is always synced and reported at once.',
    schema: boolean,
    boolean: true,
  },
  loop: {
    group: 'PostgreSQL',
    help: 'Connect again after a lost connection; --no-loop (-n) ends then, with exit code 1.',
    schema: boolean,
    fallback: 'true',
    boolean: true,
    offAlias: 'n',
  },
  endpos: {
    group: 'PostgreSQL',
    help: 'Stop with exit code 0 once everything up to this LSN is shipped.',
    schema: parsed(parseLsn, 'a WAL position such as 16/B374D848'),
    value: 'LSN',
    alias: 'E',
  },
  ack: {
    group: 'PostgreSQL',
    help: 'What is acknowledged to the server as flushed: spool (durable here) or store (durable in the archive).',
    schema: v.picklist(['spool', 'store'], 'spool or store'),
    value: 'PLACE',
    fallback: 'spool',
  },
  'ack-store-timeout': {
    group: 'PostgreSQL',
    help: 'With --ack store: how long shipping may stand still before nothing is acknowledged, so that a server is not hung.',
    schema: v.pipe(duration, v.minValue(1000, 'at least 1s')),
    value: 'DURATION',
    fallback: '30s',
  },
  'on-gap': {
    group: 'PostgreSQL',
    help: 'When the server has removed WAL that nobody has received: continue behind it, with a note in the archive, or halt.',
    schema: v.picklist(['continue', 'halt'], 'continue or halt'),
    value: 'ANSWER',
    fallback: 'continue',
  },
  slot: {
    group: 'Replication slot',
    help: 'Replication slot; created where it is missing.',
    schema: v.pipe(v.string(), v.regex(/^[a-z0-9_]{1,63}$/, 'up to 63 of a-z, 0-9 and _')),
    value: 'NAME',
    fallback: 'walferry',
    alias: 'S',
  },
  'require-slot': {
    group: 'Replication slot',
    help: 'Never create the slot while receiving: it is an error if it is not there.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'create-slot': {
    group: 'Replication slot',
    help: 'Create the slot, which keeps WAL from then on, and exit.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'if-not-exists': {
    group: 'Replication slot',
    help: 'With --create-slot: a slot that is there is no error.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'drop-slot': {
    group: 'Replication slot',
    help: 'Drop the slot, and exit.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  spool: {
    group: 'Spool',
    help: 'Folder for WAL that is not shipped yet; created where it is missing. One receiver each.',
    schema: text,
    value: 'FOLDER',
    required: true,
    alias: 'D',
    longAlias: 'directory',
  },
  store: {
    group: 'Store',
    help: 'Archive: s3://bucket/prefix, file:///path or a folder, which must exist. Else WALG_S3_PREFIX or WALG_FILE_PREFIX.',
    schema: parsed(parseStore, 's3://bucket/prefix, file:///path or the path of a folder (with a colon: ./a:b)'),
    value: 'URL',
    required: true,
    standIns: ['WALG_S3_PREFIX', 'WALG_FILE_PREFIX'],
    unspoken: true,
  },
  's3-endpoint': {
    group: 'Store',
    help: 'URL of an S3 service that is not AWS, such as https://s3.example:9000. Else AWS_ENDPOINT.',
    schema: parsed(parseEndpoint, 'a URL that begins with https:// or http://, without user and password'),
    value: 'URL',
    standIns: ['AWS_ENDPOINT'],
    unspoken: true,
  },
  's3-region': { group: 'Store', help: "Region; else AWS_REGION or the profile's.", schema: text, value: 'NAME' },
  's3-path-style': {
    group: 'Store',
    help: 'Put the bucket into the path instead of the host name; on by itself where --s3-endpoint is given. Else AWS_S3_FORCE_PATH_STYLE.',
    schema: boolean,
    boolean: true,
    standIns: ['AWS_S3_FORCE_PATH_STYLE'],
  },
  's3-sse': {
    group: 'Store',
    help: 'Encryption by the S3 service: AES256, aws:kms, or aws:kms:KEY with the id or ARN of a key.',
    schema: parsed(parseEncryption, 'AES256, aws:kms or aws:kms:KEY'),
  },
  's3-storage-class': {
    group: 'Store',
    help: 'Storage class of new objects, such as STANDARD_IA; of those that can be read at once.',
    schema: v.pipe(v.string(), v.regex(/^[A-Z][A-Z0-9_-]*$/, 'a storage class such as STANDARD_IA')),
  },
  's3-ca-file': {
    group: 'Store',
    help: "Certificates, as PEM, that the S3 endpoint's must be signed by, instead of the usual ones.",
    schema: text,
  },
  'encryption-key-file': {
    group: 'Store',
    help: 'Encrypt what is stored, as WAL-G does with libsodium, with the key in this file. Else WALG_LIBSODIUM_KEY or WALG_LIBSODIUM_KEY_PATH.',
    schema: text,
    value: 'FILE',
  },
  'encryption-key-transform': {
    group: 'Store',
    help: 'How the key is written: hex, base64, or none for the characters themselves. Else WALG_LIBSODIUM_KEY_TRANSFORM.',
    schema: v.picklist(keyTransforms, 'hex, base64 or none'),
    standIns: ['WALG_LIBSODIUM_KEY_TRANSFORM'],
    unspoken: true,
  },
  'ship-interval': {
    group: 'Store',
    help: 'How long a synced byte may wait before it is shipped; 0 ships as soon as the previous upload is done.',
    schema: duration,
    value: 'DURATION',
    fallback: '1s',
  },
  compression: {
    group: 'Store',
    help: 'Of what is stored: lz4, zstd (from Node.js 22.15 on) or none. What is there already may have any.',
    schema: v.pipe(
      v.picklist(['lz4', 'zstd', 'none'], 'lz4, zstd or none'),
      v.transform((name): WritableCodec => (name === 'zstd' ? 'zst' : name)),
    ),
    fallback: 'lz4',
  },
  'upload-concurrency': {
    group: 'Store',
    help: 'Whole segments that are uploaded at once; of a base backup, pieces of 16 MiB, 8 at most.',
    schema: parsed(parseCount, 'a number from 1 to 64'),
    value: 'COUNT',
    fallback: '8',
  },
  'backup-schedule': {
    group: 'Backup',
    help: 'Take base backups by a crontab\'s five fields, in the local time zone: "0 3 * * *" is each night at three.',
    schema: v.pipe(v.string(), v.regex(/^\s*\S+(?:\s+\S+){4}\s*$/, 'five fields as in a crontab, such as "0 3 * * *"')),
    value: 'CRON',
  },
  'part-size': {
    group: 'Backup',
    help: 'Of the objects that the backup is cut into, at the boundaries of files, before compression.',
    schema: v.pipe(
      parsed(parseBytes, 'a size such as 512MiB or 1GiB'),
      v.minValue(2 ** 20, 'at least 1MiB'),
      v.maxValue(64 * 2 ** 30, 'at most 64GiB'),
    ),
    value: 'SIZE',
    fallback: '1GiB',
  },
  label: {
    group: 'Backup',
    help: 'What to remember the backup by: up to 1024 bytes.',
    schema: v.pipe(
      v.string(),
      v.regex(/^[^\p{Cc}]+$/u, 'a text without control characters'),
      v.check((label) => Buffer.byteLength(label) <= 1024, 'at most 1024 bytes long'),
    ),
    value: 'TEXT',
  },
  fast: {
    group: 'Backup',
    help: 'Let the server make its checkpoint at once.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  spread: {
    group: 'Backup',
    help: 'Let the server spread its checkpoint over minutes, as it does by itself. The opposite of --fast, and the default.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'max-rate': {
    group: 'Backup',
    help: 'The most that the server sends in a second: 32k to 1024M; a bare number is kB.',
    schema: parsed(parseRate, 'a rate from 32k to 1024M'),
    value: 'RATE',
    alias: 'r',
  },
  permanent: {
    group: 'Backup',
    help: 'Keep the backup for good: nothing deletes it, by its age or by hand, until --no-permanent takes that back.',
    schema: boolean,
    boolean: true,
  },
  'verify-checksums': {
    group: 'Backup',
    help: 'Let the server check the pages that it sends, where the cluster has checksums.',
    schema: boolean,
    fallback: 'true',
    boolean: true,
  },
  'with-wal': {
    group: 'Backup',
    help: 'Fetch the WAL of the backup, too: for an archive that no "walferry receive" ships into.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'wait-for-wal': {
    group: 'Backup',
    help: 'How long to wait, once all files are stored, until the archive has the WAL that they need.',
    schema: duration,
    value: 'DURATION',
    fallback: '5m',
  },
  'wait-whole': {
    group: 'Backup',
    help: 'Wait until the last segment, too, is in the archive as one object: WAL-G can restore the backup then.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'switch-wal': {
    group: 'Backup',
    help: 'For a backup from a standby: let the primary begin a new segment then. The primary is looked for among the hosts.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'drain-timeout': {
    group: 'Running',
    help: 'After the first SIGTERM or SIGINT: how long to go on shipping what is synced. A second signal ends at once.',
    schema: duration,
    value: 'DURATION',
    fallback: '30s',
  },
  listen: {
    group: 'Running',
    help: 'Address of the status page, /metrics, /healthz and /readyz; "off" for none.',
    schema: parsed(parseListen, 'HOST:PORT, or off'),
    value: 'HOST:PORT',
    fallback: '127.0.0.1:9868',
  },
  'listen-tls-cert': {
    group: 'Running',
    help: 'Serve these over TLS, with the certificate in this PEM file, and what leads from it to its authority. Read again when it changes. status trusts it, and no other.',
    schema: text,
    value: 'FILE',
  },
  'listen-tls-key': {
    group: 'Running',
    help: 'The key of that certificate, as PEM, without a passphrase.',
    schema: text,
    value: 'FILE',
  },
  'log-level': {
    group: 'Running',
    help: 'error, warn, info or debug.',
    schema: v.picklist(['error', 'warn', 'info', 'debug'], 'error, warn, info or debug'),
    value: 'LEVEL',
    fallback: 'info',
  },
  verbose: {
    group: 'Running',
    help: 'The same as --log-level debug.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
    alias: 'v',
  },
  'log-format': {
    group: 'Running',
    help: 'text, or json with one object a line.',
    schema: v.picklist(['text', 'json'], 'text or json'),
    value: 'FORMAT',
    fallback: 'text',
  },
  json: {
    group: 'Running',
    help: 'Tell the result as JSON.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  watch: {
    group: 'Running',
    help: 'Look again each second, until Ctrl-C.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'retry-for': {
    group: 'Recovery',
    help: 'How long to try again when the store cannot be reached, or a needed segment is missing. Default: 60s; for fetch with --standby 5s.',
    schema: duration,
    value: 'DURATION',
  },
  standby: {
    group: 'Recovery',
    help: 'The server is a standby. fetch tells outages and holes as "not there", because it asks again (default: whether standby.signal is there); restore makes one.',
    schema: boolean,
    boolean: true,
  },
  tail: {
    group: 'Recovery',
    help: 'Serve the tail of the newest segment, too; --no-tail leaves it out.',
    schema: boolean,
    fallback: 'true',
    boolean: true,
  },
  'end-at-hole': {
    group: 'Recovery',
    help: 'Take a hole for the end of the archive: give up all WAL behind it.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'ignore-backlog': {
    group: 'Recovery',
    help: 'End the recovery although a receiver still holds WAL that the archive has not.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  prefetch: {
    group: 'Recovery',
    help: 'How many segments to fetch ahead, in the background, at most 1 GiB of them; 0 for none.',
    schema: v.pipe(v.string(), v.regex(/^(?:[0-9]|[1-5][0-9]|6[0-4])$/, 'a number from 0 to 64'), v.transform(Number)),
    fallback: '8',
    value: 'COUNT',
  },
  'on-outage': {
    group: 'Recovery',
    help: 'What to answer when the store cannot be reached: fail (the server stops) or absent (as with --standby).',
    schema: v.picklist(['fail', 'absent'], 'fail or absent'),
    value: 'ANSWER',
  },
  backup: {
    group: 'Restore',
    help: 'Which base backup: its name, or LATEST. Default: the one that suits the target.',
    schema: v.pipe(
      v.string(),
      v.check(
        (name) => name === 'LATEST' || parseBackupName(name) !== null,
        'LATEST, or a name such as base_00000001000000000000002A',
      ),
    ),
    value: 'NAME',
  },
  target: {
    group: 'Restore',
    help: 'immediate: recover no further than the backup needs. Default, without any target: as far as the archive reaches.',
    schema: v.picklist(['immediate'], 'immediate'),
  },
  'target-time': {
    group: 'Restore',
    help: 'Recover up to this moment, in ISO 8601 with its zone: 2026-11-20T10:42:23.5Z, 2026-11-20 11:42+01.',
    schema: parsed(parseTargetTime, 'a time in ISO 8601 with its zone, such as 2026-11-20T10:42:23Z'),
    value: 'TIME',
  },
  'target-lsn': {
    group: 'Restore',
    help: 'Recover up to this WAL position.',
    schema: parsed(parseLsn, 'a WAL position such as 16/B374D848'),
    value: 'LSN',
  },
  'target-xid': {
    group: 'Restore',
    help: 'Recover up to the commit of this transaction.',
    schema: parsed(parseXid, 'the number of a transaction'),
    value: 'XID',
  },
  'target-name': {
    group: 'Restore',
    help: 'Recover up to this restore point (pg_create_restore_point).',
    schema: v.pipe(v.string(), v.regex(/^\P{Cc}{1,63}$/u, 'the name of a restore point, up to 63 characters')),
    value: 'NAME',
  },
  'target-inclusive': {
    group: 'Restore',
    help: 'What is exactly at the target is recovered; --no-target-inclusive stops before it.',
    schema: boolean,
    fallback: 'true',
    boolean: true,
  },
  'target-timeline': {
    group: 'Restore',
    help: 'Follow the WAL to this timeline: a number, or latest.',
    schema: parsed(parseTargetTimeline, 'latest, or the number of a timeline'),
    value: 'TIMELINE',
    fallback: 'latest',
  },
  'target-action': {
    group: 'Restore',
    help: 'What the server does at the target: pause (read-only, to look), promote, or shutdown.',
    schema: v.picklist(['pause', 'promote', 'shutdown'], 'pause, promote or shutdown'),
    value: 'ACTION',
    fallback: 'pause',
  },
  'tablespace-mapping': {
    group: 'Restore',
    help: 'Restore the tablespace that lay at OLD to NEW; once for each. A = in a path is written \\=.',
    schema: parsed(parseTablespaceMapping, 'OLD=NEW, two absolute paths'),
    value: 'OLD=NEW',
    repeatable: true,
  },
  'keep-archiving': {
    group: 'Restore',
    help: 'Leave archive_mode as it was: the restored server goes on archiving to where the original does.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'keep-settings': {
    group: 'Restore',
    help: 'Leave synchronous_standby_names, primary_slot_name and subscriptions as they were.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  force: {
    group: 'Restore',
    help: 'Replace what an interrupted restore has left in the folder.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  'download-concurrency': {
    group: 'Restore',
    help: 'Objects that are read and unpacked at once.',
    schema: parsed(parseCount, 'a number from 1 to 64'),
    value: 'COUNT',
    fallback: '4',
  },
  all: {
    group: 'Archive',
    help: 'All gaps that nobody has acknowledged.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
  },
  yes: {
    group: 'Archive',
    help: 'Do not ask.',
    schema: boolean,
    fallback: 'false',
    boolean: true,
    alias: 'y',
  },
  'pg-bin': {
    group: 'Demo',
    help: 'Folder with initdb and postgres; else those from npm, else an installed one.',
    schema: text,
    value: 'FOLDER',
  },
} as const satisfies Record<string, OptionEntry>

export type OptionName = keyof typeof options

type Output<N extends OptionName> = v.InferOutput<(typeof options)[N]['schema']>
type Optional<N extends OptionName> = (typeof options)[N] extends { fallback: string } | { required: true }
  ? never
  : undefined

/** The values of some options, by name. An option without default that was not given is undefined. */
export type Config<N extends OptionName> = Readonly<{ [K in N]: Output<K> | Optional<K> }>

/** `ship-interval` -> `WALFERRY_SHIP_INTERVAL`. */
export function variableOf(name: OptionName): string {
  return `WALFERRY_${name.toUpperCase().replaceAll('-', '_')}`
}

export function entryOf(name: OptionName): OptionEntry {
  return options[name]
}

/** Narrows a text that came from outside. */
export function isOptionName(text: string): text is OptionName {
  return Object.hasOwn(options, text)
}

export const optionNames: readonly OptionName[] = Object.keys(options).filter(isOptionName)
