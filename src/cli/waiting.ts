/** What a receiver that waits for the slot says, where else would stand what it does not know. */
import type { Status } from '../serve/status.ts'
import type { Answer } from './paint.ts'
import { durationText } from './time-words.ts'

/** What it knows of the server is of its last turn. */
export function waitingLossOf({ lossSeconds }: Status): Answer {
  const alone = lossSeconds === null ? '' : ` (if that one ships nothing here: up to ${durationText(lossSeconds)})`
  const text = `not known here: another receiver streams from the slot, and its figures count${alone}`
  return { label: 'Loss now', text, tone: 'warning' }
}

export const waitingTrend = { text: 'not known here: ask the receiver that streams', tone: 'warning' } as const
