/** What a restore is asked for, and what comes of that: the types that its two halves share. */
import type { Backup } from '../archive/backups.ts'
import type { Lsn } from '../wal/lsn.ts'

/** What a person asks for. */
export interface RestoreRequest {
  /** A backup's name; null: the one that suits the target. */
  readonly backup: string | null
  /** Null: as far as the archive reaches. */
  readonly target: RecoveryTarget | null
  readonly inclusive: boolean
  readonly timeline: number | 'latest'
  readonly action: 'pause' | 'promote' | 'shutdown'
  readonly standby: boolean
}

export type RecoveryTarget =
  /** `text` is what was written, with the microseconds that a Date has no room for. */
  | { readonly kind: 'time'; readonly time: Date; readonly text: string }
  | { readonly kind: 'lsn'; readonly lsn: Lsn }
  | { readonly kind: 'xid'; readonly xid: string }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'immediate' }

export interface RestorePlan {
  readonly backup: Backup
  /** Recovery settings but restore_command, in order: name and value, unquoted. */
  readonly settings: ReadonlyArray<readonly [string, string]>
  /** Sentences for the person: what was changed about the request, and why. */
  readonly notes: readonly string[]
}
