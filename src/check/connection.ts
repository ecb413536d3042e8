/** Whether the server can be reached, is one that walferry knows, and lets us replicate. */
import type { WalferryError } from '../kit/errors.ts'
import type { Target } from '../pg/target.ts'
import { type Finding, failed, failedWith, ok, skipped, warning } from './finding.ts'
import type { ServerFacts } from './server-facts.ts'
import { areSendersUsedUp } from './settings.ts'

const oldest = 13
/** The newest that walferry was tried with. */
const newest = 18

export function checkConnection({ replication, ordinary }: ServerFacts): Finding {
  const made = 'host' in replication ? replication : ordinary
  if ('error' in made) return refusal('connection', 'error' in replication ? replication.error : made.error)
  return ok('connection', `${made.host}, ${made.tlsVersion ?? 'without TLS'}`)
}

export function checkVersion({ settings }: ServerFacts): Finding {
  if (settings === null) return skipped('version', 'there is no connection')
  // Distributions put theirs behind: `18.4 (Debian 18.4-1.pgdg13+1)`.
  const version = settings.server_version.split(' ')[0] ?? ''
  const major = Number.parseInt(version, 10)
  if (major < oldest) {
    return failed(
      'version',
      `PostgreSQL ${version} is older than ${oldest}`,
      `Upgrade to PostgreSQL ${oldest} to ${newest}.`,
    )
  }
  if (major > newest) return warning('version', `PostgreSQL ${version}: walferry was tried with ${oldest} to ${newest}`)
  return ok('version', `PostgreSQL ${version}`)
}

/** The replication connection is needed; an ordinary one helps. */
export function checkPrivileges(facts: ServerFacts, target: Target): Finding {
  const { replication, ordinary, sql } = facts
  if ('error' in replication) {
    if ('error' in ordinary) return skipped('privileges', 'there is no connection')
    if (replication.error.fields['sqlstate'] === '53300' && areSendersUsedUp(facts)) {
      return skipped('privileges', 'max_wal_senders leaves none free to try it')
    }
    return refusal('privileges', replication.error)
  }
  if ('error' in ordinary) {
    return warning(
      'privileges',
      `${target.user} may replicate; an ordinary connection to the database ${target.database}, ` +
        `which tells the state of the slot, is refused: ${ordinary.error.message}`,
      `receive does without it. To let check see more, add a line for the database ${target.database} to pg_hba.conf: ` +
        `REPLICATION is enough for the role.`,
    )
  }
  if (sql?.isSuperuser === true) {
    const remedy = 'Make a role of its own: CREATE ROLE walferry LOGIN REPLICATION.'
    return warning('privileges', `${target.user} is a superuser, and REPLICATION is enough`, remedy)
  }
  return ok('privileges', `${target.user} may replicate, and ask the database ${target.database}`)
}

/** Some refusals need a longer word than the hint that an error has. */
function refusal(name: string, error: WalferryError): Finding {
  if (error.fields['sqlstate'] === '53300') {
    const remedy =
      'Raise max_wal_senders (with wal_level = replica) or max_connections, and restart the server; ' +
      'or end a connection that nobody needs.'
    return failed(name, error.message, remedy)
  }
  return failedWith(name, error)
}
