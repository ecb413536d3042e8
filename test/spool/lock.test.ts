import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { lockSpool } from '../../src/spool/lock.ts'
import { tempFolder } from '../support/temp.ts'

test('a spool has one receiver at a time', async (t) => {
  const folder = await tempFolder(t)
  const first = await lockSpool(folder)
  await assert.rejects(lockSpool(folder), { code: 'SPOOL_IN_USE', hint: /--spool/ })
  await first.close()
  const second = await lockSpool(folder)
  await second.close()
})

test('kill -9 frees the lock', async (t) => {
  const folder = await tempFolder(t)
  const module = new URL('../../src/spool/lock.js', import.meta.url).href
  const script = `import { lockSpool } from '${module}'; await lockSpool(process.argv[1]); console.log('held'); setInterval(() => {}, 1000)`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const gone = once(holder, 'exit')
  await once(holder.stdout, 'data')
  await assert.rejects(lockSpool(folder), { code: 'SPOOL_IN_USE' })
  holder.kill('SIGKILL')
  await gone
  const file = await lockSpool(folder)
  await file.close()
})

test('a folder that cannot be locked is told', async () => {
  await assert.rejects(lockSpool('/nonexistent/spool'), { code: 'SPOOL_FAILED' })
})
