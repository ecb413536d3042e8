/** The metrics that are looked up when somebody asks, and not counted as things happen. */
import type { GaugeName, Metrics } from '../metrics/catalogue.ts'
import { beginUploads } from '../metrics/uploads.ts'
import { stages } from '../spool/positions.ts'
import { type Known, lossOf, type SlotSeen, slotStatuses, spoolBytes, unshippedSegments } from './known.ts'

/** So that the first of its kind is seen as an increase. */
export function beginCounters(metrics: Metrics): void {
  for (const place of ['archive', 'spool']) metrics.add('walferry_conflicts_total', 0, { place })
  beginUploads(metrics)
}

export function setGauges(metrics: Metrics, known: Known): void {
  const { positions, server, state, reasons } = known
  metrics.set('walferry_timeline', server?.timeline ?? 0)
  if (server !== null) {
    // After an update of the server it is another one.
    metrics.clear('walferry_server_info')
    metrics.set('walferry_server_info', 1, { version: server.version })
  }
  metrics.set('walferry_connected', state === 'streaming' ? 1 : 0)
  metrics.set('walferry_ready', reasons.length === 0 ? 1 : 0)
  for (const position of ['server', 'received', 'written', 'synced', 'shipped'] as const) {
    metrics.set('walferry_position_bytes', Number(positions[position]), { position })
  }
  for (const stage of stages) {
    const lag = positions.lag(stage)
    metrics.set('walferry_lag_bytes', lag.bytes, { stage })
    metrics.set('walferry_lag_seconds', lag.seconds, { stage })
  }
  setOrClear(metrics, 'walferry_loss_seconds', lossOf(known))
  const { restorable } = known
  const restorableMs = restorable === null ? null : (restorable.timeMs ?? 0)
  setOrClear(metrics, 'walferry_restorable_time_seconds', restorableMs === null ? null : restorableMs / 1000)
  metrics.set('walferry_spool_bytes', spoolBytes(known))
  metrics.set('walferry_spool_segments', unshippedSegments(known))
  setOrClear(metrics, 'walferry_spool_disk_free_bytes', known.disk?.freeBytes ?? null)
  setOrClear(metrics, 'walferry_spool_disk_size_bytes', known.disk?.bytes ?? null)
  setOrClear(metrics, 'walferry_spool_set_aside_files', known.disk?.setAsideFiles ?? null)
  setOrClear(metrics, 'walferry_gaps', known.gaps?.length ?? null)
  setOrClear(metrics, 'walferry_backup_age_seconds', backupAge(known))
  setSlot(metrics, known.slot)
}

function setSlot(metrics: Metrics, slot: SlotSeen | null): void {
  if (slot === null) metrics.clear('walferry_slot_wal_status')
  else {
    for (const status of slotStatuses) {
      metrics.set('walferry_slot_wal_status', status === slot.walStatus ? 1 : 0, { status })
    }
  }
  setOrClear(metrics, 'walferry_slot_asked_time_seconds', slot === null ? null : slot.askedAt.getTime() / 1000)
  // Of a slot that is not there nothing can be measured.
  const isThere = slot !== null && slot.walStatus !== 'missing'
  setOrClear(metrics, 'walferry_slot_safe_bytes', isThere ? slot.safeBytes : null)
  setOrClear(metrics, 'walferry_slot_retained_bytes', isThere ? slot.retainedBytes : null)
}

function backupAge({ backups: { lastSuccess }, now }: Known): number | null {
  if (lastSuccess === null) return null
  return lastSuccess === 'none' ? Infinity : Math.max(0, (now.getTime() - lastSuccess.getTime()) / 1000)
}

/** What is not known is not told: 0 would be wrong. */
function setOrClear(metrics: Metrics, name: GaugeName, value: number | null): void {
  if (value === null) metrics.clear(name)
  else metrics.set(name, value)
}

/** Each code that was ever a reason: 1 while it is one, and 0 once it is over. */
export class ProblemGauge {
  readonly #seen = new Set<string>()

  set(metrics: Metrics, { reasons }: Known): void {
    for (const { code } of reasons) this.#seen.add(code)
    for (const code of this.#seen) {
      metrics.set('walferry_problem', reasons.some((reason) => reason.code === code) ? 1 : 0, { code })
    }
  }
}
