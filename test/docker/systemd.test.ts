/** docker/systemd/walferry@.service, as systemd-analyze sees it: no systemd runs here. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parseDurationMs } from '../../src/cli/option-values.ts'
import { program } from '../support/walferry.ts'
import { tempFolder } from '../support/temp.ts'
import { configured, readDocker } from './command-line.ts'

const unit = readDocker('systemd/walferry@.service')

/** All values of a directive, in order. */
function valuesOf(directive: string): string[] {
  return [...unit.matchAll(new RegExp(`^${directive}=(.*)$`, 'gm'))].map((match) => match[1] ?? '')
}

test('the command line is one that walferry takes', async (t) => {
  const folder = await tempFolder(t)
  writeFileSync(join(folder, 'config'), 'url: postgres://walferry@db.example\nstore: s3://bucket/prefix\n')
  const [start = ''] = valuesOf('ExecStart')
  const [name, ...line] = start
    .replaceAll('${CREDENTIALS_DIRECTORY}', folder)
    .replaceAll('%S', '/var/lib')
    .replaceAll('%i', 'main')
    .split(' ')
  assert.equal(name, 'walferry')
  const config = await configured(line, {})
  const [state = ''] = valuesOf('StateDirectory')
  assert.equal(config.spool, `/var/lib/${state.replace('%i', 'main')}`)
  const stopMs = parseDurationMs(valuesOf('TimeoutStopSec')[0] ?? '0')
  assert.ok(stopMs > config['drain-timeout'], `killed after ${stopMs} ms, while it drains`)
})

test('whoever names a credential has loaded it', () => {
  const loaded = valuesOf('LoadCredential').map((value) => value.split(':')[0])
  const named = [...unit.matchAll(/^[^#\n]*(?:\$\{CREDENTIALS_DIRECTORY\}|%d)\/(\w+)/gm)].map((match) => match[1])
  assert.deepEqual(new Set(named), new Set(loaded))
})

describe('systemd-analyze', () => {
  const found = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' })
  const version = Number(/^systemd (\d+)/.exec(found.stdout ?? '')?.[1] ?? 0)
  const skip = version >= 250 ? false : `systemd-analyze of systemd 250 or later is not there (found: ${version})`

  test('finds no fault in the unit, and little that a break-in could use', { skip }, async (t) => {
    const folder = await tempFolder(t)
    const path = join(folder, 'walferry@.service')
    // It looks for the program as it will be started, and walferry is not installed here.
    writeFileSync(path, unit.replace('ExecStart=walferry ', `ExecStart=${program('walferry')} `))
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' })
    assert.deepEqual([verified.status, verified.stderr], [0, ''])
    const score = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=15', path], {
      encoding: 'utf8',
    })
    assert.equal(score.status, 0, score.stdout)
  })
})
