/**
 * Every metric, once, as data. Prometheus conventions: base units, `_total` for counters, no label without a bound.
 * Positions are bytes since LSN 0, exact below 2^53.
 */

interface Entry {
  readonly type: 'gauge' | 'counter' | 'histogram'
  readonly help: string
  readonly labels?: readonly string[]
  readonly buckets?: readonly number[]
}

export const catalogue = {
  walferry_build_info: { type: 'gauge', help: 'Always 1; the version is a label.', labels: ['version'] },
  walferry_connected: { type: 'gauge', help: '1 while WAL is streamed from the server, else 0.' },
  walferry_timeline: { type: 'gauge', help: 'The timeline that is streamed; 0 before the first stream.' },
  walferry_reconnects_total: {
    type: 'counter',
    help: 'Streams that ended without our wish, and attempts that failed, by error code.',
    labels: ['reason'],
  },
  walferry_position_bytes: {
    type: 'gauge',
    help: "How far the WAL has come, as bytes since LSN 0: the server's own, then received, written, synced (durable in the spool) and shipped (durable in the store without a hole).",
    labels: ['position'],
  },
  walferry_lag_bytes: {
    type: 'gauge',
    help: 'WAL that has not passed a stage: receive (server to us), sync (received to durable in the spool), ship (spool to store).',
    labels: ['stage'],
  },
  walferry_lag_seconds: {
    type: 'gauge',
    help: "Age of the oldest byte that has not passed a stage, by the server's send times; 0 when all has.",
    labels: ['stage'],
  },
  walferry_restorable_time_seconds: {
    type: 'gauge',
    help: "Unix time, by the server's clock, of the newest moment to which the store alone can bring the database; 0 while unknown.",
  },
  walferry_gaps_total: {
    type: 'counter',
    help: 'Times that WAL was lost: the server had removed it before it was received, and nobody else has it.',
  },
  walferry_received_bytes_total: { type: 'counter', help: 'WAL received, repeated bytes after a reconnect included.' },
  walferry_fsync_duration_seconds: {
    type: 'histogram',
    help: 'Duration of each fdatasync of a spool file.',
    buckets: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  },
  walferry_spool_bytes: { type: 'gauge', help: 'Durable WAL that lies in the spool.' },
  walferry_spool_segments: {
    type: 'gauge',
    help: 'Segments in the spool whose end is not shipped yet, the open one included.',
  },
  walferry_shipped_objects_total: {
    type: 'counter',
    help: 'Objects that became durable in the store: whole segments, chunks of a tail, merged chunks, and history files.',
    labels: ['kind'],
  },
  walferry_shipped_bytes_total: {
    type: 'counter',
    help: 'WAL in those objects, before compression.',
    labels: ['kind'],
  },
  walferry_stored_bytes_total: { type: 'counter', help: 'Bytes of those objects as stored.', labels: ['kind'] },
  walferry_upload_duration_seconds: {
    type: 'histogram',
    help: 'Duration of each upload that succeeded, reading and compression included.',
    labels: ['kind'],
    buckets: [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100],
  },
  walferry_uploads_in_flight: { type: 'gauge', help: 'Uploads under way.' },
  walferry_store_failures_total: {
    type: 'counter',
    help: 'Store operations that failed (most are tried again), by error code.',
    labels: ['code'],
  },
  walferry_backup_running: { type: 'gauge', help: '1 while a base backup of the schedule is taken, else 0.' },
  walferry_backup_success_time_seconds: {
    type: 'gauge',
    help: 'Unix time at which the newest base backup was completed, whoever took it before our start; 0 while unknown.',
  },
  walferry_backup_failure_time_seconds: {
    type: 'gauge',
    help: 'Unix time at which a base backup of the schedule last failed; 0 for never since our start.',
  },
  walferry_backup_failures_total: { type: 'counter', help: 'Base backups of the schedule that failed.' },
  walferry_backup_duration_seconds: {
    type: 'gauge',
    help: 'Duration of the last base backup of the schedule that was completed, the wait for its WAL included.',
  },
  walferry_backup_size_bytes: {
    type: 'gauge',
    help: 'Size of the last base backup of the schedule that was completed: plain, and as stored.',
    labels: ['kind'],
  },
} as const satisfies Record<string, Entry>

export type MetricName = keyof typeof catalogue
type OfType<T> = { [K in MetricName]: (typeof catalogue)[K]['type'] extends T ? K : never }[MetricName]
export type GaugeName = OfType<'gauge'>
export type CounterName = OfType<'counter'>
export type HistogramName = OfType<'histogram'>

export type Labels = Readonly<Record<string, string>>

/** What a room needs to tell numbers. A name says by its type which of the three it takes. */
export interface Metrics {
  set(name: GaugeName, value: number, labels?: Labels): void
  add(name: CounterName, value: number, labels?: Labels): void
  observe(name: HistogramName, value: number, labels?: Labels): void
}
