/** grafana/README.md has a runbook for each alert, the table of what fires which, and no command that there is not. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { commands } from '../../src/cli/commands.ts'
import { isOptionName } from '../../src/cli/options.ts'
import { errorCodes } from '../../src/kit/errors.ts'
import { deadline } from '../support/postgres.ts'
import { tempFolder } from '../support/temp.ts'
import { runProgram } from '../support/walferry.ts'
import { grafanaFolder, readAlerts } from './alerts-file.ts'
import { type BadDay, badDays } from './bad-days.ts'
import { without } from './prometheus-tools.ts'

const readme = readFileSync(resolve(grafanaFolder, 'README.md'), 'utf8')
const alerts = readAlerts()
const sections = new Map(
  readme.split(/^### /m).map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n'))] as const),
)

/** The codes for which the receiver is not ready. */
function codesOf({ series }: BadDay): string {
  const codes = Object.entries(series ?? {}).map(([name, samples]) =>
    samples?.startsWith('1x') === true ? /^walferry_problem\{.*code="(\w+)"/.exec(name)?.[1] : undefined,
  )
  return codes.filter((code) => code !== undefined).join(', ')
}

test('every alert names its runbook, which says what it means, what to look at and what to do', () => {
  for (const { alert, annotations } of alerts) {
    assert.equal(annotations.runbook, `grafana/README.md#${alert.toLowerCase()}`)
    const section = sections.get(alert) ?? assert.fail(`there is no runbook for ${alert}`)
    for (const part of ['It means', 'Look at', 'Do'])
      assert.match(section, new RegExp(`^\\*\\*${part}:\\*\\*\\s`, 'm'), alert)
  }
  const runbooks = [...sections.keys()].filter((title) => title.startsWith('Walferry'))
  assert.deepEqual(
    runbooks,
    alerts.map(({ alert }) => alert),
  )
})

test('the table of failures is that of the tests', () => {
  const [, table = ''] = readme.split('| what goes wrong | code | alerts |\n|---|---|---|\n')
  const rows = table.slice(0, table.indexOf('\n\n')).split('\n')
  const expected = badDays.map((day) => {
    return `| ${day.failure} | ${codesOf(day)} | ${day.alerts.length === 0 ? 'none' : day.alerts.join(', ')} |`
  })
  assert.deepEqual(rows, expected)
})

test('every alert that is named is one, and every link leads somewhere', () => {
  const names = alerts.map(({ alert }) => alert)
  for (const [name] of readme.matchAll(/\bWalferry[A-Z]\w*/g)) assert.ok(names.includes(name), name)
  for (const [, text = '', anchor = ''] of readme.matchAll(/\[(\w+)\]\(#(\w+)\)/g)) {
    assert.equal(anchor, text.toLowerCase())
  }
})

test('the examples for Prometheus are configurations of it', { skip: without('promtool') }, async (t) => {
  const examples = [...readme.matchAll(/(?:^ {4}.*\n|^\n)+/gm)].map(([block]) => block.replaceAll(/^ {4}/gm, ''))
  const configurations = examples.filter((block) => block.includes('scrape_configs:'))
  assert.equal(configurations.length, 2)
  const file = join(await tempFolder(t), 'prometheus.yml')
  for (const one of configurations) {
    // Debian builds it without Kubernetes.
    await writeFile(file, one.replace(/kubernetes_sd_configs:.*/, 'static_configs: []'))
    const check = ['check', 'config', '--syntax-only', file]
    const { code, stdout, stderr } = await runProgram('promtool', check, { signal: deadline() })
    assert.equal(code, 0, stdout + stderr)
  }
})

test('every command, option and error code is one of walferry', () => {
  const names = commands.map(({ name }) => name)
  for (const [, name = ''] of readme.matchAll(/`walferry ([a-z]+)/g)) assert.ok(names.includes(name), name)
  for (const [text, flag = ''] of readme.matchAll(/--([a-z][a-z0-9-]+)/g)) {
    // kubectl's.
    if (flag !== 'previous') assert.ok(isOptionName(flag), text)
  }
  for (const [code] of readme.matchAll(/\b[A-Z]+_[A-Z]+(?:_[A-Z]+)*\b/g)) {
    assert.ok(code in errorCodes || code === 'GAP_UNACKNOWLEDGED' || code === 'SLOT_LOST', code)
  }
})
