import { storeOptions } from './open-store.ts'
import { connectionOptions } from './receive-options.ts'

export const restoreOptions = [
  ...storeOptions,
  'backup',
  'target',
  'target-time',
  'target-lsn',
  'target-xid',
  'target-name',
  'target-inclusive',
  'target-timeline',
  'target-action',
  'standby',
  ...connectionOptions,
  'tablespace-mapping',
  'keep-archiving',
  'keep-settings',
  'force',
  'download-concurrency',
  'retry-for',
  'log-level',
  'json',
] as const
