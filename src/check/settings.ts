/** Settings of the server without which nothing flows, or what flows is worth less. */
import { parseDurationMs } from '../pg/replication-client.ts'
import { type Finding, failed, ok, skipped, warning } from './finding.ts'
import type { ServerFacts, Settings } from './server-facts.ts'

/** Less than this, and a pause of a busy machine cuts the connection. */
const shortTimeoutMs = 10_000

export function checkSettings(facts: ServerFacts, slot: string): Finding[] {
  const { settings } = facts
  if (settings === null) return names.map((name) => skipped(name, 'there is no connection'))
  return [
    checkWalLevel(settings),
    checkSenders(settings, facts),
    checkSlots(settings, facts, slot),
    checkKeepSize(settings),
    checkTimeout(settings),
    checkDurability(settings),
  ]
}

const names = [
  'wal_level',
  'max_wal_senders',
  'max_replication_slots',
  'max_slot_wal_keep_size',
  'wal_sender_timeout',
  'durability',
] as const

function checkWalLevel({ wal_level: level }: Settings): Finding {
  if (level !== 'minimal') return ok('wal_level', level)
  return failed(
    'wal_level',
    'minimal: the server writes too little WAL to recover from, and lets nobody receive it',
    'Set wal_level = replica and max_wal_senders = 10, and restart the server.',
  )
}

/** Nobody else can replicate now. */
export function areSendersUsedUp({ settings, sql }: ServerFacts): boolean {
  return settings !== null && sql !== null && sql.senders >= Number(settings.max_wal_senders)
}

function checkSenders(settings: Settings, facts: ServerFacts): Finding {
  const { sql, slot, replication } = facts
  const name = 'max_wal_senders'
  const most = Number(settings.max_wal_senders)
  const remedy = `Set max_wal_senders = ${most + 10}, and restart the server.`
  if (most === 0) return failed(name, '0: the server lets nobody receive WAL', remedy)
  if (sql === null) return ok(name, `${most}; how many are in use cannot be asked`)
  if (!areSendersUsedUp(facts)) return ok(name, `${sql.senders} of ${most} in use`)
  const isReceiving = slot?.by === 'sql' && slot.seen !== null && slot.seen.activePid !== null
  const tell = 'error' in replication && !isReceiving ? failed : warning
  return tell(name, `all ${most} are in use: a receiver that starts now finds none`, remedy)
}

function checkSlots(settings: Settings, { sql, slot }: ServerFacts, wanted: string): Finding {
  const name = 'max_replication_slots'
  const most = Number(settings.max_replication_slots)
  const remedy = `Set max_replication_slots = ${most + 10} and restart the server, or drop a slot that nobody uses.`
  if (most === 0) return failed(name, '0: the server has no replication slots', remedy)
  if (sql === null) return ok(name, `${most}; how many are in use cannot be asked`)
  const isThere = slot?.by === 'sql' && slot.seen !== null
  if (sql.slots < most || isThere) return ok(name, `${sql.slots} of ${most} in use`)
  return failed(name, `all ${most} are in use, and ${wanted} is not there yet`, remedy)
}

function checkKeepSize({ max_slot_wal_keep_size: size }: Settings): Finding {
  const name = 'max_slot_wal_keep_size'
  if (size === '-1') return ok(name, 'no limit: while walferry is away, WAL gathers on the disk of the server')
  return ok(name, `${size}: when walferry is further behind than that, the server removes WAL that was not received`)
}

function checkTimeout({ wal_sender_timeout: timeout }: Settings): Finding {
  const name = 'wal_sender_timeout'
  const ms = parseDurationMs(timeout)
  const remedy = 'Set wal_sender_timeout = 60s.'
  if (ms === 0) {
    const what = '0: after a receiver is gone without a goodbye, its slot may stay in use for hours'
    return warning(name, what, remedy)
  }
  if (ms < shortTimeoutMs) return warning(name, `${timeout}: a short pause cuts the connection`, remedy)
  return ok(name, timeout)
}

/** What the WAL is worth after a crash of the server itself. */
function checkDurability(settings: Settings): Finding {
  const off = (['fsync', 'full_page_writes'] as const).filter((name) => settings[name] === 'off')
  if (off.length === 0) return ok('durability', 'fsync and full_page_writes are on')
  return warning(
    'durability',
    `${off.join(' and ')} ${off.length === 1 ? 'is' : 'are'} off: ` +
      `after a crash the server may have lost WAL that it has sent, or have torn pages`,
    `Set ${off.map((name) => `${name} = on`).join(' and ')}, and reload the server.`,
  )
}
