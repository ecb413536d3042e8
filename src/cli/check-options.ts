import { storeOptions } from './open-store.ts'
import { connectionOptions } from './receive-options.ts'

/** Those of `receive` that say where everything is. */
export const checkOptions = [...connectionOptions, 'slot', 'require-slot', 'spool', ...storeOptions, 'json'] as const
