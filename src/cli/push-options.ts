import { storeOptions } from './open-store.ts'

export const pushOptions = [...storeOptions, 'compression', 'log-level'] as const
