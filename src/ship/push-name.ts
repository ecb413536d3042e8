/** The files that PostgreSQL archives, by their names (src/include/access/xlog_internal.h). */
import { WalferryError } from '../kit/errors.ts'
import { isSegmentName, parseHistoryName } from '../wal/segment.ts'

export type WalFileName =
  /** `00000001000000000000002A`, or with `.partial` the last file of a timeline that was left. */
  | { readonly kind: 'segment' | 'partial'; readonly segment: string }
  /** `00000001000000000000002A.00000028.backup` */
  | { readonly kind: 'backup' }
  /** `00000002.history` */
  | { readonly kind: 'history'; readonly timeline: number }

/** Throws BAD_INPUT for any other name. */
export function parseWalFileName(name: string): WalFileName {
  const timeline = parseHistoryName(name)
  if (timeline !== null) return { kind: 'history', timeline }
  const segment = name.slice(0, 24)
  if (isSegmentName(segment)) {
    const rest = name.slice(24)
    if (rest === '') return { kind: 'segment', segment }
    if (rest === '.partial') return { kind: 'partial', segment }
    if (/^\.[0-9A-F]{8}\.backup$/.test(rest)) return { kind: 'backup' }
  }
  throw new WalferryError('BAD_INPUT', `"${name}" is not the name of a file that PostgreSQL archives`, {
    hint: "Write archive_command = 'walferry push %p --store ...'.",
    fields: { name },
  })
}
