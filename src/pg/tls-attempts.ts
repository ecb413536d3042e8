/**
 * What an sslmode means (documentation, section "SSL Support" of libpq), as the ways to try, in order: `prefer` and
 * `allow` are two of them, and `require` verifies the authority where a root certificate is given.
 *
 * pg gets these ways alone, because it reads PGSSLMODE itself, with another meaning than libpq.
 */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { systemCode, WalferryError } from '../kit/errors.ts'
import { type Host, homeFolder, type Target } from './target.ts'

/** One way to try: plain text (null), or TLS with these options. */
export type TlsAttempt = ConnectionOptions | null

/** Throws BAD_INPUT for files of certificates that cannot be read. */
export function tlsAttempts(target: Target, host: Host): TlsAttempt[] {
  if (host.name.startsWith('/') || target.sslMode === 'disable') return [null]
  const common = { ...named(host), ...clientCertificate(target) }
  const unverified = { rejectUnauthorized: false }
  const anyName = { checkServerIdentity: () => undefined }
  switch (target.sslMode) {
    case 'allow':
      return [null, { ...unverified, ...common }]
    case 'prefer':
      return [{ ...unverified, ...common }, null]
    case 'require': {
      const ca = rootCertificate(target, false)
      return [{ ...(ca === undefined ? unverified : { ca, ...anyName }), ...common }]
    }
    case 'verify-ca':
      return [{ ...authority(target), ...anyName, ...common }]
    case 'verify-full':
      return [{ ...authority(target), ...common }]
  }
}

/** pg knows where it connects to; if that is a hostaddr, the certificate is still to be one for the name. */
function named({ name, address }: Host): ConnectionOptions {
  if (address === null) return {}
  return isIP(name) === 0 ? { host: name, servername: name } : { host: name }
}

/** `system` means the authorities that Node.js trusts. */
function authority(target: Target): ConnectionOptions {
  if (target.sslRootCert === 'system') return { rejectUnauthorized: true }
  const ca = rootCertificate(target, true)
  return ca === undefined ? { rejectUnauthorized: true } : { ca, rejectUnauthorized: true }
}

function rootCertificate(target: Target, needed: boolean): Buffer | undefined {
  if (target.sslRootCert !== null && target.sslRootCert !== 'system') return readFile(target.sslRootCert, 'sslrootcert')
  const path = inHome('root.crt')
  const found = readIfThere(path, 'sslrootcert')
  if (found !== undefined || !needed) return found
  throw new WalferryError('BAD_INPUT', `sslmode=${target.sslMode} needs a root certificate, and ${path} is not there`, {
    hint: 'Set sslrootcert to its path, or to "system".',
  })
}

/** A certificate that is named has to be there; that in the home folder is shown if it is there. */
function clientCertificate(target: Target): ConnectionOptions {
  const cert =
    target.sslCert === null ? readIfThere(inHome('postgresql.crt'), 'sslcert') : readFile(target.sslCert, 'sslcert')
  return cert === undefined ? {} : { cert, key: readFile(target.sslKey ?? inHome('postgresql.key'), 'sslkey') }
}

function inHome(name: string): string {
  return join(homeFolder(), '.postgresql', name)
}

function readIfThere(path: string, name: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw unreadable(path, name, error)
  }
}

function readFile(path: string, name: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw unreadable(path, name, error)
  }
}

function unreadable(path: string, name: string, cause: unknown): WalferryError {
  return new WalferryError('BAD_INPUT', `the file of ${name}, ${path}, cannot be read`, { cause })
}
