/**
 * What `walferry list --json` prints. LSNs are written as PostgreSQL does, times are ISO 8601 in UTC, what is not known
 * is null.
 */

export interface ToldListing {
  /** Without credentials. */
  readonly store: string
  readonly backups: readonly ToldBackup[]
  readonly damaged: readonly { readonly name: string; readonly message: string }[]
  readonly windows: readonly ToldWindow[]
  readonly gaps: readonly ToldGap[]
  /** The timelines with WAL as a tree, if more than one may be the newest; else empty. */
  readonly timelines: readonly string[]
}

export interface ToldBackup {
  readonly name: string
  readonly startTime: string | null
  readonly finishTime: string | null
  readonly bytes: number
  readonly storedBytes: number
  readonly timeline: number
  readonly stopTimeline: number
  readonly startLsn: string
  readonly finishLsn: string
  readonly label: string | null
  readonly permanent: boolean
  readonly usable: boolean
  readonly standing: string
  readonly serverVersion: number
  readonly systemIdentifier: string | null
  readonly host: string
  readonly tablespaces: readonly { readonly oid: string; readonly location: string }[]
}

/** What can be restored: every moment from `from` to `lastCommit`. */
export interface ToldWindow {
  readonly timeline: number
  /** The end of the first backup. */
  readonly from: { readonly time: string; readonly lsn: string }
  readonly lastCommit: string | null
  readonly coveredUntil: string
  /** Newer WAL follows behind a gap. */
  readonly beforeGap: boolean
  /** Names, in the order in which they ended. */
  readonly backups: readonly string[]
}

export interface ToldGap {
  readonly timeline: number
  readonly from: string
  readonly to: string | null
}
