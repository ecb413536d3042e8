/** What the page says of a receiver that waits for the slot, where else would stand what it does not know. */
import type { Status } from '../status.ts'
import type { Answer } from './answers.ts'
import { durationText } from './format.ts'

const place = 'ask the one that streams'

/** Beside the reason, other things may be wrong. */
export function waitingVerdict({ reasons }: Status): Answer {
  const [first, ...others] = reasons.filter(({ code }) => code !== 'SLOT_IN_USE')
  if (first !== undefined) {
    const more = others.length === 0 ? '' : ` And ${others.length} more.`
    return { level: 'bad', big: 'Waiting, not well', line: `${first.code}: ${first.message}.${more}` }
  }
  const line =
    'Another receiver streams from the slot, and its figures count. This one takes over when the slot is free.'
  return { level: 'warning', big: 'Waiting', line }
}

export function waitingLoss({ lossSeconds }: Status): Answer {
  const alone = lossSeconds === null ? '' : ` If that one ships nothing here: up to ${durationText(lossSeconds)}.`
  return { level: 'unknown', big: 'Not known here', line: `Another receiver streams from the slot: ${place}.${alone}` }
}

export const waitingTrend: Answer = {
  level: 'unknown',
  big: 'Not known here',
  line: `What the server writes goes to another receiver: ${place}.`,
}
