/** What is told of each upload to the store. */
import type { Metrics } from './catalogue.ts'

/** `tail`: a chunk of the open segment; `merged`: chunks made one; `backup`: a part of a base backup. */
export type UploadKind = 'segment' | 'tail' | 'merged' | 'history' | 'backup'

const kinds: readonly UploadKind[] = ['segment', 'tail', 'merged', 'history', 'backup']

export interface Upload {
  readonly kind: UploadKind
  readonly seconds: number
  /** Before compression. */
  readonly plainBytes: number
  readonly storedBytes: number
}

/** So that the first one of a kind is seen as an increase. */
export function beginUploads(metrics: Metrics): void {
  for (const kind of kinds) {
    for (const result of ['success', 'failure']) metrics.add('walferry_uploads_total', 0, { kind, result })
    metrics.add('walferry_shipped_bytes_total', 0, { kind })
    metrics.add('walferry_stored_bytes_total', 0, { kind })
  }
}

export function countUpload(metrics: Metrics, { kind, seconds, plainBytes, storedBytes }: Upload): void {
  metrics.observe('walferry_upload_duration_seconds', seconds, { kind })
  metrics.add('walferry_uploads_total', 1, { kind, result: 'success' })
  metrics.add('walferry_shipped_bytes_total', plainBytes, { kind })
  metrics.add('walferry_stored_bytes_total', storedBytes, { kind })
}

export function countFailure(metrics: Metrics, kind: UploadKind): void {
  metrics.add('walferry_uploads_total', 1, { kind, result: 'failure' })
}
