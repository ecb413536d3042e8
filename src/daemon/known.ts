/** All that a receiver knows at one moment: what its metrics, its status and its readiness are told from. */
import type { GapName } from '../archive/keys.ts'
import type { WalferryError } from '../kit/errors.ts'
import type { MetServer, ReceiverState } from '../receive/receiver.ts'
import type { Reason } from '../serve/routes.ts'
import type { SpoolSegment } from '../spool/inventory.ts'
import type { Positions } from '../spool/positions.ts'
import { plus } from '../wal/lsn.ts'
import { segmentStart } from '../wal/segment.ts'
import { lossSeconds } from './loss.ts'
import type { Restorable } from './restorable.ts'

/** Our slot, as the server last said. */
export interface SlotSeen {
  readonly walStatus: SlotStatus
  /** Infinity: without a limit. */
  readonly safeBytes: number
  readonly retainedBytes: number
  readonly askedAt: Date
}

export const slotStatuses = ['reserved', 'extended', 'unreserved', 'lost', 'missing'] as const
export type SlotStatus = (typeof slotStatuses)[number]

export interface DiskSpace {
  /** What our user may still fill. */
  readonly freeBytes: number
  readonly bytes: number
  /** Files of the spool that nobody ships. */
  readonly setAsideFiles: number
}

export interface Rate {
  readonly receivedBytesPerSecond: number
  readonly shippedBytesPerSecond: number
}

export interface BackupsSeen {
  readonly running: boolean
  /** When the newest was completed, by whomever; 'none', or null while that is not known. */
  readonly lastSuccess: Date | 'none' | null
  readonly lastFailure: Date | null
  /** As given. */
  readonly schedule: string | null
  readonly next: Date | null
}

export interface Known {
  readonly version: string
  readonly now: Date
  readonly startedAt: Date
  readonly state: ReceiverState
  readonly reasons: readonly Reason[]
  /** The server that is, or was last, streamed from. */
  readonly server: MetServer | null
  readonly positions: Positions
  readonly rate: Rate
  readonly spoolFolder: string
  /** What lies in the spool. */
  readonly segments: readonly SpoolSegment[]
  /** null while the cluster is not known; then nothing lies there. */
  readonly segmentBytes: number | null
  readonly disk: DiskSpace | null
  readonly storeUrl: string
  readonly storeProblem: WalferryError | null
  readonly uploadsInFlight: number
  readonly lastUpload: Date | null
  readonly slotName: string
  /** null where the server was not asked yet, or refuses. */
  readonly slot: SlotSeen | null
  readonly backups: BackupsSeen
  /** To which moment the archive can bring the database; null while that is not known. */
  readonly restorable: Restorable | null
  /** Those that nobody has acknowledged; null while the archive could not be asked. */
  readonly gaps: readonly GapName[] | null
}

/** Segments in the spool whose end is not shipped. */
export function unshippedSegments({ segments, segmentBytes, positions }: Known): number {
  if (segmentBytes === null) return 0
  const endOf = ({ segment, syncedBytes }: SpoolSegment): bigint =>
    plus(segmentStart(segment.segno, segmentBytes), syncedBytes)
  return segments.filter((one) => endOf(one) > positions.shipped).length
}

export function spoolBytes({ segments }: Known): number {
  return segments.reduce((sum, one) => sum + one.syncedBytes, 0)
}

/** What would be lost now, in seconds; null while it is not known. */
export function lossOf({ positions, state }: Pick<Known, 'positions' | 'state'>): number | null {
  return lossSeconds({
    isStreaming: state === 'streaming',
    hasServerSpoken: positions.hasServerSpoken,
    unshippedAgeMs: positions.unshippedAgeMs(),
    restorableAgeMs: positions.restorableAgeMs(),
    owedMs: positions.owedMs(),
    lastWordAgeMs: positions.lastWordAgeMs(),
  })
}
