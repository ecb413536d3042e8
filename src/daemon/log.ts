/**
 * The daemon's log on standard error: pino's JSON, one object a line, or the same as text for people:
 *
 *     2026-01-31T12:00:00.000Z INFO  streaming timeline=1 start=0/3000000
 */
import { type DestinationStream, pino } from 'pino'
import type { Log } from '../kit/log.ts'

export const logLevels = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof logLevels)[number]
export type LogFormat = 'text' | 'json'

export function openLog(level: LogLevel, format: LogFormat, write: (line: string) => void): Log {
  const destination: DestinationStream = { write: (line) => write(format === 'json' ? line : asText(line)) }
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
  return {
    error: (message, fields) => logger.error(fields, message),
    warn: (message, fields) => logger.warn(fields, message),
    info: (message, fields) => logger.info(fields, message),
    debug: (message, fields) => logger.debug(fields, message),
  }
}

function asText(line: string): string {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pino wrote it a moment ago
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>
  const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${valueAsText(value)}`)
  return `${String(time)} ${String(level).toUpperCase().padEnd(5)} ${onOneLine(String(msg))}${rest.join('')}\n`
}

/** Servers and libraries say things over several lines; whoever reads the log takes a line for an event. */
function onOneLine(text: string): string {
  return text.replaceAll(/\s*[\r\n]+\s*/g, ' | ')
}

function valueAsText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return /[\s"=]/.test(text) ? JSON.stringify(text) : text
}
