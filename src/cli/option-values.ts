/** How the values of options are written: durations, sizes, addresses. Each reader throws for what is none. */
import * as v from 'valibot'

/** A value that a person writes: how it reads is said in the error, with `hint` as an example. */
export function parsed<T>(read: (text: string) => T, hint: string) {
  return v.pipe(
    v.string(),
    v.rawTransform(({ dataset, addIssue, NEVER }): T => {
      try {
        return read(dataset.value)
      } catch {
        addIssue({ message: hint })
        return NEVER
      }
    }),
  )
}

/** The longest that a timer of Node.js can wait, 24.8 days; anything longer would fire at once. */
const longestMs = 2 ** 31 - 1
const durationUnitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** `1s`, `500ms`, `2m`, `1.5` (seconds) -> milliseconds. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text.trim())
  const unitMs = durationUnitsMs[match?.[2] ?? 's']
  if (match === null || unitMs === undefined) throw new Error('not a duration')
  const ms = Number(match[1]) * unitMs
  if (ms > longestMs) throw new Error('too long')
  return ms
}

interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** `127.0.0.1:9868`, `[::1]:9868`, `:9868` (loopback); `off` -> null. */
export function parseListen(text: string): ListenAddress | null {
  if (text === 'off') return null
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) throw new Error('not an address')
  const host = match[1] ?? match[2] ?? ''
  return { host: host === '' ? '127.0.0.1' : host, port }
}

export function parseBoolean(text: string): boolean {
  const word = text.toLowerCase()
  if (['true', 'yes', 'on', '1'].includes(word)) return true
  if (['false', 'no', 'off', '0'].includes(word)) return false
  throw new Error('not a boolean')
}

export function parseCount(text: string): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || count > 64) throw new Error('not a count')
  return count
}

/** A URL of HTTP. What comes before an `@` would be credentials, which everything that names the endpoint would show. */
export function parseEndpoint(text: string): string {
  if (!/^https?:\/\/[^/@]+(?:\/[^@]*)?$/.test(text)) throw new Error('not an endpoint')
  return text
}

const sizeUnits: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }

/** `1GiB`, `512MiB` -> bytes. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(KiB|MiB|GiB|TiB)$/.exec(text.trim())
  const unit = sizeUnits[match?.[2] ?? '']
  if (match === null || unit === undefined) throw new Error('not a size')
  return Math.round(Number(match[1]) * unit)
}

/** As pg_basebackup's --max-rate: `32k` to `1024M`, a bare number is kB -> kB per second. */
export function parseRate(text: string): number {
  const match = /^(\d+)([kM]?)$/.exec(text.trim())
  const rate = Number(match?.[1]) * (match?.[2] === 'M' ? 1024 : 1)
  if (match === null || rate < 32 || rate > 1024 * 1024) throw new Error('not a rate')
  return rate
}

export function refusePassword(text: string): false {
  if (parseBoolean(text)) throw new Error('asked to ask')
  return false
}

export const duration = parsed(parseDurationMs, 'a duration such as 500ms, 1s or 2m; a bare number is seconds')
export const boolean = parsed(parseBoolean, 'true or false')
export const text = v.pipe(v.string(), v.minLength(1, 'a text that is not empty'))
