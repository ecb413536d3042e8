/**
 * Which server, out of all that can name it. As in libpq, each fills up what those before it leave open:
 *
 *     --url  >  --host, --port, --username  >  PGHOST, PGPORT, PGUSER and the other PG variables  >  libpq's defaults
 */
import { isError, type WalferryError } from '../kit/errors.ts'
import { parseTarget, type Target } from '../pg/target.ts'
import type { Checked } from './config.ts'
import type { OptionName } from './options.ts'
import { givenFor, type Problem, type Sources, type Variables } from './values.ts'

/** Something that says a part of the connection. `variable`: what it stands for; null: it is the URL. */
interface Part {
  readonly from: string
  readonly text: string
  readonly variable: string | null
}

const standsFor: readonly (readonly [OptionName, string])[] = [
  ['host', 'PGHOST'],
  ['port', 'PGPORT'],
  ['username', 'PGUSER'],
]

/**
 * A fault is told with its origin: the part that has the same fault on its own. Faults that parts have only together
 * (sslmode and sslrootcert) are told with all of them.
 */
export function checkTarget(sources: Sources, env: Variables): Checked<Target> {
  const problems: Problem[] = []
  let parts = partsOf(sources, env)
  for (;;) {
    const tried = tryParts(parts)
    if ('target' in tried) return problems.length === 0 ? { value: tried.target } : { problems }
    const culprit = parts.find((part) => {
      const alone = tryParts([part])
      return 'error' in alone && alone.error.message === tried.error.message
    })
    const origin = culprit?.from ?? parts.map((part) => part.from).join(', ')
    problems.push({ text: `${origin}: ${tried.error.message}${danger(tried.error, origin)}`, hint: tried.error.hint })
    if (culprit === undefined) return { problems }
    parts = parts.filter((part) => part !== culprit)
  }
}

/** Why a password is refused there: PGPASSWORD may hold one, so a variable or a file as such is no danger. */
function danger(error: WalferryError, origin: string): string {
  if (error.fields['parameter'] !== 'password') return ''
  return origin.startsWith('-')
    ? ', which every user of this machine can read in the process list'
    : ', and is often shown: its place is a password file, or a variable of its own'
}

function partsOf(sources: Sources, env: Variables): Part[] {
  const parts: Part[] = []
  const url = givenFor('url', sources)
  if (url !== null) parts.push({ ...url, variable: null })
  for (const [option, variable] of standsFor) {
    const given = givenFor(option, sources)
    if (given !== null) parts.push({ ...given, variable })
  }
  const taken = new Set(parts.map((part) => part.variable))
  for (const [name, text = ''] of Object.entries(env)) {
    if (/^PG[A-Z]/.test(name) && !taken.has(name) && text !== '') parts.push({ from: name, text, variable: name })
  }
  return parts
}

function tryParts(parts: readonly Part[]): { readonly target: Target } | { readonly error: WalferryError } {
  const url = parts.find((part) => part.variable === null)?.text
  const variables = parts.flatMap(({ variable, text }) => (variable === null ? [] : [[variable, text]]))
  try {
    return { target: parseTarget(url, Object.fromEntries(variables)) }
  } catch (error) {
    if (isError(error, 'BAD_INPUT')) return { error }
    throw error
  }
}
