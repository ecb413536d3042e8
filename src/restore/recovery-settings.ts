/**
 * The settings with which a restored server recovers, and what becomes of those that came with the backup.
 *
 * They go into postgresql.auto.conf, which wins over postgresql.conf. What the backup brought in either file must not
 * act on the copy: a second recovery target is an error to PostgreSQL, an archive_command would write into the archive
 * of the original, a synchronous standby that is not there would hang every commit, and the slot is somebody else's. A
 * copy that is promoted would also run the original's subscriptions, and take their slots on the publisher from it.
 */
import type { Settings } from '../cluster/settings.ts'

export interface SettingsAsked {
  /** In order, unquoted. */
  readonly recovery: ReadonlyArray<readonly [string, string]>
  readonly restoreCommand: string
  readonly recoveryEndCommand: string
  /** Null: none. */
  readonly primaryConninfo: string | null
  readonly keepArchiving: boolean
  readonly keepSettings: boolean
}

/** What is known of the copy. */
export interface Copy {
  /** A standby runs no subscriptions; what it runs once it is promoted is the new primary's. */
  readonly isStandby: boolean
  readonly hasSubscriptions: boolean
}

export interface SettingsMade {
  readonly settings: Settings
  /** What of the original is switched off, for the person. */
  readonly notes: readonly string[]
}

/**
 * What a recovery obeys, with the value that means "nothing". All of it is written, whatever came with the backup: the
 * server may read more, from files that are included, or from a postgresql.conf that lies elsewhere.
 */
const recoveryDefaults: Settings = {
  recovery_target: '',
  recovery_target_time: '',
  recovery_target_xid: '',
  recovery_target_name: '',
  recovery_target_lsn: '',
  recovery_target_inclusive: 'on',
  recovery_target_timeline: 'latest',
  recovery_target_action: 'pause',
  recovery_min_apply_delay: '0',
  archive_cleanup_command: '',
  recovery_end_command: '',
  primary_conninfo: '',
}

/** `conf` and `autoConf`: the texts of postgresql.conf and postgresql.auto.conf as they were in the backup. */
export function makeSettings(asked: SettingsAsked, copy: Copy, conf: string, autoConf: string): SettingsMade {
  const before = new Map([...settingsIn(conf), ...settingsIn(autoConf)])
  const notes: string[] = []
  const silenced: Record<string, string> = {}
  const silence = (name: string, value: string): void => {
    silenced[name] = value
    const old = before.get(name) ?? ''
    if (old !== '' && old !== value) {
      const shown = value === '' ? 'is empty now' : `is ${value} now`
      notes.push(`${name} was '${old}', and ${shown}; ALTER SYSTEM RESET ${name} undoes that`)
    }
  }
  if (!asked.keepArchiving) silence('archive_mode', 'off')
  if (!asked.keepSettings) {
    silence('synchronous_standby_names', '')
    silence('primary_slot_name', '')
    if (!copy.isStandby) {
      silenced['max_logical_replication_workers'] = '0'
      if (copy.hasSubscriptions) notes.push(subscriptionsOff)
    }
  }
  const named = new Set(asked.recovery.map(([name]) => name))
  const settings = {
    // The target comes behind those that mean nothing: to a server, what comes behind one is a second one, empty or not.
    ...Object.fromEntries(Object.entries(recoveryDefaults).filter(([name]) => !named.has(name))),
    ...silenced,
    restore_command: asked.restoreCommand,
    recovery_end_command: asked.recoveryEndCommand,
    ...(asked.primaryConninfo === null ? {} : { primary_conninfo: asked.primaryConninfo }),
    ...Object.fromEntries(asked.recovery),
  }
  return { settings, notes }
}

const subscriptionsOff =
  'max_logical_replication_workers is 0 now, because there are subscriptions, whose slots are used by the original; ' +
  'ALTER SYSTEM RESET max_logical_replication_workers undoes that, where this server takes its place'

/** The assignments of a settings file, `name = 'value'`, the last of each name; other files that it includes are not read. */
function settingsIn(text: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^\s*([A-Za-z_][\w.]*)(?:\s*=\s*|\s+)(?:'((?:[^'\\]|''|\\.)*)'|([^\s#']+))/.exec(line)
    if (match === null) continue
    const quoted = match[2]?.replaceAll(/''|\\'/g, "'")
    found.set((match[1] ?? '').toLowerCase(), quoted ?? match[3] ?? '')
  }
  return found
}
