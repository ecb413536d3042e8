/** How people write a recovery target. */

export interface TargetTime {
  readonly time: Date
  /** As it was written: PostgreSQL reads it itself, and counts microseconds. */
  readonly text: string
}

/** `2026-11-20T10:42:23.478944Z`, `2026-11-20 11:42+01`: without a zone it would depend on who reads it. Throws. */
export function parseTargetTime(text: string): TargetTime {
  const match = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(\.\d{1,6})?(?:(Z)|([+-]\d\d)(?::?(\d\d))?)$/i.exec(
    text.trim(),
  )
  if (match === null) throw new Error('not a time')
  const [, day, minutes, seconds = ':00', fraction = '', utc, zoneHours = '+00', zoneMinutes = '00'] = match
  const zone = utc === undefined ? `${zoneHours}:${zoneMinutes}` : 'Z'
  const time = new Date(`${day}T${minutes}${seconds}${fraction.slice(0, 4)}${zone}`)
  if (Number.isNaN(time.getTime())) throw new Error('not a time')
  return { time, text: text.trim() }
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
