import assert from 'node:assert/strict'
import { test } from 'node:test'
import { commands } from '../../src/cli/commands.ts'
import { helpFor } from '../../src/cli/help.ts'
import { entryOf, optionNames } from '../../src/cli/options.ts'

for (const command of commands) {
  test(`the help of ${command.name} has every option with its flags, its unit and its default, in its group`, () => {
    const help = helpFor(command, commands, 100)
    assert.ok(help.includes(`Usage: ${['walferry', command.name, ...command.operands].join(' ')} `))
    for (const name of ['config', ...command.options] as const) {
      const { group, fallback, required, alias, offAlias, longAlias, boolean, value } = entryOf(name)
      const section = help.split('\n\n').find((part) => part.startsWith(`${group}:\n`)) ?? ''
      const own = section
        .split(/\n {2}(?=-)/)
        .filter((part) => new RegExp(`^ *(?:-\\w, )*--(?:\\[no-\\])?${name}[, \\n]`).test(part))
      assert.equal(own.length, 1, `--${name} stands once in ${group}:\n${section}`)
      const text = (own[0] ?? '').replaceAll(/\s+/g, ' ')
      for (const letter of [alias, offAlias]) assert.ok(letter === undefined || text.includes(`-${letter}, `), text)
      assert.ok(longAlias === undefined || text.includes(`--${longAlias} `), text)
      assert.ok(boolean === true || text.includes(` ${value ?? 'VALUE'} `), text)
      const isRequired = required === true && command.optional?.includes(name) !== true
      assert.equal(text.includes('(required)'), isRequired, text)
      assert.equal(text.includes(`(default: ${fallback})`), fallback !== undefined, text)
    }
    assert.match(help, /A DURATION is 500ms, 90s, 2m or 1h; a bare number is seconds\./)
  })
}

test('every option of the table belongs to a command', () => {
  const used = new Set(['config', ...commands.flatMap((one) => one.options)])
  assert.deepEqual(
    optionNames.filter((name) => !used.has(name)),
    [],
  )
})

test('the help fits the terminal, and stays readable where that is very narrow or wide', () => {
  for (const [columns, widest] of [
    [40, 80],
    [90, 90],
    [300, 110],
  ] as const) {
    for (const command of [null, ...commands]) {
      const lines = helpFor(command, commands, columns).split('\n')
      for (const line of lines.filter((one) => !one.startsWith('walferry'))) assert.ok(line.length <= widest, line)
    }
  }
})
