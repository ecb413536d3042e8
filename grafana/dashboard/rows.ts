/** The rows below the four questions: what each picture shows, and from where on it is coloured. */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog'
import { MappingType, type Panel } from '@grafana/grafana-foundation-sdk/dashboard'
import { graph, heatmap, receiver, stat, states } from './panels.ts'
import { ofReceivers, rate, select, unlessWaiting } from './select.ts'

export interface Row {
  readonly title: string
  readonly panels: readonly Builder<Panel>[]
}

export function rows(): Row[] {
  return [loss, flow, holdUps, backups, process]
}

const hour = 3600

const loss: Row = {
  title: 'Loss: how far the store is behind the server',
  panels: [
    graph(
      {
        title: 'What would be lost',
        description: 'The age of the oldest WAL that is not in the store. The lines are the thresholds of the alerts.',
        unit: 's',
      },
      [{ expr: unlessWaiting(select('walferry_loss_seconds')) }],
      [
        [30, 'orange'],
        [60, 'red'],
      ],
    ),
    graph(
      {
        title: 'Lag by stage',
        description:
          'The age of the oldest byte that has not passed a stage: receive (server to receiver), sync (durable in the spool), ship (durable in the store).',
        unit: 's',
      },
      [{ expr: select('walferry_lag_seconds'), legend: `{{stage}} ${receiver}` }],
      [
        [30, 'orange'],
        [60, 'red'],
      ],
    ),
    graph(
      {
        title: 'Lag by stage, in bytes',
        description: 'WAL that has not passed a stage. What waits for the stage "ship" lies in the spool.',
        unit: 'bytes',
      },
      [{ expr: select('walferry_lag_bytes'), legend: `{{stage}} ${receiver}` }],
    ),
    graph(
      {
        title: 'Age of the restorable time',
        description:
          "How long ago the newest moment is to which the store can bring the database; no line where there is none. Measured against Prometheus' clock: a server whose clock differs shows by as much.",
        unit: 's',
      },
      [{ expr: unlessWaiting(`time() - (${select('walferry_restorable_time_seconds')} > 0)`) }],
      [
        [30, 'orange'],
        [60, 'red'],
      ],
    ),
    states(
      {
        title: 'Connected',
        description: 'Green while WAL is streamed from the server. Of a pair, one receiver waits for its turn.',
        unit: 'bool_yes_no',
      },
      [{ expr: `1 - ${select('walferry_connected')}` }],
      [[1, 'red']],
    ),
    graph(
      {
        title: 'Timeline',
        description: 'The timeline that is streamed. It grows when a standby is promoted.',
        unit: 'none',
      },
      [{ expr: `${select('walferry_timeline')} > 0` }],
    ),
  ],
}

const flow: Row = {
  title: 'Flow: how fast WAL moves',
  panels: [
    graph(
      {
        title: 'Throughput',
        description:
          'WAL received, made durable in the spool, and uploaded, before compression. What is uploaded as a tail is uploaded again with its whole segment.',
        unit: 'Bps',
      },
      [
        { expr: rate('walferry_received_bytes_total'), legend: `received ${receiver}` },
        { expr: rate('walferry_synced_bytes_total'), legend: `synced ${receiver}` },
        { expr: rate('walferry_shipped_bytes_total'), legend: `{{kind}} ${receiver}` },
      ],
    ),
    graph(
      {
        title: 'Compression',
        description: 'How many bytes of WAL, or of a base backup, one byte in the store stands for.',
        unit: 'none',
      },
      [
        {
          expr: `${rate('walferry_shipped_bytes_total')} / (${rate('walferry_stored_bytes_total')} > 0)`,
          legend: `{{kind}} ${receiver}`,
        },
      ],
    ),
    graph(
      {
        title: 'Uploads',
        description: 'Uploads that ended, by kind and result. A failure is tried again.',
        unit: 'ops',
      },
      [{ expr: rate('walferry_uploads_total'), legend: `{{kind}} {{result}} ${receiver}` }],
    ),
    heatmap(
      {
        title: 'Upload durations',
        description: 'How many uploads each second took how long, reading and compression included.',
        unit: 's',
      },
      { expr: `sum by (le) (${rate('walferry_upload_duration_seconds_bucket')})` },
    ),
    heatmap(
      {
        title: 'fsync durations',
        description:
          'How many syncs of the spool each second took how long. They set the latency of a commit that waits for walferry.',
        unit: 's',
      },
      { expr: `sum by (le) (${rate('walferry_fsync_duration_seconds_bucket')})` },
    ),
    graph(
      {
        title: 'Uploads in flight',
        description:
          'Uploads under way. All the time at --upload-concurrency: the store, or the way to it, is the limit.',
        unit: 'none',
      },
      [{ expr: select('walferry_uploads_in_flight') }],
    ),
  ],
}

const holdUps: Row = {
  title: 'Hold-ups: spool, slot, errors',
  panels: [
    states(
      {
        title: 'Problems',
        description:
          'Red while the receiver is not ready for that error code: /readyz has the words, and the next step.',
        unit: 'bool_yes_no',
      },
      [
        { expr: select('walferry_problem'), legend: `{{code}} ${receiver}` },
        { expr: `1 - ${select('walferry_ready')}`, legend: `not ready ${receiver}` },
      ],
      [[1, 'red']],
    ),
    graph(
      {
        title: 'Store failures',
        description: 'Store operations that failed, by error code. Most are tried again.',
        unit: 'ops',
      },
      [{ expr: rate('walferry_store_failures_total'), legend: `{{code}} ${receiver}` }],
      [[0.1, 'red']],
    ),
    graph(
      {
        title: 'Reconnects',
        description: 'Streams that ended without our wish, and attempts that failed, by error code, in each 5 minutes.',
        unit: 'none',
      },
      [{ expr: `increase(${select('walferry_reconnects_total')}[5m])`, legend: `{{reason}} ${receiver}` }],
    ),
    graph(
      { title: 'WAL in the spool', description: 'Durable WAL that lies in the spool, shipped or not.', unit: 'bytes' },
      [{ expr: select('walferry_spool_bytes') }],
    ),
    graph(
      {
        title: 'Segments that wait',
        description:
          'Segments in the spool whose end is not shipped yet, the open one included: 1 or 2 when all is well.',
        unit: 'none',
      },
      [{ expr: select('walferry_spool_segments') }],
      [[16, 'orange']],
    ),
    graph(
      {
        title: "Room on the spool's disk",
        description:
          'What is free now, and what will be in 4 hours at the pace of the last hour. At 0 receiving stops.',
        unit: 'bytes',
      },
      [
        { expr: select('walferry_spool_disk_free_bytes'), legend: `free ${receiver}` },
        {
          expr: `predict_linear(${select('walferry_spool_disk_free_bytes')}[1h], ${4 * hour})`,
          legend: `in 4 hours ${receiver}`,
        },
        { expr: select('walferry_spool_disk_size_bytes'), legend: `size ${receiver}` },
      ],
    ),
    graph(
      {
        title: 'WAL that the slot keeps',
        description:
          'What the server keeps for the slot, and how much it can still write before it may take WAL away; without a limit (max_slot_wal_keep_size = -1) there is no such line.',
        unit: 'bytes',
      },
      [
        { expr: select('walferry_slot_retained_bytes'), legend: `kept ${receiver}` },
        { expr: `${select('walferry_slot_safe_bytes')} < Inf`, legend: `safe ${receiver}` },
      ],
    ),
    states(
      {
        title: "The slot's state",
        description:
          'wal_status of pg_replication_slots. Red: unreserved (the next checkpoint may remove WAL), lost, or missing.',
        unit: 'none',
      },
      [
        {
          expr: `${select('walferry_slot_wal_status', 'status=~"reserved|extended"')} == 1`,
          legend: `{{status}} ${receiver}`,
        },
        {
          expr: `1 + (${select('walferry_slot_wal_status', 'status=~"unreserved|lost|missing"')} == 1)`,
          legend: `{{status}} ${receiver}`,
        },
      ],
      [[2, 'red']],
    ),
    stat(
      {
        title: 'Needs a look',
        description:
          'Gaps of the archive that nobody has acknowledged, conflicts since the start, and files that were set aside in the spool.',
        unit: 'none',
      },
      [
        { expr: select('walferry_gaps'), legend: `gaps ${receiver}` },
        { expr: `sum without (place) (${select('walferry_conflicts_total')})`, legend: `conflicts ${receiver}` },
        { expr: select('walferry_spool_set_aside_files'), legend: `set aside ${receiver}` },
      ],
      [[1, 'red']],
    )
      .height(8)
      .span(8),
  ],
}

const backups: Row = {
  title: 'Base backups',
  panels: [
    stat(
      {
        title: 'Age of the newest base backup',
        description: 'Whoever took it. A restore replays all WAL since then.',
        unit: 's',
      },
      [{ expr: select('walferry_backup_age_seconds') }],
      [
        [26 * hour, 'yellow'],
        [36 * hour, 'orange'],
      ],
    )
      .noValue('not known')
      // What has lasted for a century is +Inf.
      .mappings([
        {
          type: MappingType.RangeToText,
          options: { from: 36_525 * 24 * hour, to: null, result: { text: 'there is none', color: 'red' } },
        },
      ]),
    stat(
      {
        title: 'Failed base backups',
        description: 'Of the schedule, since the start of the receiver.',
        unit: 'none',
      },
      [{ expr: select('walferry_backup_failures_total') }],
      [[1, 'orange']],
    ),
    stat(
      {
        title: 'Base backup under way',
        description: 'Whether one of the schedule is being taken.',
        unit: 'bool_yes_no',
      },
      [{ expr: select('walferry_backup_running') }],
      [],
    ),
    stat(
      {
        title: 'Last failure of a base backup',
        description: 'When one of the schedule last failed, since the start of the receiver.',
        unit: 'dateTimeAsLocal',
      },
      [{ expr: `1000 * (${select('walferry_backup_failure_time_seconds')} > 0)` }],
      [[1, 'orange']],
    ).noValue('never'),
    graph(
      {
        title: 'Duration of base backups',
        description: 'Of the last one of the schedule that was completed, the wait for its WAL included.',
        unit: 's',
      },
      [{ expr: select('walferry_backup_duration_seconds') }],
    ).span(12),
    graph(
      {
        title: 'Size of base backups',
        description: 'Of the last one of the schedule that was completed: plain, and as stored.',
        unit: 'bytes',
      },
      [{ expr: select('walferry_backup_size_bytes'), legend: `{{kind}} ${receiver}` }],
    ).span(12),
  ],
}

const process: Row = {
  title: 'The process',
  panels: [
    graph({ title: 'Memory', description: 'Resident memory of the process.', unit: 'bytes' }, [
      { expr: ofReceivers('process_resident_memory_bytes') },
    ]),
    graph({ title: 'CPU', description: 'CPU time that the process uses; 100 % is one core.', unit: 'percentunit' }, [
      {
        expr: `rate(process_cpu_seconds_total{cluster=~"$cluster", instance=~"$instance"}[$__rate_interval]) and on (job, instance) ${select('walferry_build_info')}`,
      },
    ]),
    graph(
      {
        title: 'Event loop lag',
        description: 'How late the process gets to its work, in the slowest hundredth of cases.',
        unit: 's',
      },
      [{ expr: ofReceivers('nodejs_eventloop_lag_p99_seconds') }],
      [[1, 'red']],
    ),
  ],
}
