/**
 * Moments as PostgreSQL's WAL has them: microseconds since 2000-01-01 00:00 UTC (TimestampTz, src/include/datatype/
 * timestamp.h). A Date has no room for the microseconds, and a recovery target is compared with all of them.
 */
import { WalferryError } from '../kit/errors.ts'

declare const timestampBrand: unique symbol
export type Timestamp = bigint & { readonly [timestampBrand]: never }

const epochMs = Date.UTC(2000, 0, 1)

/** Marks a count of microseconds since 2000 as a moment. */
export function asTimestamp(microseconds: bigint | number): Timestamp {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place that gives the brand
  return BigInt(microseconds) as Timestamp
}

export function timestampOf(date: Date): Timestamp {
  return asTimestamp(BigInt(date.getTime() - epochMs) * 1000n)
}

/** Without the microseconds. */
export function dateOf(timestamp: Timestamp): Date {
  const milliseconds = timestamp / 1000n - (timestamp % 1000n < 0n ? 1n : 0n)
  return new Date(Number(milliseconds) + epochMs)
}

/** Example: `2026-01-31T12:00:00.123456Z`. */
export function formatTimestamp(timestamp: Timestamp): string {
  const inSecond = ((timestamp % 1_000_000n) + 1_000_000n) % 1_000_000n
  return `${dateOf(timestamp).toISOString().slice(0, 19)}.${String(inSecond).padStart(6, '0')}Z`
}

/**
 * As a server takes it in its settings: `2026-01-31 12:00:00.123456+00`. It reads them before it knows any name of a zone,
 * `Z` included.
 */
export function formatForSetting(timestamp: Timestamp): string {
  return formatTimestamp(timestamp).replace('T', ' ').replace('Z', '+00')
}

/** Reads ISO 8601 with a zone, `2026-01-31T12:00:00.123456+01:00` or `2026-01-31 11:00Z`. Throws BAD_INPUT. */
export function parseTimestamp(text: string): Timestamp {
  const match =
    /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d(?:[.,](\d{1,6}))?)? ?(?:([Zz])|([+-]\d\d)(?::?(\d\d))?)$/.exec(
      text.trim(),
    )
  if (match === null) throw noTimestamp(text)
  const [, day = '', minutes = '', seconds = ':00', fraction = '', utc, hours, minutesOff = '00'] = match
  const zone = utc === undefined ? `${hours}:${minutesOff}` : 'Z'
  const date = new Date(`${day}T${minutes}${seconds.slice(0, 3)}${zone}`)
  if (Number.isNaN(date.getTime())) throw noTimestamp(text)
  return asTimestamp(timestampOf(date) + BigInt(fraction.padEnd(6, '0')))
}

function noTimestamp(text: string): WalferryError {
  return new WalferryError('BAD_INPUT', `"${text}" is not a moment with a zone`, {
    hint: 'Write it as ISO 8601 does, with the offset from UTC: 2026-01-31T12:00:00+01:00, or 2026-01-31T11:00:00.5Z.',
  })
}
