import { isError, systemCode, WalferryError } from '../kit/errors.ts'

/** Wraps what the disk of the spool has answered. `doing` is a verb phrase. */
export function spoolError(error: unknown, doing: string): WalferryError {
  if (isError(error)) return error
  const noSpace = systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT'
  return new WalferryError('SPOOL_FAILED', `cannot ${doing}`, {
    cause: error,
    retryable: true,
    hint: noSpace
      ? 'The disk of the spool is full. Make room; the slot keeps the WAL until then.'
      : 'Look at the disk of the spool, and at the permissions of its folder.',
  })
}
