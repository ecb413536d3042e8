/** Times in words, for people. */
import { formatSeconds } from './progress-text.ts'

const day = 86_400

/** `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `12 days`; what is below 0, because two clocks differ, is 0. */
export function durationText(seconds: number): string {
  if (seconds <= 0) return '0 s'
  if (seconds < 0.1) return '< 0.1 s'
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  return seconds < 2 * day ? formatSeconds(Math.round(seconds)) : `${Math.floor(seconds / day)} days`
}

/** `3 min 5 s ago`. */
export function agoText(time: Date, now: Date): string {
  return `${durationText(secondsBetween(time, now))} ago`
}

export function secondsBetween(from: Date, to: Date): number {
  return (to.getTime() - from.getTime()) / 1000
}
