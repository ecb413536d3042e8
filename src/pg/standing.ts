/**
 * What target_session_attrs asks of a server, and what a server says of itself.
 *
 * libpq asks with SQL, which a replication connection does not take, and an ordinary connection is more than a role with
 * REPLICATION alone may have: SHOW does on both. In recovery every transaction is read-only, which has to do before 14.
 */
import { show } from './commands.ts'
import type { Session } from './session.ts'
import type { SessionAttrs } from './target.ts'

/** What can be asked of one server; prefer-standby is a search among several. */
export type Demand = Exclude<SessionAttrs, 'prefer-standby'>

export interface Standing {
  /** null: a server before 14 whose transactions are read-only by default, too, does not show it. */
  readonly inRecovery: boolean | null
  /** In recovery, or read-only by default_transaction_read_only. */
  readonly readOnly: boolean
}

export async function readStanding(session: Session, signal: AbortSignal): Promise<Standing> {
  const isOn = async (setting: string): Promise<boolean> => (await show(session, setting, signal)) === 'on'
  const readOnly = await isOn('transaction_read_only')
  if (session.majorVersion >= 14) return { inRecovery: await isOn('in_hot_standby'), readOnly }
  if (!readOnly) return { inRecovery: false, readOnly }
  return { inRecovery: (await isOn('default_transaction_read_only')) ? null : true, readOnly }
}

/** What the server is instead of what is wanted, as a clause; null if it will do. */
export function misfit(wanted: Demand, { inRecovery, readOnly }: Standing): string | null {
  const unclear = 'the server does not show whether it is a standby, because of default_transaction_read_only'
  switch (wanted) {
    case 'any':
      return null
    case 'read-write':
      return readOnly ? 'the server is read-only' : null
    case 'read-only':
      return readOnly ? null : 'the server is not read-only'
    case 'primary':
      return inRecovery === null ? unclear : inRecovery ? 'the server is a standby' : null
    case 'standby':
      return inRecovery === null ? unclear : inRecovery ? null : 'the server is a primary'
  }
}
