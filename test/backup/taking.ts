/** Takes base backups in our own process, into a store in memory unless the test has another one. */
import { Archive } from '../../src/archive/archive.ts'
import { type BackupOptions, type BackupResult, takeBackup } from '../../src/backup/backup.ts'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { noMetrics } from '../../src/metrics/catalogue.ts'
import type { Log } from '../../src/kit/log.ts'
import type { Target } from '../../src/pg/target.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { targetOf } from '../pg/replication-server.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { deadline, megabyte } from '../support/postgres.ts'

/** What was logged as a warning. */
export class Warnings implements Log {
  readonly lines: string[] = []
  warn = (message: string): void => void this.lines.push(message)
  error = this.warn
  info = (): void => undefined
  debug = (): void => undefined
}

export interface Taking {
  readonly store?: ObjectStore
  readonly change?: Partial<BackupOptions>
  readonly target?: Partial<Target>
  readonly signal?: AbortSignal
}

/** With the WAL, so that no receiver is needed. */
export function take(server: Cluster, taking: Taking = {}): Promise<BackupResult> {
  const { store = new MemoryStore(), change, target, signal = deadline() } = taking
  const options = {
    target: targetOf(server.connection, target),
    archive: new Archive(store),
    codec: 'lz4' as const,
    partBytes: 4 * megabyte,
    uploadConcurrency: 4,
    label: null,
    fast: true,
    maxRate: null,
    verifyChecksums: true,
    isPermanent: false,
    withWal: true,
    waitForWalMs: 60_000,
    waitWhole: false,
    switchWal: null,
    log: new Warnings(),
    metrics: noMetrics,
    onProgress: () => undefined,
  }
  return takeBackup({ ...options, ...change }, signal)
}
