/**
 * What goes wrong, what a receiver tells of it, and all the alerts that fire then. grafana/README.md shows it as a table,
 * which is held against this one.
 */
import { always, moving, receiver, type Series, turning, unreachable } from './receiver-series.ts'

export interface BadDay {
  /** As the README has it. */
  readonly failure: string
  /** null where there is no receiver that could tell of it. */
  readonly series: Series | null
  readonly after?: number
  readonly alerts: readonly string[]
}

/** Where the store is behind for longer, and something is written. */
const lossAlerts = ['WalferryLossAbove30s', 'WalferryLossAbove60s']
const lost = { walferry_connected: always(0), walferry_ready: always(0) }

function problem(code: string): Series {
  return { walferry_ready: always(0), [`walferry_problem{code="${code}"}`]: always(1) }
}

export const badDays: readonly BadDay[] = [
  {
    failure: 'the archive belongs to another cluster, or has another segment size',
    // It ends with 1 at its start.
    series: unreachable(0),
    alerts: ['WalferryReceiverAbsent'],
  },
  {
    failure: 'the store has other content under the same key: two clusters write to one prefix',
    series: receiver({
      ...problem('ARCHIVE_CONFLICT'),
      'walferry_conflicts_total{place="archive"}': always(1),
      walferry_loss_seconds: moving(0, 60),
    }),
    alerts: ['WalferryConflict', ...lossAlerts],
  },
  {
    failure: 'a file of the spool has a wrong size or a foreign header',
    series: receiver({ walferry_spool_set_aside_files: always(1) }),
    alerts: ['WalferrySpoolSetAside'],
  },
  {
    failure: 'the server has removed WAL before it was received',
    series: receiver({ ...problem('GAP_UNACKNOWLEDGED'), walferry_gaps: always(1), walferry_gaps_total: always(1) }),
    alerts: ['WalferryGap'],
  },
  {
    failure: 'the same with `--on-gap halt`',
    series: receiver({ ...lost, ...problem('WAL_REMOVED'), walferry_loss_seconds: moving(0, 60) }),
    alerts: ['WalferryWalRemoved', 'WalferryNotConnected', ...lossAlerts],
  },
  {
    failure: 'WAL is gone from the archive’s newest 64 segments, and the spool is past it',
    series: receiver({ ...problem('GAP_UNACKNOWLEDGED'), walferry_gaps: always(1), walferry_gaps_total: always(1) }),
    alerts: ['WalferryGap'],
  },
  {
    failure: 'the server has lost WAL that it had sent',
    series: receiver({ ...lost, ...problem('SERVER_LOST_WAL'), walferry_loss_seconds: moving(0, 60) }),
    alerts: ['WalferryConflict', 'WalferryNotConnected', ...lossAlerts],
  },
  {
    failure: 'the server streams other bytes than the spool has',
    series: receiver({
      ...lost,
      ...problem('SPOOL_CONFLICT'),
      'walferry_conflicts_total{place="spool"}': always(1),
      walferry_loss_seconds: moving(0, 60),
    }),
    alerts: ['WalferryConflict', 'WalferryNotConnected', ...lossAlerts],
  },
  {
    failure: 'another receiver has the slot',
    series: receiver({ ...lost, ...problem('SLOT_IN_USE') }),
    alerts: ['WalferrySlotInUse'],
  },
  {
    failure: "the spool's disk is full",
    series: receiver({
      ...lost,
      ...problem('SPOOL_FAILED'),
      walferry_spool_disk_free_bytes: always(0),
      walferry_loss_seconds: moving(0, 60),
    }),
    alerts: ['WalferrySpoolFailing', 'WalferryNotConnected', 'WalferrySpoolNearlyFull', ...lossAlerts],
  },
  {
    failure: 'a wrong password, or no replication privilege',
    series: receiver({ ...lost, ...problem('PG_REFUSED'), walferry_loss_seconds: null }),
    alerts: ['WalferryNotReady', 'WalferryNotConnected'],
  },
  {
    failure: 'no such bucket, or no permission',
    series: receiver({
      ...problem('STORE_FAILED'),
      'walferry_store_failures_total{code="STORE_FAILED"}': moving(1, 6),
      walferry_loss_seconds: moving(0, 60),
    }),
    alerts: ['WalferryStoreFailing', ...lossAlerts],
  },
  { failure: '`fetch` or `push` gets a malformed name or argument', series: null, alerts: [] },
  {
    failure: 'the server is away',
    series: receiver({ ...lost, ...problem('PG_CONNECTION_LOST'), walferry_loss_seconds: moving(0, 60) }),
    alerts: ['WalferryNotConnected', ...lossAlerts],
  },
  {
    failure: 'the connection breaks again and again',
    series: receiver({ 'walferry_reconnects_total{reason="PG_CONNECTION_LOST"}': moving(1, 1) }),
    after: 25,
    alerts: ['WalferryReconnects'],
  },
  {
    failure: 'a standby is promoted',
    series: receiver({ walferry_timeline: turning(5, 1, 2), walferry_timeline_switches_total: turning(5, 0, 1) }),
    alerts: [],
  },
  {
    failure: 'the old primary comes back',
    series: receiver({ ...lost, ...problem('SERVER_TIMELINE'), walferry_loss_seconds: moving(0, 60) }),
    alerts: ['WalferryNotReady', 'WalferryNotConnected', ...lossAlerts],
  },
  {
    failure: 'the slot is lost',
    series: receiver({
      ...problem('SLOT_LOST'),
      'walferry_slot_wal_status{status="reserved"}': always(0),
      'walferry_slot_wal_status{status="lost"}': always(1),
    }),
    alerts: ['WalferrySlotLost'],
  },
  {
    failure: 'the store is away',
    series: receiver({
      ...problem('STORE_UNREACHABLE'),
      'walferry_store_failures_total{code="STORE_UNREACHABLE"}': moving(1, 6),
      walferry_loss_seconds: moving(0, 60),
    }),
    alerts: ['WalferryStoreFailing', ...lossAlerts],
  },
  {
    failure: 'the receiver is killed, and nobody starts it again',
    series: unreachable(5),
    alerts: ['WalferryReceiverAbsent'],
  },
  {
    failure: 'the receiver is killed again and again',
    series: receiver({ process_start_time_seconds: moving(1_700_000_000, 60) }),
    alerts: ['WalferryRestarts'],
  },
  {
    failure: 'a base backup fails',
    series: receiver({ walferry_backup_failure_time_seconds: always(1_700_086_400) }),
    alerts: ['WalferryBackupFailed'],
  },
  {
    failure: 'WAL is missing behind the newest base backup, acknowledged or not noticed before',
    series: receiver({ walferry_restorable_time_seconds: always(60) }),
    after: 90,
    alerts: ['WalferryNotRestorable'],
  },
]
