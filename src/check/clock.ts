/** Whether the server's clock and ours agree. */
import { type Finding, ok, skipped, warning } from './finding.ts'
import type { ClockFacts } from './server-facts.ts'

const toleratedMs = 5000

/** `clock` is null without an ordinary connection. What the way there and back takes is not counted as a difference. */
export function checkClock(clock: ClockFacts | null): Finding {
  if (clock === null) return skipped('clock', 'without an ordinary connection the server does not tell its time')
  const { serverMs, beforeMs, afterMs } = clock
  const aheadMs = serverMs < beforeMs ? serverMs - beforeMs : Math.max(serverMs - afterMs, 0)
  const seconds = (Math.abs(aheadMs) / 1000).toFixed(1)
  if (Math.abs(aheadMs) <= toleratedMs) return ok('clock', `at most ${seconds} s from the server's`)
  return warning(
    'clock',
    `the server's clock is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} ours. No WAL depends on it; ` +
      `lags in seconds are by the server's clock, and times in the log and in notes of the archive by ours`,
    'Let both follow a time server (NTP). S3 refuses requests from a clock that is 15 minutes off.',
  )
}
