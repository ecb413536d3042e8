/**
 * What a server's refusal means to us. Matched by SQLSTATE; where PostgreSQL gives no code of its own, by the text, in
 * this one place. Samples of the texts, alike from 13 to 18:
 *
 *     requested WAL segment 000000010000000000000003 has already been removed      58P01, in older releases XX000
 *     replication slot "walferry" is active for PID 4711                           55006
 *     can no longer access replication slot "walferry"                             55000 (18; before, WAL is removed)
 */
import { describe, isError, systemCode, WalferryError } from '../kit/errors.ts'

/** Wraps what pg rejected with. `doing` is a verb phrase, `read the slot "walferry"`. */
export function serverError(error: unknown, doing: string): WalferryError {
  if (isError(error)) return error
  const message = describe(error)
  const state = sqlState(error)
  const text = `cannot ${doing}: ${message}`
  const details = { cause: error, fields: { sqlstate: state, detail: detailOf(error) } }
  if (state === undefined && isTlsRefusal(error)) {
    const hint =
      "Check sslmode and sslrootcert, the name in the server's certificate, and whether the server has ssl = on."
    return new WalferryError('PG_REFUSED', text, { ...details, hint })
  }
  if (state === undefined) {
    return new WalferryError('PG_CONNECTION_LOST', text, { ...details, retryable: true, ...connectionHint(error) })
  }
  if (/requested WAL segment [0-9A-F]{24} has already been removed/.test(message)) {
    return new WalferryError('WAL_REMOVED', text, details)
  }
  if (state === '55006') {
    return new WalferryError('SLOT_IN_USE', text, {
      ...details,
      retryable: true,
      hint: 'One receiver at a time can use a slot. This one goes on as soon as the other stops.',
    })
  }
  // 57P01 admin_shutdown, 57P02 crash_shutdown, 57P03 cannot_connect_now, 53300 too_many_connections.
  if (state.startsWith('57P') || state === '53300') {
    return new WalferryError('PG_CONNECTION_LOST', text, { ...details, retryable: true })
  }
  return new WalferryError('PG_REFUSED', text, { ...details, ...refusalHint(state) })
}

function sqlState(error: unknown): string | undefined {
  const code = systemCode(error)
  return code !== undefined && error instanceof Error && 'severity' in error ? code : undefined
}

function detailOf(error: unknown): string | undefined {
  return error instanceof Error && 'detail' in error && typeof error.detail === 'string' ? error.detail : undefined
}

/** A server that takes no TLS, in pg's words. */
export function isWithoutTls(error: unknown): boolean {
  return /does not support SSL/.test(describe(error))
}

/** What no waiting mends: a certificate that is not accepted (Node.js' codes), or a server without TLS. */
function isTlsRefusal(error: unknown): boolean {
  const code = systemCode(error) ?? ''
  return /^(ERR_TLS_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/.test(code) || isWithoutTls(error)
}

function connectionHint(error: unknown): { hint?: string } {
  switch (systemCode(error)) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return { hint: 'Is the server running there, and does it listen on that address (listen_addresses)?' }
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return { hint: 'The host name could not be resolved.' }
    default:
      return {}
  }
}

function refusalHint(state: string): { hint?: string } {
  switch (state) {
    case '28P01':
      return { hint: 'Set PGPASSWORD, or PGPASSFILE with a line for the database "replication".' }
    case '28000':
      return { hint: 'pg_hba.conf needs a line for the database "replication", this user and this address.' }
    case '42501':
      return { hint: 'Give the role REPLICATION: ALTER ROLE ... REPLICATION.' }
    case '55000':
      return { hint: 'The slot was invalidated (max_slot_wal_keep_size). Look whether its WAL is gone, then drop it.' }
    case '53400':
      return { hint: 'Raise max_replication_slots, or drop a slot that nobody uses.' }
    default:
      return {}
  }
}
