import { readFileSync } from 'node:fs'
import * as v from 'valibot'

/** The version in package.json, which lies three folders above the compiled file, and above the bundle. */
export function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return v.parse(v.object({ version: v.string() }), JSON.parse(text)).version
}
