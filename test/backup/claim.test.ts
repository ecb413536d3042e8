import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { backupName, claimKey, manifestKey, partKey, sentinelKey } from '../../src/archive/backup-keys.ts'
import { type Claim, claimName, isGone, listUnfinished, makeClaim } from '../../src/backup/claim.ts'
import { isError } from '../../src/kit/errors.ts'
import { MemoryStore } from '../support/memory-store.ts'

type ParametersBehindKey = Parameters<MemoryStore['put']> extends [string, ...infer Rest] ? Rest : never

const { signal } = new AbortController()
const segment = '00000001000000000000000A'
const name = backupName(segment)

/** A claim of a process of this machine that has ended. */
async function ofAGoneProcess(): Promise<Claim> {
  const mine = await makeClaim(new Date(0))
  const { pid } = spawnSync('true')
  return { ...mine, process: mine.process === null ? null : { ...mine.process, pid } }
}

async function claimed(store: MemoryStore, claim: Claim): Promise<MemoryStore> {
  await claimName(store, segment, claim, { signal })
  return store
}

function refused(about: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(isError(error, 'BACKUP_TAKEN'), String(error))
    assert.match(error.message, about)
    assert.match(error.hint ?? '', /CHECKPOINT/)
    return true
  }
}

test('a name is claimed once, and the same run may ask again', async () => {
  const store = new MemoryStore()
  const mine = await makeClaim(new Date(0))
  assert.equal(await claimName(store, segment, mine, { signal }), null)
  assert.equal(await claimName(store, segment, mine, { signal }), null)
  const other = await makeClaim(new Date(1))
  await assert.rejects(claimName(store, segment, other, { signal }), refused(/may still be at it/))
  assert.deepEqual(store.keys, [claimKey(segment)])
})

test('a name with a sentinel is never claimed again, whoever wrote it', async () => {
  for (const claim of [null, await ofAGoneProcess()]) {
    const store = new MemoryStore()
    if (claim !== null) await claimed(store, claim)
    store.set(sentinelKey(name))
    const before = store.keys
    await assert.rejects(claimName(store, segment, await makeClaim(new Date()), { signal }), refused(/whole/))
    assert.deepEqual(store.keys, before)
  }
})

test('a run that comes to its end between two looks keeps its backup', async () => {
  class EndingMeanwhile extends MemoryStore {
    override async put(key: string, ...rest: ParametersBehindKey): Promise<void> {
      if (this.keys.includes(claimKey(segment))) this.set(sentinelKey(name))
      await super.put(key, ...rest)
    }
  }
  const store = await claimed(new EndingMeanwhile(), await ofAGoneProcess())
  store.set(partKey(name, 1, 'lz4'))
  await assert.rejects(claimName(store, segment, await makeClaim(new Date()), { signal }), refused(/whole/))
  assert.ok(store.keys.includes(partKey(name, 1, 'lz4')))
})

test('a name under which another program has put parts stays as it is, and unclaimed', async () => {
  const store = new MemoryStore()
  store.set(partKey(name, 1, 'zst'))
  await assert.rejects(claimName(store, segment, await makeClaim(new Date()), { signal }), refused(/part_001/))
  assert.deepEqual(store.keys, [partKey(name, 1, 'zst')])
})

test('what a killed run of this machine has left is removed, and its name taken over', async () => {
  const gone = await ofAGoneProcess()
  const store = await claimed(new MemoryStore(), gone)
  for (const key of [partKey(name, 1, 'lz4'), partKey(name, 2, 'lz4'), manifestKey(segment, 'lz4')]) store.set(key)
  store.set(partKey(backupName('00000001000000000000000B'), 1, 'lz4'))
  const mine = await makeClaim(new Date())
  assert.equal((await claimName(store, segment, mine, { signal }))?.run, gone.run)
  assert.match(Buffer.from(store.peek(claimKey(segment))).toString(), new RegExp(mine.run))
  assert.deepEqual(
    store.keys.filter((key) => key.endsWith('.lz4')),
    [partKey(backupName('00000001000000000000000B'), 1, 'lz4')],
  )
})

test('of two runs that take over what a killed one has left, one goes on', async () => {
  const store = await claimed(new MemoryStore(), await ofAGoneProcess())
  const runs = await Promise.all([makeClaim(new Date(1)), makeClaim(new Date(2))])
  const results = await Promise.allSettled(runs.map((run) => claimName(store, segment, run, { signal })))
  const winners = runs.filter((_, n) => results[n]?.status === 'fulfilled')
  assert.equal(winners.length, 1)
  assert.match(Buffer.from(store.peek(claimKey(segment))).toString(), new RegExp(winners[0]?.run ?? '-'))
})

test('a run is gone only if its process ran here, and is not here any more', async () => {
  const mine = await makeClaim(new Date())
  assert.ok(mine.process)
  const { process } = mine
  const claim = (change: Partial<typeof process>): Claim => ({ ...mine, process: { ...process, ...change } })
  assert.equal(
    isGone(claim({ pid: 4711 }), mine, () => false),
    true,
  )
  assert.equal(
    isGone(claim({ pid: 4711 }), mine, (pid) => pid === 4711),
    false,
  )
  assert.equal(
    isGone(claim({ boot: 'another start' }), mine, () => false),
    false,
    'it may be another machine',
  )
  assert.equal(
    isGone(claim({ namespace: 'pid:[1]' }), mine, () => false),
    false,
    'its numbers are not ours',
  )
  assert.equal(
    isGone({ ...mine, process: null }, mine, () => false),
    false,
  )
  assert.equal(
    isGone(claim({ pid: 4711 }), { ...mine, process: null }, () => false),
    false,
  )
  assert.equal(isGone(mine, mine), false, 'we are here')
})

test('a claim that cannot be read is respected', async () => {
  const store = new MemoryStore()
  store.set(claimKey(segment), Buffer.from('{"run":'))
  await assert.rejects(claimName(store, segment, await makeClaim(new Date()), { signal }), refused(/cannot be read/))
})

test('backups that were begun and have no end are told, and whole ones are not', async () => {
  const store = await claimed(new MemoryStore(), await makeClaim(new Date(0)))
  const whole = '00000001000000000000000B'
  await claimName(store, whole, await makeClaim(new Date(0)), { signal })
  store.set(sentinelKey(backupName(whole)))
  store.set(claimKey('00000001000000000000000C'), Buffer.from('?'))
  const found = await listUnfinished(store, { signal })
  assert.deepEqual(
    found.map((one) => [one.name, one.claim?.time ?? null]),
    [
      [name, '1970-01-01T00:00:00.000Z'],
      ['base_00000001000000000000000C', null],
    ],
  )
})
