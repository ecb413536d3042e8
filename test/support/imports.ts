/**
 * Finds what a TypeScript source imports, without a compiler: comments are blanked, and the forms of an import are
 * looked for in what is left. Reads what our formatter leaves (a statement begins on its own line); not a parser.
 */

export type ImportKind =
  /** `import { a } from 'x'`, `import 'x'`, `export { a } from 'x'`: loaded together with the file. */
  | 'static'
  /** `import type { A } from 'x'`, `export type { A } from 'x'`: gone at run time. */
  | 'type'
  /** `import('x')`: loaded when it is called (or a type, `import('x').A`). */
  | 'dynamic'

export interface Import {
  readonly kind: ImportKind
  /** What stands between the quotes; null for an import() of something that is computed. */
  readonly specifier: string | null
  /** `export * from 'x'`. */
  readonly exportsAll: boolean
}

const commentOrString = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g
/** Ends with `from`, or with the keyword itself (`import 'x'`); never runs into the next statement. */
const statement = /^[ \t]*(import|export)\b((?:(?!\n[ \t]*(?:import|export)\b)[^'"(=])*?\bfrom)?\s*(['"])([^'"\n]+)\3/gm
const call = /\bimport\s*\(\s*(?:(['"])([^'"\n]+)\1\s*[,)])?/g

/** Every import of a source: the statements, then the calls. */
export function importsOf(source: string): Import[] {
  const code = source.replace(commentOrString, (text) => (text.startsWith('/') ? text.replace(/[^\n]/g, ' ') : text))
  const found: Import[] = []
  for (const [, keyword, clause = '', , specifier = ''] of code.matchAll(statement)) {
    // `import type from 'x'` imports a value of that name.
    const kind = /^\s*type\b(?!\s*(?:,|from$))/.test(clause) ? 'type' : 'static'
    found.push({ kind, specifier, exportsAll: keyword === 'export' && /^\s*(?:type\s*)?\*/.test(clause) })
  }
  for (const [, , specifier] of code.matchAll(call)) {
    found.push({ kind: 'dynamic', specifier: specifier ?? null, exportsAll: false })
  }
  return found
}
