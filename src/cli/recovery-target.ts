/** How people write a recovery target. */
import { dateOf, parseTimestamp } from '../wal/timestamp.ts'

export interface TargetTime {
  readonly time: Date
  /** As it was written: PostgreSQL reads it itself, and counts microseconds. */
  readonly text: string
}

/** Without a zone it would depend on who reads it. Throws. */
export function parseTargetTime(text: string): TargetTime {
  return { time: dateOf(parseTimestamp(text)), text: text.trim() }
}

/** Throws. */
export function parseTargetTimeline(text: string): number | 'latest' {
  if (text === 'latest') return text
  const timeline = Number(text)
  if (!/^\d{1,10}$/.test(text) || timeline < 1 || timeline > 0xffff_ffff) throw new Error('not a timeline')
  return timeline
}

/** Throws. */
export function parseXid(text: string): string {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new Error('not a transaction')
  return text
}
