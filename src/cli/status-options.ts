import { storeOptions } from './open-store.ts'

export const askOptions = ['listen', 'watch', 'json'] as const

export const statusOptions = [...askOptions, ...storeOptions] as const
