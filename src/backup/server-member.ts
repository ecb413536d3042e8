/**
 * The members of the tar archives that PostgreSQL sends (src/port/tar.c, tarCreateHeader): files, links and folders, each
 * under a name of up to 99 bytes. A longer one makes PostgreSQL refuse the backup, so its archives have no extended headers,
 * and no name in two parts.
 */
import { readHeader } from '../archive/tar-header.ts'
import { WalferryError } from '../kit/errors.ts'

export interface Member {
  readonly name: string
  /** Bytes of its content, which is filled up to whole blocks. */
  readonly bytes: number
}

const fileType = '0'
const linkType = '2'
const folderType = '5'

/** Null for a block of zeros. Throws PG_PROTOCOL for what PostgreSQL does not write. */
export function readMember(block: Buffer): Member | null {
  const header = readHeader(block, strange)
  if (header === null) return null
  const { name, prefix, type, bytes } = header
  if (![fileType, linkType, folderType].includes(type)) throw strange(`a member of type ${JSON.stringify(type)}`)
  if (prefix !== '') throw strange('a name in two parts')
  const parts = name.replace(/\/$/, '').split('/')
  if (parts.some((part) => part === '' || part === '..')) throw strange(`a member named ${JSON.stringify(name)}`)
  // The server sends what lies in its folder, as it is; but a name that is no text could not be restored.
  if (name.includes('\uFFFD')) throw notText(name)
  return { name, bytes: type === fileType ? bytes : 0 }
}

function notText(called: string): WalferryError {
  const message = `the server has a file whose name is not UTF-8: ${JSON.stringify(called)}`
  return new WalferryError('PG_PROTOCOL', message, {
    hint: 'PostgreSQL makes no such file: rename it, or move it out of the data folder, and take the backup again.',
  })
}

export function strange(what: string): WalferryError {
  return new WalferryError('PG_PROTOCOL', `the tar archive that the server sends has ${what}`)
}
