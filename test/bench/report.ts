/** Prints what was measured, as it is, and beside it what was aimed at. */
import { type MachineTime, spreadOf } from './measure.ts'

/** One side of a comparison: a line of the table. */
export interface Side {
  readonly name: string
  readonly unit: string
  /** One for each run. */
  readonly values: readonly number[]
  /** Less is better. */
  readonly less?: boolean
  /** The side that it is compared with. Default: the first one; null: none. */
  readonly against?: string | null
  readonly cpuSeconds?: readonly number[]
  /** How much a run has carried. */
  readonly bytes?: number
  readonly peakMegabytes?: readonly number[]
  /** With the server and the store, which are on the same cores. */
  readonly machine?: readonly MachineTime[]
  readonly goals?: readonly Goal[]
  /** What else there is to say. */
  readonly note?: string
}

export interface Goal {
  readonly figure: 'median' | 'ratio' | 'peak MB'
  readonly is: 'at least' | 'at most'
  readonly limit: number
}

/** The side, and what is aimed at with it. */
export function aimed(side: Side, ...goals: readonly Goal[]): Side {
  return { ...side, goals }
}

export interface Reported {
  readonly name: string
  readonly unit: string
  readonly median: number
  readonly min: number
  readonly max: number
  readonly values: readonly number[]
  /** To the median of the side that it is compared with. */
  readonly ratio: number | null
  readonly cpuSeconds: number | null
  readonly cpuSecondsPerGigabyte: number | null
  readonly peakMegabytes: number | null
  /** With the server and the store. */
  readonly machineCpuSecondsPerGigabyte: number | null
  /** The part of the time in which the machine's cores had nothing to do. */
  readonly idleRatio: number | null
  readonly note: string
  readonly goals: readonly { readonly goal: string; readonly verdict: string }[]
}

export function reportOf(sides: readonly Side[]): Reported[] {
  return sides.map((side) => {
    const spread = spreadOf(side.values)
    const ratio = ratioOf(side, sides)
    const cpuSeconds = side.cpuSeconds === undefined ? null : meanOf(side.cpuSeconds)
    const peakMegabytes = side.peakMegabytes === undefined ? null : Math.max(...side.peakMegabytes)
    const machine = side.machine === undefined ? null : sumOf(side.machine)
    const figures = { median: spread.median, ratio, 'peak MB': peakMegabytes }
    return {
      name: side.name,
      unit: side.unit,
      ...spread,
      values: side.values,
      ratio,
      cpuSeconds,
      cpuSecondsPerGigabyte: cpuSeconds === null || side.bytes === undefined ? null : cpuSeconds / (side.bytes / 1e9),
      peakMegabytes,
      machineCpuSecondsPerGigabyte:
        machine === null || side.bytes === undefined
          ? null
          : machine.busySeconds / side.values.length / (side.bytes / 1e9),
      idleRatio: machine === null ? null : machine.idleSeconds / (machine.idleSeconds + machine.busySeconds),
      note: side.note ?? '',
      goals: (side.goals ?? []).map((goal) => ({
        goal: `${goal.figure} ${goal.is} ${goal.limit}`,
        verdict: verdictOn(goal, figures[goal.figure]),
      })),
    }
  })
}

function ratioOf(side: Side, sides: readonly Side[]): number | null {
  const base = side.against === undefined ? sides[0] : sides.find(({ name }) => name === side.against)
  return base === undefined || base === side ? null : spreadOf(side.values).median / spreadOf(base.values).median
}

/** `met`, or by how much it was not. */
export function verdictOn(goal: Goal, figure: number | null): string {
  if (figure === null || Number.isNaN(figure)) return 'not measured'
  const isMet = goal.is === 'at least' ? figure >= goal.limit : figure <= goal.limit
  const off = goal.limit === 0 ? shown(figure) : `${Math.abs((figure / goal.limit - 1) * 100).toFixed(0)} %`
  return isMet ? `met (${shown(figure)})` : `missed by ${off} (${shown(figure)})`
}

export function printReport(title: string, sides: readonly Side[]): void {
  const less = new Set(sides.filter((side) => side.less === true).map(({ name }) => name))
  const reported = reportOf(sides)
  printTable(
    reported.map((side) => ({
      [title]: side.name,
      median: shown(side.median),
      'min to max': side.values.length === 1 ? '' : `${shown(side.min)} to ${shown(side.max)}`,
      unit: `${side.unit}${less.has(side.name) ? ' (less is better)' : ''}`,
      ratio: side.ratio === null ? '' : side.ratio.toFixed(2),
      'CPU s': orNothing(side.cpuSeconds),
      'CPU s/GB': orNothing(side.cpuSecondsPerGigabyte),
      'with servers': orNothing(side.machineCpuSecondsPerGigabyte),
      idle: side.idleRatio === null ? '' : `${(100 * side.idleRatio).toFixed(0)} %`,
      'peak MB': side.peakMegabytes === null ? '' : side.peakMegabytes.toFixed(0),
      note: side.note,
    })),
  )
  for (const { name, goals } of reported) {
    for (const { goal, verdict } of goals) process.stdout.write(`goal: ${name}: ${goal}: ${verdict}\n`)
  }
}

function printTable(rows: readonly Readonly<Record<string, string>>[]): void {
  const columns = Object.keys(rows[0] ?? {}).filter((name, i) => i === 0 || rows.some((row) => row[name] !== ''))
  const cells = [columns, ...rows.map((row) => columns.map((name) => row[name] ?? ''))]
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)))
  process.stdout.write('\n')
  for (const line of cells) {
    process.stdout.write(
      `${line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd()}\n`,
    )
  }
}

function orNothing(figure: number | null): string {
  return figure === null ? '' : shown(figure)
}

/** Three digits that count, and never an exponent. */
function shown(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}

function sumOf(times: readonly MachineTime[]): MachineTime {
  return {
    busySeconds: times.reduce((sum, { busySeconds }) => sum + busySeconds, 0),
    idleSeconds: times.reduce((sum, { idleSeconds }) => sum + idleSeconds, 0),
  }
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
