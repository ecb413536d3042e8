/** promtool and prometheus, where the machine has them (Debian: the package `prometheus`). */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The reason to skip a test that needs these programs, for node:test; false where all are there. */
export function without(...names: readonly ('promtool' | 'prometheus')[]): string | false {
  const missing = names.filter((name) => !isThere(name))
  return missing.length === 0
    ? false
    : `this machine has no ${missing.join(' and no ')} (Debian: apt install prometheus)`
}

function isThere(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
