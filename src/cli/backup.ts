/** `walferry backup`: from configuration to one base backup in the archive, and to what is told of it. */
import type { Archive } from '../archive/archive.ts'
import { refuseUnwritable } from '../archive/codec-support.ts'
import { humanBytes } from '../audit/tell-listing.ts'
import { type BackupResult, takeBackup } from '../backup/backup.ts'
import { openLog } from '../daemon/log.ts'
import { WalferryError } from '../kit/errors.ts'
import { noMetrics } from '../metrics/catalogue.ts'
import { SqlClient } from '../pg/sql-client.ts'
import type { Target } from '../pg/target.ts'
import { formatLsn } from '../wal/lsn.ts'
import { backupOptions } from './backup-options.ts'
import { BackupScreen } from './backup-screen.ts'
import { acceptBoth, checkConfig, gather } from './config.ts'
import { checkTarget } from './connection.ts'
import { openArchive } from './open-store.ts'
import { formatSeconds } from './progress-text.ts'
import { report, warn } from './report.ts'

/** Resolves with the exit code once the backup is there, or nothing of it is left. */
export async function runBackup(args: readonly string[]): Promise<number> {
  const stop = new AbortController()
  // The first signal ends it and removes what was stored; the second one ends the process as ever.
  const onSignal = (signal: NodeJS.Signals): void => {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
    stop.abort(new Error(`stopped by ${signal}`))
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  let debug = false
  let archive: Archive | null = null
  // For the log, whose format is one of the options.
  const warnings: string[] = []
  try {
    const sources = await gather(backupOptions, args, process.env, (text) => warnings.push(text))
    const [config, target] = acceptBoth(checkConfig(backupOptions, sources), checkTarget(sources, process.env))
    debug = config.verbose || config['log-level'] === 'debug'
    if (config.fast && config.spread) throw new WalferryError('BAD_INPUT', '--fast and --spread exclude each other')
    await refuseUnwritable(config.compression)
    const log = openLog(debug ? 'debug' : config['log-level'], config['log-format'], (line) =>
      process.stderr.write(line),
    )
    for (const text of warnings.splice(0)) log.warn(text)
    archive = await openArchive(config, log)
    const screen = new BackupScreen(process.stderr.isTTY ? process.stderr : null, log)
    const result = await takeBackup(
      {
        target,
        archive,
        codec: config.compression,
        partBytes: config['part-size'],
        uploadConcurrency: config['upload-concurrency'],
        label: config.label ?? null,
        fast: config.fast,
        maxRate: config['max-rate'] ?? null,
        verifyChecksums: config['verify-checksums'],
        isPermanent: config.permanent ?? false,
        withWal: config['with-wal'],
        waitForWalMs: config['wait-for-wal'],
        waitWhole: config['wait-whole'],
        switchWal: config['switch-wal'] ? () => switchWal(target, stop.signal) : null,
        log,
        metrics: noMetrics,
        onProgress: (progress) => screen.note(progress),
      },
      stop.signal,
    ).finally(() => screen.close())
    process.stdout.write(config.json ? tellJson(result) : tellText(result))
    return 0
  } catch (error) {
    for (const text of warnings) warn(text)
    report(error, debug)
    return 1
  } finally {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
    archive?.store.close()
  }
}

/** Needs an ordinary connection to the primary, and the right to call the function. */
async function switchWal(target: Target, signal: AbortSignal): Promise<void> {
  const client = await SqlClient.connect({ ...target, sessionAttrs: 'primary' }, signal)
  try {
    await client.rows('SELECT pg_catalog.pg_switch_wal()', 'begin a new segment on the primary', signal)
  } finally {
    await client.close()
  }
}

function tellText(result: BackupResult): string {
  const { name, startLsn, finishLsn, timeline, plainBytes, storedBytes, parts, seconds, openSegment } = result
  const lines = [
    `${name}: ${humanBytes(plainBytes)} (stored: ${humanBytes(storedBytes)}, ${parts === 1 ? '1 part' : `${parts} parts`}) in ${formatSeconds(seconds)}`,
    `from ${formatLsn(startLsn)} to ${formatLsn(finishLsn)} on timeline ${timeline}`,
  ]
  if (openSegment !== null) lines.push(`WAL-G can restore it once segment ${openSegment} is whole; walferry can now`)
  return `${lines.join('\n')}\n`
}

function tellJson(result: BackupResult): string {
  const told = {
    name: result.name,
    timeline: result.timeline,
    startLsn: formatLsn(result.startLsn),
    finishLsn: formatLsn(result.finishLsn),
    stopTimeline: result.stopTimeline ?? result.timeline,
    startTime: result.startTime,
    finishTime: result.finishTime,
    serverVersion: result.serverVersion,
    systemIdentifier: String(result.systemIdentifier),
    plainBytes: result.plainBytes,
    storedBytes: result.storedBytes,
    parts: result.parts,
    seconds: result.seconds,
    label: result.label,
    isPermanent: result.isPermanent,
    tablespaces: result.tablespaces,
    openSegment: result.openSegment,
  }
  return `${JSON.stringify(told)}\n`
}
