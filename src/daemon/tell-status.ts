/** `/status.json`, from what is known. */
import { describe, type WalferryError } from '../kit/errors.ts'
import type { Reason } from '../serve/routes.ts'
import type { Status } from '../serve/status.ts'
import type { Positions } from '../spool/positions.ts'
import { formatLsn, lsnZero } from '../wal/lsn.ts'
import { type Known, lossOf, spoolBytes, unshippedSegments } from './known.ts'

export function tellStatus(known: Known): Status {
  const { server, disk } = known
  const restorable = tellRestorable(known)
  return {
    format: 1,
    version: known.version,
    at: known.now.toISOString(),
    startedAt: known.startedAt.toISOString(),
    state: known.state,
    reasons: [...known.reasons],
    server:
      server === null
        ? null
        : {
            host: server.host,
            version: server.version,
            systemIdentifier: String(server.systemIdentifier),
            timeline: server.timeline,
          },
    ...tellFlow(known),
    rate: known.rate,
    restorableTime: restorable?.time ?? null,
    restorable,
    slot: tellSlot(known),
    spool: {
      folder: known.spoolFolder,
      bytes: spoolBytes(known),
      segments: unshippedSegments(known),
      diskFreeBytes: disk?.freeBytes ?? null,
      diskBytes: disk?.bytes ?? null,
    },
    store: {
      url: known.storeUrl,
      uploadsInFlight: known.uploadsInFlight,
      problem: known.storeProblem === null ? null : reasonOf(known.storeProblem),
      lastUploadAt: known.lastUpload?.toISOString() ?? null,
    },
    backup: tellBackups(known),
    gaps: known.gaps?.map(({ timeline, from, to }) => ({ timeline, from: formatLsn(from), to: formatLsn(to) })) ?? null,
  }
}

/** How WAL comes and goes. Costs next to nothing, so it may be asked every second. */
export function tellFlow({
  positions,
  state,
}: Pick<Known, 'positions' | 'state'>): Pick<Status, 'positions' | 'lag' | 'lossSeconds'> {
  return {
    positions: tellPositions(positions),
    lag: { receive: positions.lag('receive'), sync: positions.lag('sync'), ship: positions.lag('ship') },
    lossSeconds: lossOf({ positions, state }),
  }
}

export function reasonOf(error: WalferryError): Reason {
  const hint = error.hint === undefined ? {} : { hint: error.hint }
  return { code: error.code, message: describe(error), ...hint }
}

function tellPositions(positions: Positions): Status['positions'] {
  if (positions.received === lsnZero) return null
  const { server, received, written, synced, shipped } = positions
  return {
    server: formatLsn(server),
    received: formatLsn(received),
    written: formatLsn(written),
    synced: formatLsn(synced),
    shipped: formatLsn(shipped),
  }
}

function tellSlot({ slot, slotName }: Known): Status['slot'] {
  if (slot === null) return null
  const { walStatus, safeBytes, retainedBytes, askedAt } = slot
  return {
    name: slotName,
    walStatus,
    safeBytes: safeBytes === Infinity ? null : safeBytes,
    retainedBytes,
    askedAt: askedAt.toISOString(),
  }
}

function tellRestorable({ restorable, positions }: Known): Status['restorable'] {
  if (restorable === null) return null
  const { timeMs, backup, beforeGap } = restorable
  return { time: timeText(timeMs), backup, beforeGap, walTime: timeText(positions.restorableTimeMs()) }
}

function timeText(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}

function tellBackups({ backups }: Known): Status['backup'] {
  const { running, lastSuccess, lastFailure, schedule, next } = backups
  return {
    running,
    lastSuccessAt: lastSuccess instanceof Date ? lastSuccess.toISOString() : null,
    lastFailureAt: lastFailure?.toISOString() ?? null,
    schedule,
    nextAt: next?.toISOString() ?? null,
  }
}
