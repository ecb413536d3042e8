import { garbageCollector } from '../../src/kit/garbage.ts'

/** Collects garbage now, so that what memory is used is what somebody holds. */
export const collectGarbage = garbageCollector('major')
