/** Numbers as people read them. Times are UTC everywhere, as in the server's and our own logs. */

const binary = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** 23580160 -> `22.5 MiB`. */
export function bytesText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1023.5 && unit < binary.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? String(Math.round(value)) : threeDigits(value)} ${binary[unit] ?? ''}`
}

/** 0.8 -> `0.8 s`, 754 -> `12 min 34 s`, 93784 -> `1 d 2 h`. */
export function durationText(seconds: number): string {
  if (seconds < 0.05) return '0 s'
  if (seconds < 9.95) return `${Number(seconds.toFixed(1))} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return twoUnits(whole, 60, 'min', 1, 's')
  if (whole < 86_400) return twoUnits(whole, 3600, 'h', 60, 'min')
  return twoUnits(whole, 86_400, 'd', 3600, 'h')
}

function twoUnits(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % large) / small)
  return `${Math.floor(seconds / large)} ${largeUnit}${rest === 0 ? '' : ` ${rest} ${smallUnit}`}`
}

/** `22.5`, `3`, `417`. */
function threeDigits(value: number): string {
  return String(Number(value.toPrecision(value >= 1000 ? 4 : 3)))
}

export function rateText(bytesPerSecond: number): string {
  return `${bytesText(bytesPerSecond)}/s`
}

/** `2026-11-21 11:10:20 UTC`, or without the day where that is today's. */
export function timeText(at: number, now: number): string {
  const text = new Date(at).toISOString()
  const day = text.slice(0, 10) === new Date(now).toISOString().slice(0, 10) ? '' : `${text.slice(0, 10)} `
  return `${day}${text.slice(11, 19)} UTC`
}

/** `2026-11-21 11:10 UTC`. */
export function minuteText(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/** `5 s ago`; what another clock says may seem to be ahead of ours. */
export function agoText(at: number, now: number): string {
  const seconds = Math.round((now - at) / 1000)
  return seconds < 1 ? 'just now' : `${durationText(seconds)} ago`
}

/** `1 backup`, `2 backups`. */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** What the spool holds, and what of it waits. */
export function spoolText({ bytes, segments }: { readonly bytes: number; readonly segments: number }): string {
  if (bytes === 0) return 'nothing: all is shipped'
  return `${bytesText(bytes)}, ${segments === 0 ? 'all of it is shipped' : `${countText(segments, 'segment')} to ship`}`
}
