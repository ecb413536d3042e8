/**
 * What an expression of PromQL speaks of: the metrics that it selects, with their matchers, and the labels that it groups
 * and joins by. It reads what Prometheus has found to be right; it is no judge of that.
 *
 *     sum by (le) (rate(walferry_fsync_duration_seconds_bucket{instance=~".*"}[5m]))
 *     selectors: walferry_fsync_duration_seconds_bucket, instance =~ .*    labels: le
 */

export interface Matcher {
  readonly label: string
  readonly operator: string
  readonly value: string
}

export interface Selector {
  readonly metric: string
  readonly matchers: readonly Matcher[]
}

export interface Spoken {
  readonly selectors: readonly Selector[]
  /** Those after by, without, on, ignoring, group_left and group_right. */
  readonly labels: readonly string[]
}

const token = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\[[^\]]*\]|[a-zA-Z_:][\w:]*|\d[\w.]*|[=!<>]=|=~|!~|\S/g
const listing = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'])
const words = new Set(['and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan', ...listing])

export function readExpression(text: string): Spoken {
  const tokens: readonly string[] = text.replaceAll(/#.*$/gm, '').match(token) ?? []
  const selectors: Selector[] = []
  const labels: string[] = []
  for (let at = 0; at < tokens.length; at++) {
    const word = tokens[at] ?? ''
    const next = tokens[at + 1] ?? ''
    if (listing.has(word) && next === '(') {
      const end = tokens.indexOf(')', at)
      labels.push(...tokens.slice(at + 2, end).filter((one) => one !== ','))
      at = end
    } else if (word === '{') {
      throw new Error(`a selector without the name of a metric: ${text}`)
    } else if (/^[a-zA-Z_:]/.test(word) && !words.has(word.toLowerCase()) && !isFunction(next)) {
      const end = next === '{' ? tokens.indexOf('}', at) : at
      selectors.push({ metric: word, matchers: matchersOf(tokens.slice(at + 2, end)) })
      at = end
    }
  }
  return { selectors, labels }
}

/** A function, or an aggregation such as `sum by (le) (...)`. */
function isFunction(next: string): boolean {
  return next === '(' || next === 'by' || next === 'without'
}

function matchersOf(tokens: readonly string[]): Matcher[] {
  const found: Matcher[] = []
  for (let at = 0; at < tokens.length; at += 4) {
    const [label = '', operator = '', quoted = ''] = tokens.slice(at, at + 3)
    found.push({ label, operator, value: quoted.slice(1, -1) })
  }
  return found
}
