/**
 * Receives into a spool and ships nothing: the first half of the daemon, to be compared with pg_receivewal.
 * Arguments: connection URL, slot, folder, LSN to stop at.
 */
import { systemClock } from '../../src/kit/clock.ts'
import type { Log } from '../../src/kit/log.ts'
import { parseTarget } from '../../src/pg/target.ts'
import { type Furthest, Receiver } from '../../src/receive/receiver.ts'
import { Positions } from '../../src/spool/positions.ts'
import { emptySpool } from '../../src/spool/recover.ts'
import { Spool } from '../../src/spool/spool.ts'
import { parseLsn } from '../../src/wal/lsn.ts'

const [url, slot = '', folder = '', endpos = ''] = process.argv.slice(2)
const quiet: Log = {
  error: (text) => process.stderr.write(`${text}\n`),
  warn: () => {},
  info: () => {},
  debug: () => {},
}
const positions = new Positions(systemClock)
let spool: Spool | null = null
const receiver = new Receiver({
  target: parseTarget(url, process.env),
  slot,
  positions,
  statusIntervalMs: 10_000,
  endpos: parseLsn(endpos),
  loop: false,
  log: quiet,
  accept: () => {},
  meet: (server) => {
    const opened = (spool ??= new Spool({ folder, segmentBytes: server.segmentBytes, positions }, emptySpool))
    const furthestFor = (): Promise<Furthest> => Promise.resolve({ place: opened.end, line: null, stored: null })
    return Promise.resolve({ spool: opened, sure: true, furthestFor })
  },
  recordGap: () => Promise.resolve(),
  ack: 'spool',
  ackStoreTimeoutMs: 30_000,
  onGap: 'halt',
  requireSlot: false,
  onReceived: () => {},
  onReconnect: () => {},
  onTimelineSwitch: () => {},
})
await receiver.run(new AbortController().signal)
if (positions.synced < parseLsn(endpos)) throw new Error('stopped before the end was synced')
