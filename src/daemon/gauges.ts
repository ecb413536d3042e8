/** The metrics that are looked up when somebody asks, and not counted as things happen. */
import type { Metrics } from '../metrics/catalogue.ts'
import { stages } from '../spool/positions.ts'
import { type Known, lossOf, spoolBytes, unshippedSegments } from './known.ts'

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
  const loss = lossOf(known)
  if (loss === null) metrics.clear('walferry_loss_seconds')
  else metrics.set('walferry_loss_seconds', loss)
  metrics.set('walferry_restorable_time_seconds', (positions.restorableTimeMs() ?? 0) / 1000)
  metrics.set('walferry_spool_bytes', spoolBytes(known))
  metrics.set('walferry_spool_segments', unshippedSegments(known))
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
