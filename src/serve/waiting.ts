/** Whether a receiver waits for the slot, from which another one streams: the half of a pair that is to take over. */
import type { Status } from './status.ts'

/** What such a one knows of the server is of its last turn: the figures of the one that streams count. */
export function waitsForSlot({ state, reasons }: Pick<Status, 'state' | 'reasons'>): boolean {
  return state !== 'streaming' && reasons.some(({ code }) => code === 'SLOT_IN_USE')
}
