/** Prints what was measured, as it is. */
import { spreadOf } from './measure.ts'

export interface Side {
  readonly name: string
  readonly unit: string
  readonly values: readonly number[]
  /** Less is better. */
  readonly less?: boolean
  readonly cpuSecondsPerGigabyte?: readonly number[]
  readonly peakMegabytes?: readonly number[]
}

/** The first side is what the others are compared with. */
export function printReport(title: string, sides: readonly Side[]): void {
  const [first] = sides
  if (first === undefined) return
  const base = spreadOf(first.values).median
  const rows = sides.map((side) => {
    const { median, min, max } = spreadOf(side.values)
    const ratio = side === first ? '' : `${(median / base).toFixed(2)}x${side.less === true ? ' (less is better)' : ''}`
    const cpu = side.cpuSecondsPerGigabyte
    const peak = side.peakMegabytes
    return {
      [title]: side.name,
      median: median.toPrecision(4),
      'min to max': `${min.toPrecision(4)} to ${max.toPrecision(4)}`,
      unit: side.unit,
      ratio,
      'CPU s/GB': cpu === undefined ? '' : spreadOf(cpu).median.toFixed(2),
      'peak MB': peak === undefined ? '' : Math.max(...peak).toFixed(0),
    }
  })
  const columns = Object.keys(rows[0] ?? {})
  const widths = columns.map((name) => Math.max(name.length, ...rows.map((row) => String(row[name]).length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
  process.stdout.write(`\n${line(columns)}\n`)
  for (const row of rows) process.stdout.write(`${line(columns.map((name) => String(row[name])))}\n`)
}
