import { storeOptions } from './open-store.ts'
import { connectionOptions } from './receive-options.ts'

export const backupOptions = [
  ...connectionOptions,
  ...storeOptions,
  'compression',
  'upload-concurrency',
  'part-size',
  'label',
  'fast',
  'spread',
  'max-rate',
  'permanent',
  'verify-checksums',
  'with-wal',
  'wait-for-wal',
  'wait-whole',
  'switch-wal',
  'json',
  'log-level',
  'verbose',
  'log-format',
] as const
