/**
 * `walferry acknowledge`: lists the gaps that nobody has acknowledged, a line each:
 *
 *     1/0/5000000<TAB>timeline<TAB>from<TAB>to
 *
 * `walferry acknowledge GAP...` and `--all` say that they are known: the receiver is ready again, and no alert tells of
 * them any more.
 */
import { type Acknowledged, acknowledgeGaps, unacknowledgedGaps } from '../audit/acknowledge.ts'
import { gapPlace } from '../archive/gaps.ts'
import type { GapName } from '../archive/keys.ts'
import { WalferryError } from '../kit/errors.ts'
import { formatLsn } from '../wal/lsn.ts'
import { told, withArchive } from './audit.ts'
import { acknowledgeOptions } from './audit-options.ts'

export async function runAcknowledge(args: readonly string[]): Promise<number> {
  return await told(async (signal) => {
    const firstFlag = args.findIndex((word) => word.startsWith('-'))
    const end = firstFlag === -1 ? args.length : firstFlag
    const places = args.slice(0, end).map((place) => place.toUpperCase())
    await withArchive(acknowledgeOptions, args.slice(end), async ({ store }, { all }) => {
      if (all && places.length > 0) {
        throw new WalferryError('BAD_INPUT', 'gaps are named, and --all is given', { hint: 'Give one of both.' })
      }
      if (!all && places.length === 0) {
        process.stdout.write(tellWaiting(await unacknowledgedGaps(store, { signal })))
        return
      }
      const done = await acknowledgeGaps(store, all ? 'all' : places, { signal, now: new Date() })
      process.stdout.write(tellDone(done))
      if (done.some(({ wasBefore }) => !wasBefore)) process.stderr.write(afterwards)
    })
  })
}

const afterwards =
  'No recovery passes a gap: unless a base backup has ended behind it (walferry list shows the windows), take one now.\n'

function tellWaiting(gaps: readonly GapName[]): string {
  if (gaps.length === 0 && process.stdout.isTTY) return 'No gap waits to be acknowledged.\n'
  const rows = gaps.map((gap) => [gapPlace(gap), gap.timeline, formatLsn(gap.from), formatLsn(gap.to)])
  return rows.map((row) => `${row.join('\t')}\n`).join('')
}

function tellDone(done: readonly Acknowledged[]): string {
  const lines = done.map(({ gap, wasBefore }) => {
    const what = wasBefore ? 'was acknowledged before' : 'is acknowledged'
    return `${gapPlace(gap)} up to ${formatLsn(gap.to)} ${what}\n`
  })
  return lines.join('')
}
