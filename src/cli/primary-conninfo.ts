/** A connection as libpq's connection string, for a standby's primary_conninfo: what differs from libpq's defaults. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Target } from '../pg/target.ts'

/** Without the password: the server's user has a password file, or gets one. */
export function primaryConninfo(target: Target): string {
  const { hosts } = target
  const addresses = hosts.map((host) => host.address ?? '').join(',')
  const parts: readonly (readonly [string, string | null])[] = [
    ['host', hosts.map((host) => host.name).join(',')],
    ['hostaddr', /^,*$/.test(addresses) ? null : addresses],
    ['port', hosts.map((host) => host.port).join(',')],
    ['user', target.user],
    ['passfile', target.passFile === join(homedir(), '.pgpass') ? null : target.passFile],
    ['sslmode', target.sslMode],
    ['sslrootcert', target.sslRootCert],
    ['sslcert', target.sslCert],
    ['sslkey', target.sslKey],
    ['target_session_attrs', target.sessionAttrs === 'any' ? null : target.sessionAttrs],
    // Ours is the receiver's, which may be named in synchronous_standby_names.
    ['application_name', target.applicationName === 'walferry' ? null : target.applicationName],
  ]
  return parts.flatMap(([name, value]) => (value === null ? [] : [`${name}=${quoted(value)}`])).join(' ')
}

function quoted(value: string): string {
  return /^[\w.,:/@+-]+$/.test(value) ? value : `'${value.replaceAll(/['\\]/g, '\\$&')}'`
}
