/** A status as a receiver would tell it: all is well, at noon, but for what a test changes. */
import type { Status } from '../../src/serve/status.ts'

export const noon = '2026-11-21T12:00:00.000Z'

/** So many seconds before noon; below 0, after it. */
export function before(seconds: number): string {
  return new Date(Date.parse(noon) - seconds * 1000).toISOString()
}

export function madeStatus(changes: Partial<Status> = {}): Status {
  return {
    format: 1,
    version: '0.1.0',
    at: noon,
    startedAt: before(12_000),
    state: 'streaming',
    reasons: [],
    server: { host: 'db.example:5432', version: '18.1', systemIdentifier: '7574638451905423678', timeline: 1 },
    positions: {
      server: '16/B374D848',
      received: '16/B374D848',
      written: '16/B374D848',
      synced: '16/B374D848',
      shipped: '16/B364D848',
    },
    lag: lagOf(0, 0, 2 ** 20, 0.83),
    rate: { receivedBytesPerSecond: 24 * 2 ** 20, shippedBytesPerSecond: 24 * 2 ** 20 },
    restorableTime: before(0.9),
    restorable: restorableTo(0.9),
    lossSeconds: 0.83,
    slot: { name: 'walferry', walStatus: 'reserved', safeBytes: 2 ** 30, retainedBytes: 2 ** 25, askedAt: noon },
    spool: {
      folder: '/var/lib/walferry/spool',
      bytes: 2 ** 24,
      segments: 2,
      diskFreeBytes: 20 * 2 ** 30,
      diskBytes: 40 * 2 ** 30,
    },
    store: { url: 's3://backups/db1', uploadsInFlight: 1, problem: null, lastUploadAt: before(0.4) },
    backup: {
      running: false,
      lastSuccessAt: before(11_100),
      lastFailureAt: null,
      schedule: '0 3 * * *',
      nextAt: before(-72_000),
    },
    gaps: [],
    ...changes,
  }
}

/** So many seconds before noon, with all that is stored. */
export function restorableTo(seconds: number): NonNullable<Status['restorable']> {
  const time = before(seconds)
  return { time, backup: 'base_000000010000001600000020', beforeGap: false, walTime: time }
}

/** Bytes that are not received, not synced, not shipped; the seconds are those of all three. */
export function lagOf(receive: number, sync: number, ship: number, seconds: number): Status['lag'] {
  const stage = (bytes: number) => ({ bytes, seconds: bytes === 0 ? 0 : seconds })
  return { receive: stage(receive), sync: stage(sync), ship: stage(ship) }
}

export const storeDenied: Status['reasons'][number] = {
  code: 'STORE_DENIED',
  message: 's3://backups/db1 refused PUT wal_005/00000001000000160000002A.lz4: AccessDenied',
  hint: 'Check the credentials, and what the policy allows.',
}
