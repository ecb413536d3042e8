/** Which server is taken for which target_session_attrs (documentation of libpq, section "Parameter Key Words"). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Demand, misfit } from '../../src/pg/standing.ts'

const servers = {
  primary: { inRecovery: false, readOnly: false },
  standby: { inRecovery: true, readOnly: true },
  'a primary that is read-only by default': { inRecovery: false, readOnly: true },
  'one that does not show it': { inRecovery: null, readOnly: true },
} as const

const taken: readonly (readonly [Demand, readonly boolean[]])[] = [
  ['any', [true, true, true, true]],
  ['read-write', [true, false, false, false]],
  ['read-only', [false, true, true, true]],
  ['primary', [true, false, true, false]],
  ['standby', [false, true, false, false]],
]

for (const [wanted, answers] of taken) {
  test(`target_session_attrs=${wanted}`, () => {
    const found = Object.values(servers).map((standing) => misfit(wanted, standing) === null)
    assert.deepEqual(found, answers)
  })
}
