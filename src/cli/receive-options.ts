import { storeOptions } from './open-store.ts'

export const connectionOptions = ['url', 'host', 'port', 'username', 'password'] as const

export const receiveOptions = [
  ...connectionOptions,
  'status-interval',
  'synchronous',
  'loop',
  'endpos',
  'ack',
  'ack-store-timeout',
  'on-gap',
  'slot',
  'require-slot',
  'create-slot',
  'if-not-exists',
  'drop-slot',
  'spool',
  ...storeOptions,
  'ship-interval',
  'compression',
  'upload-concurrency',
  'backup-schedule',
  'part-size',
  'label',
  'fast',
  'max-rate',
  'verify-checksums',
  'wait-for-wal',
  'drain-timeout',
  'listen',
  'listen-tls-cert',
  'listen-tls-key',
  'log-level',
  'verbose',
  'log-format',
] as const

/** What counts for --create-slot and --drop-slot, which need neither spool nor store. */
export const slotActionOptions = [
  ...connectionOptions,
  'slot',
  'create-slot',
  'if-not-exists',
  'drop-slot',
  'log-level',
  'verbose',
  'log-format',
] as const
