/** Statuses of receivers, for tests of those who tell or read them. */
import type { Status } from '../../src/serve/status.ts'

const none = { bytes: 0, seconds: 0 }

/** Of one that has just been started, and has reached neither server nor store. */
export const emptyStatus: Status = {
  format: 1,
  version: '1.0.0',
  at: '2026-01-31T12:00:00.000Z',
  startedAt: '2026-01-31T11:59:59.000Z',
  state: 'connecting',
  reasons: [{ code: 'NOT_STREAMING', message: 'the receiver is connecting' }],
  server: null,
  positions: null,
  lag: { receive: none, sync: none, ship: none },
  rate: { receivedBytesPerSecond: 0, shippedBytesPerSecond: 0 },
  restorableTime: null,
  restorable: null,
  lossSeconds: null,
  slot: null,
  spool: { folder: '/spool', bytes: 0, segments: 0, diskFreeBytes: null, diskBytes: null },
  store: { url: '/archive', uploadsInFlight: 0, problem: null, lastUploadAt: null },
  backup: { running: false, lastSuccessAt: null, lastFailureAt: null, schedule: null, nextAt: null },
  gaps: null,
}
