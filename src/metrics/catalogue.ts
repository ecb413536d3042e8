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
  walferry_server_info: {
    type: 'gauge',
    help: 'Always 1, once a server was connected; its version (such as 18.1) is a label.',
    labels: ['version'],
  },
  walferry_ready: { type: 'gauge', help: '1 while WAL flows and nothing needs a hand (what /readyz says), else 0.' },
  walferry_problem: {
    type: 'gauge',
    help: '1 for each error code for which /readyz says that it is not ready; one that is over is 0.',
    labels: ['code'],
  },
  walferry_connected: { type: 'gauge', help: '1 while WAL is streamed from the server, else 0.' },
  walferry_timeline: { type: 'gauge', help: 'The timeline that is streamed; 0 before the first stream.' },
  walferry_timeline_switches_total: { type: 'counter', help: 'Times that the stream went on on another timeline.' },
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
    help: "Age of the oldest byte that has not passed a stage, by the server's send times; 0 when all has. Of WAL that lay in the spool at the start, the time since its file was last written to: a lower bound.",
    labels: ['stage'],
  },
  walferry_loss_seconds: {
    type: 'gauge',
    help: 'What would be lost if the server and the spool were gone now: the age of the oldest byte that is not in the store (of WAL that lay in the spool at the start, a lower bound: the time since its file was last written to); while no server is connected, the time since the moment that the stored WAL reaches. Where the server does not answer, the time since its last word. Of a receiver that waits for the slot (SLOT_IN_USE) it is no loss: the figure of the one that streams counts. Streamed from a standby, it is what the standby knows: cut off from its primary, it tells 0.',
  },
  walferry_restorable_time_seconds: {
    type: 'gauge',
    help: "Unix time, by the server's clock, of the newest moment to which the store alone can bring the database, with a base backup and all WAL behind it; 0 where there is none, absent while that is not known. Streamed from a standby, it is what the standby knows. A base backup that somebody has deleted counts until the archive is looked at again: while nothing is shipped, only the page looks.",
  },
  walferry_gaps: {
    type: 'gauge',
    help: 'Gaps of the archive that nobody has acknowledged: WAL that the server had removed before it was received, or that was missing in the archive when the receiver started behind it.',
  },
  walferry_gaps_total: {
    type: 'counter',
    help: 'Times that WAL was lost: the server had removed it before it was received, and nobody else has it; or it was missing in the archive when the receiver started behind it.',
  },
  walferry_conflicts_total: {
    type: 'counter',
    help: 'Times that other bytes came than those that are here: in the spool (the server streams another history), or in the archive (somebody else has written there).',
    labels: ['place'],
  },
  walferry_received_bytes_total: { type: 'counter', help: 'WAL received, repeated bytes after a reconnect included.' },
  walferry_synced_bytes_total: { type: 'counter', help: 'WAL that became durable in the spool.' },
  walferry_fsync_duration_seconds: {
    type: 'histogram',
    help: 'Duration of each fdatasync of a spool file; in a backlog several run at once.',
    buckets: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  },
  walferry_spool_bytes: { type: 'gauge', help: 'Durable WAL that lies in the spool.' },
  walferry_spool_disk_free_bytes: { type: 'gauge', help: "Room on the spool's disk that our user may still fill." },
  walferry_spool_disk_size_bytes: { type: 'gauge', help: "Size of the spool's disk." },
  walferry_spool_segments: {
    type: 'gauge',
    help: 'Segments in the spool whose end is not shipped yet, the open one included.',
  },
  walferry_spool_set_aside_files: {
    type: 'gauge',
    help: 'Files of the spool that cannot be its own (a wrong size, a foreign header): set aside, and never shipped; they lie there until somebody removes them.',
  },
  walferry_slot_wal_status: {
    type: 'gauge',
    help: "1 for what the server's pg_replication_slots says of our slot (reserved, extended, unreserved, lost, or missing), 0 for the others. Of a server that cannot be reached it is what it said last; absent where it refuses.",
    labels: ['status'],
  },
  walferry_slot_safe_bytes: {
    type: 'gauge',
    help: 'WAL that the server can still write before it may take WAL away from our slot; +Inf without a limit (max_slot_wal_keep_size = -1), as the server last said.',
  },
  walferry_slot_retained_bytes: {
    type: 'gauge',
    help: 'WAL that the server keeps for our slot, as it last said.',
  },
  walferry_slot_asked_time_seconds: {
    type: 'gauge',
    help: 'Unix time, by our clock, at which the server last said how our slot stands; absent where it refuses.',
  },
  walferry_uploads_total: {
    type: 'counter',
    help: 'Uploads to the store that ended: segment, tail (a chunk of the open segment), merged (chunks made one), history, backup (a part of a base backup). A failure is tried again.',
    labels: ['kind', 'result'],
  },
  walferry_shipped_bytes_total: {
    type: 'counter',
    help: 'WAL (or base backup) in the objects that became durable in the store, before compression.',
    labels: ['kind'],
  },
  walferry_stored_bytes_total: {
    type: 'counter',
    help: 'Bytes of those objects as stored, by kind of upload.',
    labels: ['kind'],
  },
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
  walferry_backup_age_seconds: {
    type: 'gauge',
    help: 'Time since the newest base backup was completed, by whomever; +Inf when the archive has none, absent while that is not known.',
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
  /** Nothing is told of it, under whatever labels, until it is set again. */
  clear(name: GaugeName): void
  add(name: CounterName, value: number, labels?: Labels): void
  observe(name: HistogramName, value: number, labels?: Labels): void
}

/** For a command whose numbers nobody asks for. */
export const noMetrics: Metrics = {
  set: () => undefined,
  clear: () => undefined,
  add: () => undefined,
  observe: () => undefined,
}
