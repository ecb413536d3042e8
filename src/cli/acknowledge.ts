/**
 * `walferry acknowledge`: lists the gaps that nobody has acknowledged, a line each:
 *
 *     1/0/5000000<TAB>timeline<TAB>from<TAB>to
 *
 * `walferry acknowledge GAP...` and `--all` say that they are known: the receiver is ready again, and no alert tells of
 * them any more. With --json either is one document:
 *
 *     {"store":"s3://bucket/prefix","waiting":[{"gap":"1/0/5000000","timeline":1,"from":"0/5000000","to":"0/7000000"}]}
 *     {"store":...,"acknowledged":[{"gap":...,"wasBefore":false}]}
 */
import { type Acknowledged, acknowledgeGaps, unacknowledgedGaps } from '../audit/acknowledge.ts'
import { gapFields } from '../audit/tell-listing.ts'
import { mustHaveOwner } from '../archive/owner.ts'
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
    await withArchive(acknowledgeOptions, args.slice(end), async (archive, { all, json }) => {
      const { store } = archive
      if (all && places.length > 0) {
        throw new WalferryError('BAD_INPUT', 'gaps are named, and --all is given', { hint: 'Give one of both.' })
      }
      // Of a place that is no archive it must not be said that nothing is missing there.
      await mustHaveOwner(archive, { signal })
      if (!all && places.length === 0) {
        const waiting = await unacknowledgedGaps(store, { signal })
        const fields = { store: store.url, waiting: waiting.map(gapJson) }
        process.stdout.write(json ? jsonText(fields) : tellWaiting(waiting))
        if (waiting.length === 0) process.stderr.write(noneWaits(store.url))
        return
      }
      const done = await acknowledgeGaps(store, all ? 'all' : places, { signal, now: new Date() })
      const fields = {
        store: store.url,
        acknowledged: done.map(({ gap, wasBefore }) => ({ ...gapJson(gap), wasBefore })),
      }
      process.stdout.write(json ? jsonText(fields) : tellDone(done))
      if (done.length === 0) process.stderr.write(noneWaits(store.url))
      if (done.some(({ wasBefore }) => !wasBefore)) process.stderr.write(afterwards)
    })
  })
}

const afterwards =
  'No recovery passes a gap: unless a base backup has ended behind it (walferry list shows the windows), take one now.\n'

function noneWaits(storeUrl: string): string {
  return `No gap waits to be acknowledged in ${storeUrl}.\n`
}

function tellWaiting(gaps: readonly GapName[]): string {
  const rows = gaps.map((gap) => [gapPlace(gap), gap.timeline, formatLsn(gap.from), formatLsn(gap.to)])
  return rows.map((row) => `${row.join('\t')}\n`).join('')
}

function gapJson(gap: GapName): object {
  return { gap: gapPlace(gap), ...gapFields(gap) }
}

function jsonText(fields: object): string {
  return `${JSON.stringify(fields, null, 2)}\n`
}

function tellDone(done: readonly Acknowledged[]): string {
  const lines = done.map(({ gap, wasBefore }) => {
    const what = wasBefore ? 'was acknowledged before' : 'is acknowledged'
    return `${gapPlace(gap)} up to ${formatLsn(gap.to)} ${what}\n`
  })
  return lines.join('')
}
