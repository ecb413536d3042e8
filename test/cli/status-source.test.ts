/** Where a status comes from, asked again and again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Archive } from '../../src/archive/archive.ts'
import { StatusSource } from '../../src/cli/status-source.ts'
import { WalferryError } from '../../src/kit/errors.ts'
import { deadline } from '../support/postgres.ts'
import { MadeArchive } from '../restore/made-archive.ts'
import { MadeWal } from '../restore/made-wal.ts'

function made(): MadeArchive {
  const archive = new MadeArchive()
  archive.identity(new MadeWal())
  return archive
}

test('asked each second, an archive is not read each second', async () => {
  const { store } = made()
  const source = new StatusSource(null, new Archive(store))
  const first = await source.ask(deadline())
  const calls = { ...store.calls }
  assert.deepEqual(await source.ask(deadline()), first)
  assert.deepEqual(store.calls, calls)
  assert.ok(calls.list > 0)
})

test('an archive that could not be read is read again, and the error says why it was asked', async () => {
  const { store } = made()
  const hint = 'Look at the store.'
  store.before = () => {
    throw new WalferryError('STORE_DENIED', 'injected', { hint })
  }
  const source = new StatusSource(null, new Archive(store))
  const message = 'no receiver is asked (--listen off), and the archive cannot be read: injected'
  await assert.rejects(source.ask(deadline()), { code: 'STORE_DENIED', message, hint })
  store.before = () => undefined
  assert.equal((await source.ask(deadline())).from, 'archive')
})
