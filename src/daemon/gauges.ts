/** The metrics that are looked up when somebody asks, and not counted as things happen. */
import type { Metrics } from '../metrics/catalogue.ts'
import type { SpoolSegment } from '../spool/inventory.ts'
import { type Positions, stages } from '../spool/positions.ts'
import { plus } from '../wal/lsn.ts'
import { segmentStart } from '../wal/segment.ts'

export interface Standing {
  readonly positions: Positions
  /** The one that is streamed; 0 before the first stream. */
  readonly timeline: number
  readonly isStreaming: boolean
  /** What lies in the spool. */
  readonly segments: readonly SpoolSegment[]
  /** null while the cluster is not known; then nothing lies there. */
  readonly segmentBytes: number | null
}

export function setGauges(metrics: Metrics, standing: Standing): void {
  const { positions, timeline, isStreaming, segments, segmentBytes } = standing
  metrics.set('walferry_timeline', timeline)
  metrics.set('walferry_connected', isStreaming ? 1 : 0)
  for (const position of ['server', 'received', 'written', 'synced', 'shipped'] as const) {
    metrics.set('walferry_position_bytes', Number(positions[position]), { position })
  }
  for (const stage of stages) {
    const lag = positions.lag(stage)
    metrics.set('walferry_lag_bytes', lag.bytes, { stage })
    metrics.set('walferry_lag_seconds', lag.seconds, { stage })
  }
  metrics.set('walferry_restorable_time_seconds', (positions.restorableTimeMs() ?? 0) / 1000)
  const bytes = segments.reduce((sum, one) => sum + one.syncedBytes, 0)
  metrics.set('walferry_spool_bytes', bytes)
  const unshipped = segments.filter(
    ({ segment, syncedBytes }) =>
      segmentBytes !== null && plus(segmentStart(segment.segno, segmentBytes), syncedBytes) > positions.shipped,
  )
  metrics.set('walferry_spool_segments', unshipped.length)
}
