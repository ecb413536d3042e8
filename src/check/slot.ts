/** Our replication slot, on the server and on the hosts that may take its place. */
import { formatLsn } from '../wal/lsn.ts'
import { type Finding, failed, failedWith, ok, skipped, warning } from './finding.ts'
import type { HostFacts, SeenSlot, ServerFacts } from './server-facts.ts'

export interface WantedSlot {
  readonly name: string
  /** Never created: --require-slot. */
  readonly required: boolean
  /** A receiver runs here, with the same spool. */
  readonly isReceiving: boolean
}

export function checkSlot({ slot }: ServerFacts, wanted: WantedSlot): Finding {
  if (slot === null) return skipped('slot', 'there is no connection')
  if (slot.by === 'sql') return slot.seen === null ? missing(wanted) : seen(slot.seen, wanted)
  const { read } = slot
  if ('error' in read) return failedWith('slot', read.error)
  switch (read.state) {
    case 'missing':
      return missing(wanted)
    case 'unreserved':
      return unreserved(wanted)
    case 'unreadable':
      return skipped('slot', `before PostgreSQL 15, ${wanted.name} can only be read over an ordinary connection`)
    case 'reserved':
      return ok('slot', `${wanted.name} keeps WAL from ${formatLsn(read.restartLsn)} on; its health cannot be asked`)
  }
}

function missing({ name, required }: WantedSlot): Finding {
  if (!required) return ok('slot', `${name} is not there: receive creates it`)
  const remedy = `Create it: SELECT pg_create_physical_replication_slot('${name}', true).`
  return failed('slot', `${name} is not there, and --require-slot forbids to create it`, remedy)
}

function unreserved({ name }: WantedSlot): Finding {
  return warning('slot', `${name} keeps no WAL until it is used for the first time`, 'Start receive soon.')
}

function seen(slot: SeenSlot, wanted: WantedSlot): Finding {
  const { name } = wanted
  if (slot.type !== 'physical') {
    return failed('slot', `${name} is a ${slot.type} slot, and walferry needs a physical one`, 'Choose another --slot.')
  }
  if (slot.walStatus === 'lost' || slot.invalidation !== null) {
    return failed(
      'slot',
      `${name} is invalidated (${slot.invalidation ?? 'its WAL was removed'}): the server no longer keeps WAL for it`,
      'Start receive: it goes on from what the server still has. ' +
        'If WAL is missing then, take a new base backup; raise max_slot_wal_keep_size.',
    )
  }
  if (slot.restartLsn === null) return unreserved(wanted)
  const keeps = `${name} keeps WAL from ${slot.restartLsn} on`
  if (slot.walStatus === 'unreserved') {
    const remedy = 'Start receive at once, or raise max_slot_wal_keep_size.'
    return warning('slot', `${keeps}, which the server removes at its next checkpoint`, remedy)
  }
  if (slot.activePid === null) return ok('slot', keeps)
  const used = `${keeps}; a receiver streams from it (process ${slot.activePid} of the server)`
  if (wanted.isReceiving) return ok('slot', used)
  return warning(
    'slot',
    `${used}, and not with this spool`,
    'receive waits until the other one stops. If both shall run, give each its --slot.',
  )
}

/** One for each other host: after a failover to one without the slot, WAL may be gone before it is received. */
export function checkOtherHosts({ otherHosts, identity }: ServerFacts, slot: string): Finding[] {
  return otherHosts.map((host) => checkOtherHost(host, slot, identity?.systemIdentifier ?? null))
}

function checkOtherHost({ host, found }: HostFacts, slot: string, systemIdentifier: bigint | null): Finding {
  const name = `host ${host}`
  if ('error' in found) {
    const remedy = 'Until it can be asked, nobody knows whether the slot is there.'
    return warning(name, found.error.message, found.error.hint ?? remedy)
  }
  if (systemIdentifier !== null && found.systemIdentifier !== systemIdentifier) {
    const what = `is another cluster: it has system identifier ${found.systemIdentifier}, not ${systemIdentifier}`
    return failed(name, what, 'Name only the servers of one cluster in --url.')
  }
  switch (found.slot.state) {
    case 'missing':
      return warning(
        name,
        `has no slot ${slot}: after a failover to it, WAL may be removed before it is received`,
        `Create it there: SELECT pg_create_physical_replication_slot('${slot}', true).`,
      )
    case 'unreserved':
      return warning(
        name,
        `has a slot ${slot} that keeps no WAL`,
        'Drop it there, and create it with immediately_reserve.',
      )
    case 'unreadable':
      return skipped(name, `before PostgreSQL 15, ${slot} can only be read over an ordinary connection`)
    case 'reserved':
      return ok(name, `has the slot ${slot}, which keeps WAL from ${formatLsn(found.slot.restartLsn)} on`)
  }
}
