import { formatLsn } from '../wal/lsn.ts'
import type { Deletion, Loss } from './delete.ts'
import { humanBytes } from './tell-listing.ts'

/** What a deletion means, as lines for a person. */
export function tellDeletion({ name, backup, losses, needing }: Deletion): string {
  if (backup === null) return `${name} was being deleted; what is left of it goes now.\n`
  const when = (backup.finishTime ?? backup.modified).toISOString()
  const lines = [
    `${name}: finished ${when}, ${humanBytes(backup.storedBytes)} stored.`,
    ...(losses.length === 0
      ? ['Everything that can be restored now can be restored without it.']
      : losses.map(tellLoss)),
    ...needing.map((one) => `${one} cannot be restored without it.`),
  ]
  return `${lines.join('\n')}\n`
}

function tellLoss({ timeline, from, to, next }: Loss): string {
  const then =
    next === null
      ? 'no other backup leads there'
      : `the next one, ${next.name}, leads from ${(next.finishTime ?? next.modified).toISOString()} on`
  return `Not to be restored any more: timeline ${timeline} from ${formatLsn(from)} to ${formatLsn(to)}; ${then}.`
}
