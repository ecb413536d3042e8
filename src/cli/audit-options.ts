import { storeOptions } from './open-store.ts'

export const listOptions = [...storeOptions, 'json'] as const
export const markOptions = [...storeOptions, 'permanent'] as const
export const acknowledgeOptions = [...storeOptions, 'all', 'json'] as const
export const deleteOptions = [...storeOptions, 'yes'] as const
