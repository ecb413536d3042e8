/**
 * The configuration file: one mapping from option names to values, in YAML or in JSON, which is YAML, too.
 *
 *     store: s3://bucket/prefix
 *     ship-interval: 500ms
 *     loop: false
 *
 * Scalars stay the texts that were written, as if they came from a variable: `slot: 0123` is that slot, and not 83.
 * One file serves every command, so a key has to be an option of some command; null and an empty text mean "not set".
 */
import { readFile } from 'node:fs/promises'
import { describe } from '../kit/errors.ts'
import type { OptionName } from './options.ts'
import { type Given, optionOfKey, type Problem, type Reading } from './values.ts'

/** Never throws: what is wrong is among the problems. `config` says which file, and who wants it. */
export async function readConfigFile(config: Given): Promise<Reading> {
  try {
    const text = await readFile(config.text, 'utf8')
    return valuesIn(await mappingIn(text), config.text)
  } catch (error) {
    return { layer: new Map(), problems: [{ text: `${config.from}: ${config.text} cannot be read: ${reason(error)}` }] }
  }
}

/** The YAML library is loaded only where there is a file. */
async function mappingIn(text: string): Promise<Readonly<Record<string, unknown>>> {
  const { FAILSAFE_SCHEMA, loadAll, nullCoreTag } = await import('js-yaml')
  const documents = loadAll(text, { schema: FAILSAFE_SCHEMA.withTags(nullCoreTag) })
  const [found = {}] = documents
  if (documents.length > 1) throw new Error('it holds more than one document')
  if (!isMapping(found)) throw new Error('it is not a mapping from option names to values')
  return found
}

function isMapping(found: unknown): found is Readonly<Record<string, unknown>> {
  return typeof found === 'object' && found !== null && !Array.isArray(found)
}

function valuesIn(mapping: Readonly<Record<string, unknown>>, path: string): Reading {
  const layer = new Map<OptionName, Given>()
  const problems: Problem[] = []
  for (const [key, value] of Object.entries(mapping)) {
    const option = optionOfKey(key)
    const from = `${path}: ${key}`
    if (option === null) problems.push({ text: `${from} is no option` })
    else if (typeof value === 'string' && value !== '') layer.set(option, { text: value, from })
    else if (value !== null && value !== '') problems.push({ text: `${from} is not one plain value` })
  }
  return { layer, problems }
}

/** A syntax error without the lines around it, which may hold what nobody should see. */
function reason(error: unknown): string {
  if (!(error instanceof Error) || !('reason' in error) || typeof error.reason !== 'string') return describe(error)
  const line = 'mark' in error ? lineOf(error.mark) : null
  return line === null ? error.reason : `line ${line + 1}: ${error.reason}`
}

function lineOf(mark: unknown): number | null {
  return typeof mark === 'object' && mark !== null && 'line' in mark && typeof mark.line === 'number' ? mark.line : null
}
