import type { Status } from './status.ts'

/** Whether no base backup leads to all the WAL that is stored: "the store has it" is then no comfort. */
export function endsShort({ restorable }: Pick<Status, 'restorable'>): boolean {
  if (restorable === null) return false
  const { time, walTime, beforeGap } = restorable
  return time === null || beforeGap || (walTime !== null && Date.parse(time) < Date.parse(walTime))
}
