/**
 * Tells findings to a person, or to a program.
 *
 *     ok       connection  db.example:5432, TLSv1.3
 *     failed   wal_level   minimal: this WAL is not enough to recover from
 *                          Set wal_level = replica, and restart the server.
 *
 *     {"ok":false,"checks":[{"name":"connection","state":"ok","what":"..."},{...,"remedy":"..."}]}
 */
import type { Finding } from './finding.ts'

/** True if nothing failed: warnings do not count. */
export function isPassed(findings: readonly Finding[]): boolean {
  return findings.every(({ state }) => state !== 'failed')
}

export function tellText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length))
  const indent = ' '.repeat('skipped'.length + width + 4)
  return findings
    .map(({ name, state, what, remedy }) => {
      const line = `${state.padEnd('skipped'.length)}  ${name.padEnd(width)}  ${oneLine(what)}\n`
      return remedy === undefined ? line : `${line}${indent}${oneLine(remedy)}\n`
    })
    .join('')
}

export function tellJson(findings: readonly Finding[]): string {
  return `${JSON.stringify({ ok: isPassed(findings), checks: findings }, null, 2)}\n`
}

/** What a server or a store has said may have line breaks in it. */
function oneLine(text: string): string {
  return text.replaceAll(/\s*[\r\n]+\s*/g, ' ')
}
