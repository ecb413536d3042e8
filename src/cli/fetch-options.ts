import { storeOptions } from './open-store.ts'

export const fetchOptions = [
  ...storeOptions,
  'retry-for',
  'standby',
  'on-outage',
  'tail',
  'end-at-hole',
  'ignore-backlog',
  'log-level',
] as const
