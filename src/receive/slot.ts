/** Our slot on the server that is to be streamed from: whether it is free, and whether it keeps WAL. */
import { reasonOf, withDeadline } from '../kit/abort.ts'
import { isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import type { ReplicationClient, ServerIdentity, SlotState } from '../pg/replication-client.ts'
import type { WalListener } from '../pg/stream-messages.ts'
import type { Lsn } from '../wal/lsn.ts'

export interface SlotWanted {
  readonly name: string
  /** Never create it. */
  readonly requireSlot: boolean
  /** The start whose WAL the server has said is gone, or null. */
  readonly removed: Lsn | null
  /** The server does not let us use it any more. */
  readonly isLost: boolean
  /** There is WAL in the spool or the archive to go on from. */
  readonly hasWal: boolean
  readonly log: Log
}

const tryForSlotMs = 10_000 // it begins a stream and ends it: two round trips
/** ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE: the slot was invalidated (18 and later say so, slot.c). */
const slotInvalidated = '55000'
/** Hears nothing of a stream. */
const deaf: WalListener = { walBegins() {}, wal() {}, keepalive() {}, batchEnd() {} }

export function isInvalidated(error: unknown): error is WalferryError {
  return isError(error, 'PG_REFUSED') && error.fields['sqlstate'] === slotInvalidated
}

/**
 * Rejects SLOT_IN_USE while another receiver streams from the slot. Where the archive ends is worth asking only once
 * that one has stopped.
 */
export async function tryForSlot(
  client: ReplicationClient,
  slot: string,
  server: ServerIdentity,
  signal: AbortSignal,
): Promise<void> {
  const { state } = await client.readSlot(slot, signal)
  if (state !== 'reserved' && state !== 'unreserved') return
  const from = { slot, timeline: server.timeline, start: server.flushedUpTo }
  const late = (): Error =>
    new WalferryError('PG_CONNECTION_LOST', `no answer to a stream from the slot "${slot}"`, { retryable: true })
  await withDeadline(tryForSlotMs, signal, late, async (inner) => {
    const onAbort = (): void => client.cut(reasonOf(inner))
    inner.addEventListener('abort', onAbort, { once: true })
    // Nothing is reported, so the slot stays where it is.
    await client.stream(from, deaf, (hands) => hands.stop())
  })
}

/**
 * A slot that reserves WAL, made where there is none, before the stream starts: from here on nothing is discarded.
 * Throws SLOT_MISSING where it may not be made.
 */
export async function ensureSlot(
  client: ReplicationClient,
  { name, requireSlot, removed, isLost, hasWal, log }: SlotWanted,
  signal: AbortSignal,
): Promise<{ readonly state: SlotState; readonly isNew: boolean }> {
  const found = await client.readSlot(name, signal)
  // A slot that says it reserves what is gone does not keep anything.
  const isHollow = found.state === 'reserved' && removed !== null && found.restartLsn <= removed
  if (found.state === 'reserved' && !isHollow && !isLost) return { state: found, isNew: false }
  if (requireSlot && found.state !== 'unreadable') {
    // With WAL of our own, streaming itself makes a slot reserve from where we are.
    if (found.state === 'unreserved' && hasWal && !isLost) return { state: found, isNew: false }
    const is = found.state === 'missing' ? 'is not there' : 'keeps no WAL'
    throw new WalferryError('SLOT_MISSING', `the slot "${name}" ${is}, and --require-slot forbids to create it`, {
      hint: `Create it: SELECT pg_create_physical_replication_slot('${name}', true).`,
    })
  }
  if (found.state === 'unreserved' || found.state === 'reserved') await client.dropSlot(name, signal)
  try {
    await client.createSlot(name, signal)
    log.info('created the slot', { slot: name })
  } catch (error) {
    const exists = isError(error, 'PG_REFUSED') && error.fields['sqlstate'] === '42710'
    if (!exists || found.state !== 'unreadable') throw error
  }
  return { state: await client.readSlot(name, signal), isNew: true }
}
