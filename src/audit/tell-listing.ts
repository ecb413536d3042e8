/**
 * Tells a listing: as tables to a person at a terminal, as lines with tabs to a shell, as JSON to a program.
 *
 *     backup<TAB>name<TAB>start<TAB>finish<TAB>bytes<TAB>stored bytes<TAB>timeline<TAB>start LSN<TAB>finish LSN<TAB>
 *         permanent<TAB>usable<TAB>label
 *     window<TAB>timeline<TAB>from time<TAB>from LSN<TAB>last commit<TAB>covered until<TAB>backups
 *     gap<TAB>timeline<TAB>from<TAB>to
 *     damaged<TAB>name<TAB>why
 *
 * Times are ISO 8601 in UTC; what is not there is `-`.
 */
import { oneLine } from '../kit/one-line.ts'
import { formatLsn } from '../wal/lsn.ts'
import { formatTimestamp } from '../wal/timestamp.ts'
import type { Gap, ListedBackup, ListedWindow, Listing } from './listing.ts'
import type { ToldGap, ToldListing, ToldWindow } from './told-listing.ts'

export function tellTables({ store, backups, damaged, windows, gaps, tree }: Listing): string {
  const parts = [`Base backups in ${store}\n${backups.length === 0 ? '  none\n' : table(backupTable(backups))}`]
  if (damaged.length > 0) parts.push(`Base backups that cannot be read\n${table(damagedTable(damaged))}`)
  const empty = backups.length === 0 ? 'none: there is no base backup' : 'none: no backup has all the WAL that it needs'
  parts.push(`Recovery windows\n${windows.length === 0 ? `  ${empty}\n` : table(windowTable(windows))}`)
  if (gaps.length > 0) parts.push(`WAL that is missing\n${table(gapTable(gaps))}`)
  if (tree.length > 0) {
    parts.push(`More than one timeline may be the newest: restore needs --target-timeline\n${tree.join('\n')}\n`)
  }
  return parts.join('\n')
}

export function tellLines({ backups, damaged, windows, gaps }: Listing): string {
  const lines = [
    ...backups.map((one) => ['backup', ...backupRow(one, String)]),
    ...windows.map((one) => ['window', ...windowRow(one)]),
    ...gaps.map((one) => ['gap', ...gapRow(one)]),
    ...damaged.map((one) => ['damaged', ...damagedRow(one)]),
  ]
  return lines.map((line) => `${line.map(oneLine).join('\t')}\n`).join('')
}

export function tellJson(listing: Listing): string {
  return `${JSON.stringify(tellValue(listing), null, 2)}\n`
}

/** What becomes JSON. */
export function tellValue({ store, backups, damaged, windows, gaps, tree }: Listing): ToldListing {
  return {
    store,
    backups: backups.map(({ backup, isPermanent, standing }) => ({
      name: backup.name,
      startTime: backup.startTime?.toISOString() ?? null,
      finishTime: backup.finishTime?.toISOString() ?? null,
      bytes: backup.plainBytes,
      storedBytes: backup.storedBytes,
      timeline: backup.timeline,
      stopTimeline: backup.stopTimeline ?? backup.timeline,
      startLsn: formatLsn(backup.startLsn),
      finishLsn: formatLsn(backup.finishLsn),
      label: backup.label,
      permanent: isPermanent,
      usable: standing === 'usable',
      standing,
      serverVersion: backup.serverVersion,
      systemIdentifier: backup.systemIdentifier === null ? null : String(backup.systemIdentifier),
      host: backup.host,
      tablespaces: backup.tablespaces,
    })),
    damaged: damaged.map(({ name, error }) => ({ name, message: error.message })),
    windows: windows.map(windowFields),
    gaps: gaps.map(gapFields),
    timelines: tree.map((line) => line.trim()),
  }
}

/** A window for a program. */
export function windowFields({ timeline, first, end, lastCommit, beforeGap, backups }: ListedWindow): ToldWindow {
  return {
    timeline,
    from: { time: (first.finishTime ?? first.modified).toISOString(), lsn: formatLsn(first.finishLsn) },
    lastCommit: lastCommit === null ? null : formatTimestamp(lastCommit),
    coveredUntil: formatLsn(end),
    beforeGap,
    backups: backups.map(({ name }) => name),
  }
}

/** A gap for a program. */
export function gapFields({ timeline, from, to }: Gap): ToldGap {
  return { timeline, from: formatLsn(from), to: to === null ? null : formatLsn(to) }
}

type Row = readonly string[]

function backupTable(backups: readonly ListedBackup[]): Row[] {
  const heads = [
    'name',
    'start',
    'finish',
    'size',
    'stored',
    'TL',
    'start LSN',
    'finish LSN',
    'permanent',
    'usable',
    'label',
  ]
  return [heads, ...backups.map((one) => backupRow(one, humanBytes))]
}

function backupRow({ backup, isPermanent, standing }: ListedBackup, bytes: (count: number) => string): Row {
  return [
    backup.name,
    timeText(backup.startTime),
    timeText(backup.finishTime),
    bytes(backup.plainBytes),
    bytes(backup.storedBytes),
    String(backup.stopTimeline ?? backup.timeline),
    formatLsn(backup.startLsn),
    formatLsn(backup.finishLsn),
    isPermanent ? 'yes' : 'no',
    standing === 'usable' ? 'yes' : `no: ${standing}`,
    backup.label ?? '-',
  ]
}

function windowTable(windows: readonly ListedWindow[]): Row[] {
  return [['TL', 'from', 'from LSN', 'last commit', 'covered until', 'with'], ...windows.map(windowRow)]
}

function windowRow({ timeline, first, end, lastCommit, backups }: ListedWindow): Row {
  return [
    String(timeline),
    timeText(first.finishTime ?? first.modified),
    formatLsn(first.finishLsn),
    lastCommit === null ? 'none' : formatTimestamp(lastCommit),
    formatLsn(end),
    backups.map(({ name }) => name).join(','),
  ]
}

function gapTable(gaps: readonly Gap[]): Row[] {
  return [['TL', 'from', 'to'], ...gaps.map(gapRow)]
}

function gapRow({ timeline, from, to }: Gap): Row {
  return [String(timeline), formatLsn(from), to === null ? '-' : formatLsn(to)]
}

function damagedTable(damaged: Listing['damaged']): Row[] {
  return [['name', 'why'], ...damaged.map(damagedRow)]
}

function damagedRow({ name, error }: Listing['damaged'][number]): Row {
  return [name, error.message]
}

/** Columns as wide as their widest cell; the first row names them. */
function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => row.map(oneLine))
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells
    .map(
      (row) =>
        `  ${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** Example: `2026-11-20T10:42:23Z`, which `restore --target-time` takes. */
export function timeText(time: Date | null): string {
  return time === null ? '-' : `${time.toISOString().slice(0, 19)}Z`
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** Example: 23580160 -> `22.5 MiB`. */
export function humanBytes(count: number): string {
  let value = count
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`
}
