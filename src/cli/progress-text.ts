/** How far a long copy is, in words. */
import { humanBytes } from '../audit/tell-listing.ts'

/** `1.2 GiB of 10.0 GiB (12 %), 210.0 MiB/s, 43 s left`. `total` is a guess, or 0 where there is none. */
export function progressText(bytes: number, total: number, seconds: number): string {
  const rate = seconds > 0 ? bytes / seconds : 0
  const speed = `${humanBytes(Math.round(rate))}/s`
  if (bytes > total) return `${humanBytes(bytes)}, ${speed}`
  const left = rate > 0 ? `, ${formatSeconds((total - bytes) / rate)} left` : ''
  return `${humanBytes(bytes)} of ${humanBytes(total)} (${Math.floor((bytes / total) * 100)} %), ${speed}${left}`
}

/** `42 s`, `3 min 5 s`, `2 h 10 min`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}
