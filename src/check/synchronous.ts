/**
 * Whether commits wait for walferry, and then for what.
 *
 * walferry applies nothing and never reports that it did. With `synchronous_commit = remote_apply`, a commit that waits
 * for it waits for ever.
 */
import { type Finding, failed, ok, skipped } from './finding.ts'
import type { ServerFacts } from './server-facts.ts'

export function checkSynchronous({ settings, sql }: ServerFacts, applicationName: string): Finding {
  const name = 'synchronous'
  if (settings === null) return skipped(name, 'there is no connection')
  const { synchronous_standby_names: standbys, synchronous_commit: commit } = settings
  if (!isListed(standbys, applicationName)) {
    return ok(name, `${applicationName} is not in synchronous_standby_names: no commit waits for it`)
  }
  const everywhere = commit === 'remote_apply' ? ['the server'] : []
  const waiting = [...everywhere, ...(sql?.remoteApply ?? [])]
  if (waiting.length === 0) {
    return ok(name, `${applicationName} is in synchronous_standby_names, with synchronous_commit = ${commit}`)
  }
  return failed(
    name,
    `synchronous_commit = remote_apply (${waiting.join(', ')}), and ${applicationName} is in synchronous_standby_names: ` +
      `walferry never applies WAL, so commits that wait for it never end`,
    `Set synchronous_commit = on there, or take ${applicationName} out of synchronous_standby_names ("${standbys}").`,
  )
}

/**
 * Whether a standby of that application_name may be chosen (documentation, "synchronous_standby_names"):
 * `FIRST 2 (a, "b c")`, `ANY 1 (*)`, `2 (a, b)`, `a, b`. Names are compared without regard to case.
 */
export function isListed(standbys: string, applicationName: string): boolean {
  const inner = /^\s*(?:(?:first|any)\s+)?\d+\s*\((.*)\)\s*$/is.exec(standbys)?.[1] ?? standbys
  for (const [whole, quoted] of inner.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)) {
    const name = quoted?.replaceAll('""', '"') ?? whole
    // Quoted or not, as src/backend/replication/syncrep_scanner.l has it.
    if (name === '*' || name.toLowerCase() === applicationName.toLowerCase()) return true
  }
  return false
}
