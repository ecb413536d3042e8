/**
 * Settings of a server in `postgresql.auto.conf`, the file that ALTER SYSTEM writes: it is read last, and wins over
 * postgresql.conf. One line for each, `name = 'value'`, a quote doubled (documentation, section "Setting Parameters").
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode, WalferryError } from '../kit/errors.ts'
import { giveToServer } from './server-user.ts'

/** Values are written as text: `{ wal_level: 'logical', max_wal_senders: 4, fsync: false }`. */
export type Settings = Readonly<Record<string, string | number | boolean>>

/** Writes the settings into the data folder's file. Others that stand there stay. Read at the next start or reload. */
export async function writeSettings(dataFolder: string, settings: Settings): Promise<void> {
  const path = join(dataFolder, 'postgresql.auto.conf')
  const text = mergeSettings(await readIfThere(path), settings)
  const temporary = `${path}.walferry`
  await writeFile(temporary, text, { mode: 0o600 })
  await giveToServer(temporary)
  await rename(temporary, path)
}

/** The text of a settings file with these settings set. */
export function mergeSettings(text: string, settings: Settings): string {
  const names = new Set(Object.keys(settings).map((name) => name.toLowerCase()))
  const kept = text.split('\n').filter((line) => {
    const name = /^\s*([A-Za-z_][\w.]*)/.exec(line)?.[1]
    return line !== '' && (name === undefined || !names.has(name.toLowerCase()))
  })
  const added = Object.entries(settings).map(([name, value]) => `${name} = '${quoted(name, value)}'`)
  return [...kept, ...added, ''].join('\n')
}

/** `name=value` for the command line, which wins over every file. */
export function settingArguments(settings: Settings): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${textOf(value)}`])
}

function quoted(name: string, value: Settings[string]): string {
  const text = textOf(value)
  if (/[\r\n\0]/.test(text)) throw new WalferryError('BAD_INPUT', `the value of ${name} has a line break in it`)
  // The configuration file's reader takes a backslash for an escape, as C does.
  return text.replaceAll('\\', '\\\\').replaceAll("'", "''")
}

function textOf(value: Settings[string]): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value)
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return ''
    throw error
  }
}
