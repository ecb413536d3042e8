/**
 * For each alert: when it fires, with what it says then, and when it does not although little is missing.
 * What a receiver tells on a bad day, and all the alerts that come of it, are in bad-days.ts.
 */
import {
  always,
  here,
  infinite,
  moving,
  partner,
  receiver,
  type Series,
  turning,
  unreachable,
} from './receiver-series.ts'

export interface Firing {
  readonly when: string
  readonly series: Series
  /** Minutes after the first sample. */
  readonly after: number
  /** The labels beside its own name and severity; default: those of the receiver. */
  readonly labels?: Readonly<Record<string, string>>
  readonly summary: string
  readonly description: string
}

export interface Quiet {
  readonly when: string
  readonly series: Series
  readonly after: number
  /** Those that fire instead. */
  readonly others?: readonly string[]
}

export interface AlertCase {
  readonly fires: Firing
  readonly doesNot: Quiet
}

const gigabyte = 1024 ** 3
const waiting = {
  walferry_connected: always(0),
  'walferry_problem{code="SLOT_IN_USE"}': always(1),
  walferry_ready: always(0),
}
const behind = { walferry_loss_seconds: always(45), 'walferry_lag_seconds{stage="ship"}': always(45) }
const labels: Readonly<Record<string, string>> = { ...here }

export const alertCases: Readonly<Record<string, AlertCase>> = {
  WalferryReceiverAbsent: {
    fires: {
      when: 'the only receiver of a cluster has died, and another cluster has its own',
      series: { ...unreachable(5), ...receiver({}, { ...here, instance: 'c:9868', cluster: 'other' }) },
      after: 8,
      labels: { job: 'walferry', cluster: 'main' },
      summary: 'No receiver of main answers',
      description:
        'Prometheus reaches none of its receivers. Nobody may be capturing WAL: the slot keeps it on the server.',
    },
    doesNot: {
      when: 'one of a pair has died',
      series: { ...unreachable(5), ...receiver({}, partner) },
      after: 8,
    },
  },
  WalferryReceiverDown: {
    fires: {
      when: 'one of a pair has died',
      series: { ...unreachable(5, partner), ...receiver() },
      after: 11,
      labels: { ...partner },
      summary: 'The receiver b:9868 does not answer, another one does',
      description: 'Prometheus has not reached it for 5 minutes. If the other receiver fails, nobody takes over.',
    },
    doesNot: {
      when: 'one of a pair is being restarted',
      series: { ...unreachable(5, partner), ...receiver() },
      after: 8,
    },
  },
  WalferryRestarts: {
    fires: {
      when: 'it starts each minute',
      series: receiver({ process_start_time_seconds: '1000x2 1060x2 1120x2 1180x20' }),
      after: 5,
      summary: 'The receiver a:9868 starts again and again',
      description: 'It has started 3 times within 15 minutes.',
    },
    doesNot: {
      when: 'it was updated, and its configuration changed',
      series: receiver({ process_start_time_seconds: '1000x5 1300x5 1600x5' }),
      after: 8,
    },
  },
  WalferryNotConnected: {
    fires: {
      when: 'the server is away',
      series: receiver({
        walferry_connected: turning(5, 1, 0),
        'walferry_problem{code="PG_CONNECTION_LOST"}': turning(5, 0, 1),
      }),
      after: 7,
      summary: 'The receiver a:9868 gets no WAL from its server',
      description: 'Reason: PG_CONNECTION_LOST (for a minute or more). The slot keeps the WAL on the server.',
    },
    doesNot: {
      when: 'it waits for the slot, from which its partner streams',
      series: { ...receiver(), ...receiver(waiting, partner) },
      after: 15,
    },
  },
  WalferryReconnects: {
    fires: {
      when: 'the server ends the connection each minute',
      series: receiver({ 'walferry_reconnects_total{reason="PG_CONNECTION_LOST"}': moving(1, 1) }),
      after: 25,
      summary: 'The connection of a:9868 to its server breaks again and again',
      description: 'It broke about 15 times within 15 minutes.',
    },
    doesNot: {
      when: 'the server was away for 20 minutes',
      series: receiver({
        'walferry_reconnects_total{reason="PG_CONNECTION_LOST"}': '1x10 1+6x40 241x200',
        walferry_connected: '1x10 0x40 1x200',
      }),
      after: 39,
    },
  },
  WalferrySlotInUse: {
    fires: {
      when: 'another program streams from the slot',
      series: receiver(waiting),
      after: 3,
      labels: { ...labels, code: 'SLOT_IN_USE' },
      summary: 'A stranger streams from the slot of a:9868',
      description:
        'The server says that another receiver uses the slot (SLOT_IN_USE), and none that is known here is connected.',
    },
    doesNot: {
      when: 'the partner streams, and no label tells the cluster',
      series: {
        ...receiver({}, { job: 'walferry', instance: 'a:9868' }),
        ...receiver(waiting, { job: 'walferry', instance: 'b:9868' }),
      },
      after: 15,
    },
  },
  WalferryLossAbove30s: {
    fires: {
      when: 'shipping is 45 s behind',
      series: receiver(behind),
      after: 1,
      summary: 'a:9868: 45s would be lost now',
      description: 'The oldest WAL that is not in the store is 45s old. Lag by stage: receive 0s ship 45s sync 0s ',
    },
    doesNot: {
      when: 'the partner that waits has nothing to compare with since its last turn',
      series: { ...receiver(), ...receiver({ ...waiting, walferry_loss_seconds: moving(0, 60) }, partner) },
      after: 15,
    },
  },
  WalferryLossAbove60s: {
    fires: {
      when: 'shipping is 90 s behind',
      series: receiver({ walferry_loss_seconds: always(90), 'walferry_lag_seconds{stage="ship"}': always(90) }),
      after: 1,
      summary: 'a:9868: 1m 30s would be lost now',
      description:
        'The oldest WAL that is not in the store is 1m 30s old. Lag by stage: receive 0s ship 1m 30s sync 0s ',
    },
    doesNot: {
      when: 'shipping is 45 s behind',
      series: receiver(behind),
      after: 15,
      others: ['WalferryLossAbove30s'],
    },
  },
  WalferrySlotNearLimit: {
    fires: {
      when: '8 of 10 GB were used up when the server could last be asked',
      series: receiver({
        walferry_slot_safe_bytes: always(2 * gigabyte),
        walferry_slot_retained_bytes: always(8 * gigabyte),
        walferry_slot_asked_time_seconds: always(60),
      }),
      after: 6,
      summary: 'The slot of a:9868 is near its limit',
      description:
        '20% of max_slot_wal_keep_size is left. Behind it the server removes WAL that was not received. As last seen 5m 0s ago.',
    },
    doesNot: {
      when: 'there is no limit',
      series: receiver({ walferry_slot_safe_bytes: infinite, walferry_slot_retained_bytes: always(8 * gigabyte) }),
      after: 15,
    },
  },
  WalferrySlotLost: {
    fires: {
      when: 'the limit was passed',
      series: receiver({ 'walferry_slot_wal_status{status="lost"}': turning(5, 0, 1) }),
      after: 7,
      labels: { ...labels, status: 'lost' },
      summary: 'The slot of a:9868 keeps no WAL (lost)',
      description:
        'unreserved: the next checkpoint may remove WAL that was not received. lost: it has. missing: there is no such slot.',
    },
    doesNot: {
      when: 'the slot keeps more than max_wal_size',
      series: receiver({
        'walferry_slot_wal_status{status="reserved"}': always(0),
        'walferry_slot_wal_status{status="extended"}': always(1),
      }),
      after: 15,
    },
  },
  WalferrySlotRetainsMuch: {
    fires: {
      when: 'nothing limits the slot, and it keeps 20 GB',
      series: receiver({
        walferry_slot_safe_bytes: infinite,
        walferry_slot_retained_bytes: always(20 * gigabyte),
      }),
      after: 6,
      summary: 'The server of a:9868 keeps 20GiB of WAL for the slot',
      description: 'Nothing limits it (max_slot_wal_keep_size = -1): in the end the disk of the server is full.',
    },
    doesNot: {
      when: 'a limit of 100 GB is far away',
      series: receiver({
        walferry_slot_safe_bytes: always(80 * gigabyte),
        walferry_slot_retained_bytes: always(20 * gigabyte),
      }),
      after: 15,
    },
  },
  WalferryStoreFailing: {
    fires: {
      when: 'the store refuses',
      series: receiver({
        'walferry_problem{code="STORE_DENIED"}': '_x9 1x100',
        // The first failure makes the series.
        'walferry_store_failures_total{code="STORE_DENIED"}': '_x9 1x100',
      }),
      after: 7,
      summary: 'The store of a:9868 fails',
      description: 'Failures since the start: STORE_DENIED 1 STORE_UNREACHABLE 3 . WAL gathers in the spool.',
    },
    doesNot: {
      when: 'now and then an upload fails and is tried again',
      series: receiver({ 'walferry_store_failures_total{code="STORE_UNREACHABLE"}': moving(3, 1) }),
      after: 15,
    },
  },
  WalferrySpoolFilling: {
    fires: {
      when: '100 MB come in each second more than are shipped, on a disk with 1 TB',
      series: receiver({
        walferry_spool_disk_free_bytes: moving(1000 * gigabyte, -6 * gigabyte),
        walferry_spool_disk_size_bytes: always(1024 * gigabyte),
      }),
      after: 10,
      summary: 'The disk of the spool of a:9868 will be full within 4 hours',
      description: '940GiB are free now, and at the pace of the last 10 minutes none in 4 hours.',
    },
    doesNot: {
      when: 'segments come and go',
      series: receiver({
        walferry_spool_disk_free_bytes: Array.from({ length: 240 }, (_, i) => String(4e9 - (i % 4) * 2 ** 24)).join(
          ' ',
        ),
      }),
      after: 30,
    },
  },
  WalferrySpoolNearlyFull: {
    fires: {
      when: 'less than 5 % are free',
      series: receiver({ walferry_spool_disk_free_bytes: always(2 * gigabyte) }),
      after: 3,
      summary: 'The disk of the spool of a:9868 is nearly full',
      description:
        '2GiB are free: less than 5 %, or none in 30 minutes at the pace of the last 5. When it is full, receiving stops, and the slot keeps the WAL on the server.',
    },
    doesNot: {
      when: 'the disk of 50 GB fills in 3 hours',
      series: receiver({ walferry_spool_disk_free_bytes: moving(40 * gigabyte, -gigabyte / 5) }),
      after: 4,
    },
  },
  WalferrySpoolFailing: {
    fires: {
      when: 'the disk is full',
      series: receiver({ 'walferry_problem{code="SPOOL_FAILED"}': '_x9 1x100' }),
      after: 7,
      labels: { ...labels, code: 'SPOOL_FAILED' },
      summary: 'The receiver a:9868 cannot write its spool',
      description: 'Its disk is full, or fails. Nothing is received: the slot keeps the WAL on the server.',
    },
    doesNot: {
      when: 'there is room again',
      series: receiver({ 'walferry_problem{code="SPOOL_FAILED"}': turning(10, 1, 0) }),
      after: 12,
    },
  },
  WalferrySpoolSetAside: {
    fires: {
      when: 'a file has the name of a segment and the size of none',
      series: receiver({ walferry_spool_set_aside_files: always(1) }),
      after: 1,
      summary: 'The spool of a:9868 has files that cannot be its own',
      description:
        '1 with a wrong size, a foreign header or a content that cannot be read: set aside, and never shipped.',
    },
    doesNot: {
      when: 'somebody has looked, and removed it',
      series: receiver({ walferry_spool_set_aside_files: turning(5, 1, 0) }),
      after: 6,
    },
  },
  WalferryGap: {
    fires: {
      when: 'the server had removed WAL, and receiving went on behind it',
      series: receiver({ walferry_gaps: turning(5, 0, 1), walferry_gaps_total: turning(5, 0, 1) }),
      after: 6,
      summary: 'WAL is lost: the archive of a:9868 has a gap',
      description: '1 not acknowledged. A recovery cannot pass a gap: a base backup from behind it is needed now.',
    },
    doesNot: {
      when: 'the gap was acknowledged',
      series: receiver({ walferry_gaps: turning(5, 1, 0), walferry_gaps_total: always(1) }),
      after: 6,
    },
  },
  WalferryWalRemoved: {
    fires: {
      when: 'it halted at a gap',
      series: receiver({ 'walferry_problem{code="WAL_REMOVED"}': '_x9 1x100' }),
      after: 7,
      labels: { ...labels, code: 'WAL_REMOVED' },
      summary: 'The server of a:9868 has removed WAL that was not received',
      description: 'Receiving does not go on: --on-gap halt, or the archive has not said yet whether it has that WAL.',
    },
    doesNot: {
      when: 'another host still had the WAL',
      series: receiver({ 'walferry_problem{code="WAL_REMOVED"}': '_x9 1 0x100' }),
      after: 7,
    },
  },
  WalferryConflict: {
    fires: {
      when: 'other content lies under a key of ours',
      series: receiver({
        'walferry_problem{code="ARCHIVE_CONFLICT"}': '_x9 1x100',
        // The first conflict makes the series.
        'walferry_conflicts_total{place="archive"}': '_x9 1x100',
      }),
      after: 6,
      labels: { ...labels, code: 'ARCHIVE_CONFLICT' },
      summary: 'Two histories of one WAL meet at a:9868 (ARCHIVE_CONFLICT)',
      description:
        'Other bytes came than those that are here, or the server lost what it had sent. Nothing was overwritten, and it does not go on until somebody has looked.',
    },
    doesNot: {
      when: 'somebody has looked, and started it again',
      series: receiver({ 'walferry_conflicts_total{place="archive"}': '_x9 1x10 stale' }),
      after: 12,
    },
  },
  WalferryNoBackup: {
    fires: {
      when: 'the archive has had no base backup for an hour and a half',
      series: receiver({ walferry_backup_age_seconds: infinite }),
      after: 91,
      summary: 'The archive of a:9868 has no base backup',
      description: 'Without one its WAL cannot be restored to anything.',
    },
    doesNot: {
      when: 'the first one of a new archive was taken by somebody else, and seen an hour later',
      series: receiver({ walferry_backup_age_seconds: '1e308+1e308x160 60x100' }),
      after: 90,
    },
  },
  WalferryBackupTooOld: {
    fires: {
      when: 'the newest base backup is two days old',
      series: receiver({ walferry_backup_age_seconds: always(48 * 3600) }),
      after: 6,
      summary: 'The newest base backup of a:9868 is 2d 0h 0m 0s old',
      description: 'A restore replays all WAL since then. The threshold is 36 hours, for a backup each day.',
    },
    doesNot: {
      when: 'it is not known how old the newest one is',
      series: receiver({ walferry_backup_age_seconds: null, walferry_backup_success_time_seconds: always(0) }),
      after: 15,
    },
  },
  WalferryNotRestorable: {
    fires: {
      when: 'WAL is missing behind the only base backup',
      series: receiver({ walferry_restorable_time_seconds: always(60) }),
      after: 90,
      summary: 'The archive of a:9868 cannot be restored to now',
      description:
        'The store has the WAL, but no base backup leads there: some is missing behind the newest one, or that one cannot be used.',
    },
    doesNot: {
      when: 'the other half of a pair ships',
      series: {
        ...receiver(),
        ...receiver({ ...waiting, walferry_restorable_time_seconds: always(60) }, partner),
      },
      after: 90,
    },
  },
  WalferryBackupFailed: {
    fires: {
      when: 'the first one since the start fails',
      series: receiver({
        walferry_backup_failures_total: turning(5, 0, 1),
        walferry_backup_failure_time_seconds: turning(5, 0, 1_700_086_400),
      }),
      after: 6,
      summary: 'The last base backup of a:9868 failed',
      description: 'It failed at 2023-11-15 22:13:20 +0000 UTC, and none was completed since. WAL goes on.',
    },
    doesNot: {
      when: 'the one after it was completed',
      series: receiver({
        walferry_backup_failure_time_seconds: always(1_700_086_400),
        walferry_backup_success_time_seconds: always(1_700_172_800),
      }),
      after: 15,
    },
  },
  WalferryNotReady: {
    fires: {
      when: 'the server refuses the password',
      series: receiver({ 'walferry_problem{code="PG_REFUSED"}': always(1), walferry_ready: always(0) }),
      after: 3,
      labels: { ...labels, code: 'PG_REFUSED' },
      summary: 'The receiver a:9868 needs a hand: PG_REFUSED',
      description: 'Its /readyz says what happened and what to do next.',
    },
    doesNot: {
      when: 'another alert tells the reason',
      series: receiver({ 'walferry_problem{code="STORE_DENIED"}': always(1), walferry_ready: always(0) }),
      after: 15,
      others: ['WalferryStoreFailing'],
    },
  },
}
