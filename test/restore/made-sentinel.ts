/** The sentinel and metadata of a base backup without any files: what is chosen by, and listed. */
import { formatMetadata, formatSentinel, type Sentinel } from '../../src/archive/sentinel.ts'
import { asLsn } from '../../src/wal/lsn.ts'
import { asTimestamp, dateOf, type Timestamp } from '../../src/wal/timestamp.ts'
import { type MadeArchive, nameOf } from './made-archive.ts'
import { segmentBytes } from './made-wal.ts'

export interface MadeBackup extends Partial<Omit<Sentinel, 'startLsn' | 'finishLsn' | 'finishTime'>> {
  readonly from: number
  readonly to: number
  /** In seconds since 2000. */
  readonly finished: number
  readonly timeline?: number
}

/** Returns its name. */
export function makeBackup({ store }: MadeArchive, made: MadeBackup): string {
  const { from, to, finished, timeline = 1, ...more } = made
  const sentinel: Sentinel = {
    startLsn: asLsn(from),
    finishLsn: asLsn(to),
    stopTimeline: null,
    serverVersion: 180_004,
    systemIdentifier: null,
    plainBytes: 5000,
    storedBytes: 3000,
    startTime: dateOf(seconds(finished - 1)),
    finishTime: dateOf(seconds(finished)),
    host: 'db.example',
    dataFolder: '/data',
    isPermanent: false,
    label: null,
    tablespaces: [],
    deltaFrom: null,
    ...more,
  }
  const base = `base_${nameOf(timeline, Math.floor(from / segmentBytes))}`
  const name = sentinel.deltaFrom === null ? base : `${base}_D_${sentinel.deltaFrom.slice(5, 29)}`
  store.set(`basebackups_005/${name}/metadata.json`, Buffer.from(formatMetadata(sentinel)))
  // walferry writes none of those that need another one.
  const delta = sentinel.deltaFrom === null ? '' : `"DeltaFrom":"${sentinel.deltaFrom}",`
  const text = formatSentinel(sentinel).replace('{', `{${delta}`)
  store.set(`basebackups_005/${name}_backup_stop_sentinel.json`, Buffer.from(text))
  return name
}

/** A moment so many seconds after 2000 began. */
export function seconds(count: number): Timestamp {
  return asTimestamp(Math.round(count * 1_000_000))
}
