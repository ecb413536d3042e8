/** `walferry check` as a person or a program runs it: what it prints, and its exit code. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { identityKey } from '../../src/archive/keys.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { deadline, megabyte, testVersions, withCluster } from '../support/postgres.ts'
import { runHere } from '../support/run-here.ts'
import { startS3Server } from '../support/s3-server.ts'
import { tempFolder } from '../support/temp.ts'
import { program, startProgram, startReceive } from '../support/walferry.ts'

const url = 'postgres://keeper@127.0.0.1:1/?sslmode=disable'
const password = 'hunter2'

test('a failure is told in its line, with its remedy below, and the exit code is 1', async (t) => {
  const folder = await tempFolder(t)
  const args = ['check', '--url', url, '--store', folder, '--spool', join(folder, 'spool')]
  const ended = await runHere(args, { env: { PGPASSWORD: password } })
  assert.deepEqual([ended.code, ended.stderr], [1, ''])
  assert.match(ended.stdout, /^failed {3}connection +cannot connect to 127\.0\.0\.1:1: .*ECONNREFUSED.*\n {15,}Is the/m)
  assert.match(ended.stdout, /^skipped {2}version +there is no connection\nskipped {2}privileges/m)
  assert.match(ended.stdout, /^ok {7}store condition +\S/m)
  assert.ok(!ended.stdout.includes(password))
})

test('--json tells the same to a program', async (t) => {
  const folder = await tempFolder(t)
  const args = ['check', '--json', '--url', url, '--store', join(folder, 'none'), '--spool', join(folder, 'spool')]
  const ended = await runHere(args)
  assert.deepEqual([ended.code, ended.stderr], [1, ''])
  const told: unknown = JSON.parse(ended.stdout)
  assert.ok(typeof told === 'object' && told !== null && 'ok' in told && 'checks' in told)
  assert.equal(told.ok, false)
  assert.ok(Array.isArray(told.checks))
  const states = new Map(told.checks.map(({ name, state }: { name: string; state: string }) => [name, state]))
  assert.equal(states.get('connection'), 'failed')
  assert.equal(states.get('store write'), 'failed')
  assert.equal(states.get('spool'), 'ok')
  for (const check of told.checks) {
    const keys = Object.keys(check).toSorted()
    assert.deepEqual(keys, 'remedy' in check ? ['name', 'remedy', 'state', 'what'] : ['name', 'state', 'what'])
  }
})

test('a check that is asked to end leaves nothing in the store, and is answered with 1', async (t) => {
  const folder = await tempFolder(t)
  const s3 = await startS3Server()
  t.after(() => s3.stop())
  s3.inject({ kind: 'noAnswer', how: 'stall' }, (request) => request.operation === 'GetObject')
  const begun = s3.arrival((request) => request.operation === 'GetObject' && request.key.includes('check-'))
  const store = ['--store', `s3://${s3.bucket}/p`, '--s3-endpoint', s3.endpoint]
  const args = ['check', '--url', url, '--spool', join(folder, 'spool'), ...store]
  const check = startProgram(program('walferry'), args, { env: s3.environment })
  t.after(() => check.kill())
  await begun
  assert.equal(s3.objects.keys().length, 1, 'there is something to delete')
  check.sendToAll('SIGTERM')
  assert.deepEqual(await check.exit, { code: 1, signal: null })
  assert.match(check.stderr, /^error: stopped by SIGTERM/)
  assert.deepEqual([...s3.objects.keys()], [])
})

const newest = (await testVersions()).at(-1)
if (newest !== undefined) {
  test('warnings alone end with exit code 0, before receive has ever run and while it runs', async (t) => {
    await withCluster({ version: newest, segmentBytes: megabyte }, async ({ connection }) => {
      const store = await tempFolder(t)
      const spool = join(await tempFolder(t), 'spool')
      const conninfo = `host=${connection.host} port=${connection.port} user=postgres sslmode=disable`
      const args = ['check', '--url', conninfo, '--store', store, '--spool', spool]
      const check = async (): Promise<string> => {
        const { code, stdout, stderr } = await runHere(args)
        assert.deepEqual([code, stderr], [0, ''], stdout)
        assert.match(stdout, /^warning {2}privileges .*superuser/m)
        assert.doesNotMatch(stdout, /^(failed|skipped)/m)
        return stdout
      }
      const before = await check()
      assert.match(before, /^ok {7}slot .*receive creates it\n/m)
      assert.match(before, /^ok {7}spool .*receive creates it\n/m)
      assert.match(before, /^ok {7}identity .*nobody's yet/m)

      const receive = startReceive(t, { server: connection, store, spool })
      await receive.waitForReady(deadline())
      // The archive is claimed by then, or soon.
      await receive.waitUntil(
        async () => (await new DirectoryStore(store).head(identityKey, { signal: deadline() })) !== null,
        deadline(),
      )
      const meanwhile = await check()
      assert.match(meanwhile, /^ok {7}slot .*a receiver streams from it/m)
      assert.match(meanwhile, /^ok {7}spool .*a receiver is running with it\n/m)
      assert.match(meanwhile, /^ok {7}identity .*the archive is this cluster's\n/m)
      assert.ok((await receive.readyz(deadline())).ready)
      assert.deepEqual(
        (await readdir(join(store, 'walferry_001'))).filter((name) => name.startsWith('check-')),
        [],
      )
      assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null })
    })
  })
}
