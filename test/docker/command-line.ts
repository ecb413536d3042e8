/** What a manifest would start: read as walferry itself reads it, by its own option table. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadAll } from 'js-yaml'
import { commands } from '../../src/cli/commands.ts'
import { gather, readConfig } from '../../src/cli/config.ts'
import { checkTarget } from '../../src/cli/connection.ts'
import { type Config, optionNames, type OptionName } from '../../src/cli/options.ts'
import { unknownVariables, type Variables } from '../../src/cli/values.ts'

/** The folder docker/ of the checkout that this build belongs to. */
export const root = join(import.meta.dirname, '../../..')

export function readDocker(path: string): string {
  return readFileSync(join(root, 'docker', path), 'utf8')
}

export function documents(yaml: string): unknown[] {
  return loadAll(yaml)
}

/**
 * The configuration that a command line and its variables give. Fails for a command, an option, a variable, a key or a
 * value that walferry would refuse, or warn of.
 */
export async function configured(line: readonly string[], env: Variables): Promise<Config<OptionName>> {
  const [name, ...args] = line
  const command = commands.find((one) => one.name === name)
  assert.ok(command, `there is no command ${name}`)
  assert.deepEqual(unknownVariables(env), [])
  const sources = await gather(command.options, args, env)
  const target = checkTarget(sources, env)
  assert.ok('value' in target, 'problems' in target ? target.problems.map(({ text }) => text).join('\n') : '')
  const config = readConfig(command.options, sources)
  // What stands in the file or in a variable for another command is looked at as well.
  readConfig(
    optionNames.filter(
      (option) => !command.options.includes(option) && sources.layers.some((layer) => layer.has(option)),
    ),
    sources,
  )
  return config
}
