import { systemCode, WalferryError } from '../kit/errors.ts'

const denied = new Set(['EACCES', 'EPERM', 'EROFS'])
const notAsExpected = new Set(['EEXIST', 'EISDIR', 'ELOOP', 'ENOTDIR', 'ENOTEMPTY', 'EXDEV'])
const noHardLinks = new Set(['ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'])

const hints: Readonly<Record<string, string>> = {
  EACCES: 'The account that walferry runs under needs read, write and search permission on the folder.',
  EDQUOT: 'Raise the quota of the account, or free space.',
  ENOSPC: 'Free space on the disk, or make it larger.',
  EROFS: 'The file system is mounted read-only: see the kernel log for errors of the disk, then mount it for writing.',
  EXDEV: 'The folders of the archive must lie on one file system: no mount and no link to another one inside it.',
  EPERM: 'The file system must allow hard links, and the folder must not be immutable.',
}

/**
 * What a failed file operation means to a user of the store. `doing` is a verb phrase: "write wal_005/...". Whatever
 * is no system error is given back as it is.
 */
export function directoryError(error: unknown, doing: string, root: string): unknown {
  const code = systemCode(error)
  if (error instanceof WalferryError || code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error
  const hint = noHardLinks.has(code) ? hints['EPERM'] : hints[code]
  const details = { cause: error, fields: { root, code }, ...(hint === undefined ? {} : { hint }) }
  const message = `could not ${doing} in ${root}`
  if (denied.has(code)) return new WalferryError('STORE_DENIED', message, details)
  if (notAsExpected.has(code) || noHardLinks.has(code)) return new WalferryError('STORE_FAILED', message, details)
  if (code === 'ENAMETOOLONG') return new WalferryError('BAD_INPUT', message, details)
  // ENOSPC, EIO, ESTALE, EMFILE, ETIMEDOUT and the like: they pass, or somebody mends them outside of walferry.
  return new WalferryError('STORE_UNREACHABLE', message, { ...details, retryable: true })
}
