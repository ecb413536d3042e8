import { storeOptions } from './open-store.ts'

export const fetchOptions = [...storeOptions, 'retry-for', 'standby', 'on-outage', 'log-level'] as const
