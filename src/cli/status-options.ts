import { storeOptions } from './open-store.ts'

export const askOptions = ['listen', 'listen-tls-cert', 'watch', 'json'] as const

export const statusOptions = [...askOptions, ...storeOptions] as const
