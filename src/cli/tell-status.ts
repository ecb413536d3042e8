/**
 * Tells a status to a program: who speaks, and what it says.
 *
 *     {"from":"receiver","url":"http://127.0.0.1:9868","format":1,...}        all of /status.json
 *     {"from":"archive","receiver":"no receiver answers on ...","at":...}
 *     {"from":null,"at":...,"error":{"code":"RECEIVER_UNREACHABLE",...}}      nobody could answer
 *
 * What both know has one name: `at`, `restorableTime`, `gaps`, and of `restorable` its `backup` and `beforeGap`.
 */
import type { ArchiveStatus } from '../audit/archive-status.ts'
import { gapFields, windowFields } from '../audit/tell-listing.ts'
import { describe, type WalferryError } from '../kit/errors.ts'
import { formatLsn } from '../wal/lsn.ts'
import { formatTimestamp } from '../wal/timestamp.ts'
import type { Told } from './status-source.ts'

export function statusFields(told: Told): object {
  if (told.from === 'receiver') return { from: told.from, url: told.url, ...told.status }
  return { from: told.from, receiver: told.why, ...archiveFields(told.archive) }
}

export function errorFields(error: WalferryError, at: Date): object {
  const { code, hint = null } = error
  return { from: null, at, error: { code, message: describe(error), hint } }
}

function archiveFields({ at, store, restorable, backups, windows, gaps, backlog }: ArchiveStatus) {
  return {
    at,
    store,
    restorableTime: restorable === null ? null : formatTimestamp(restorable.time),
    restorable:
      restorable === null
        ? null
        : {
            timeline: restorable.timeline,
            isCommit: restorable.isCommit,
            coveredUntil: formatLsn(restorable.end),
            beforeGap: restorable.beforeGap,
            backup: restorable.backup.name,
          },
    backups: {
      usable: backups.usable,
      others: backups.others,
      newest: backups.newest === null ? null : { name: backups.newest.name, finishTime: backups.newest.finishTime },
    },
    windows: windows.map(windowFields),
    gaps: gaps.map(gapFields),
    backlog: backlog.map(({ slot, note: { host, time, timeline, lsn } }) => ({
      slot,
      host,
      time,
      timeline,
      lsn: formatLsn(lsn),
    })),
  }
}
