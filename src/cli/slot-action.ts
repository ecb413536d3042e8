/** `walferry receive --create-slot` and `--drop-slot`: one command to the server, as pg_receivewal does it, and the end. */
import { isError, WalferryError } from '../kit/errors.ts'
import type { Log } from '../kit/log.ts'
import { ReplicationClient } from '../pg/replication-client.ts'
import { describeTarget, type Target } from '../pg/target.ts'

export interface SlotAction {
  readonly action: 'create' | 'drop'
  readonly slot: string
  /** A physical slot of that name that is already there is as good as one that was created. */
  readonly ifNotExists: boolean
}

/** Throws PG_CONNECTION_LOST, PG_REFUSED, SLOT_IN_USE. */
export async function runSlotAction(
  { action, slot, ifNotExists }: SlotAction,
  target: Target,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const fields = { slot, server: describeTarget(target) }
  const client = await ReplicationClient.connect(target, signal)
  try {
    if (action === 'drop') {
      await drop(client, slot, signal)
      log.info('dropped the slot', fields)
    } else if (await create(client, slot, ifNotExists, signal)) {
      log.info('created the slot; the server keeps WAL for it from now on', fields)
    } else {
      log.info('the slot is there already', fields)
    }
  } finally {
    await client.close()
  }
}

/** Returns whether it was created. */
async function create(
  client: ReplicationClient,
  slot: string,
  ifNotExists: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await client.createSlot(slot, signal)
    return true
  } catch (error) {
    const isDuplicate = isError(error, 'PG_REFUSED') && error.fields['sqlstate'] === '42710'
    if (!isDuplicate) throw error
    if (!ifNotExists) throw withHint(error, 'Add --if-not-exists, or choose another --slot.')
    // A logical slot of that name is none that could be used; this says so.
    await client.readSlot(slot, signal)
    return false
  }
}

async function drop(client: ReplicationClient, slot: string, signal: AbortSignal): Promise<void> {
  try {
    await client.dropSlot(slot, signal)
  } catch (error) {
    if (isError(error, 'SLOT_IN_USE')) throw withHint(error, 'Stop the receiver that uses it first.')
    throw error
  }
}

function withHint(error: WalferryError, hint: string): WalferryError {
  const { code, message, fields, cause } = error
  return new WalferryError(code, message, { hint, fields, cause })
}
