/**
 * A position in the WAL: a count of bytes since the cluster's first, written as two hexadecimal halves, `16/B374D848`
 * (documentation, section "pg_lsn Type").
 */
import { WalferryError } from '../kit/errors.ts'

declare const lsnBrand: unique symbol
export type Lsn = bigint & { readonly [lsnBrand]: never }

/** Marks a count of bytes as a position. */
export function asLsn(bytes: bigint | number): Lsn {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place that gives the brand
  return BigInt(bytes) as Lsn
}

/** "InvalidXLogRecPtr": no position. */
export const lsnZero = asLsn(0n)

/** No WAL lies behind it. */
export const highestLsn = asLsn(0xffff_ffff_ffff_ffffn)

/** Reads `X/X`. Throws BAD_INPUT. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  if (match === null) {
    throw new WalferryError('BAD_INPUT', `"${text}" is not a WAL position`, {
      hint: 'Write it as PostgreSQL does: two hexadecimal numbers with a slash between, such as 16/B374D848.',
    })
  }
  return asLsn((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`))
}

/** Writes `X/X` in upper case without leading zeros, as PostgreSQL does. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`.toUpperCase()
}

/** `lsn` moved on by `bytes`. */
export function plus(lsn: Lsn, bytes: number): Lsn {
  return asLsn(lsn + BigInt(bytes))
}

/** Bytes from `from` to `to`; exact below 2^53. */
export function bytesBetween(from: Lsn, to: Lsn): number {
  return Number(to - from)
}

/** The later of two positions. */
export function laterOf(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b
}

/** The earlier of two positions. */
export function earlierOf(a: Lsn, b: Lsn): Lsn {
  return a < b ? a : b
}
