import { storeOptions } from './open-store.ts'

export const checkOptions = ['url', 'slot', 'require-slot', 'spool', ...storeOptions, 'json'] as const
