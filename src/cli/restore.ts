/** `walferry restore DIR`: a base backup back into a folder, in which a server can be started. */
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Archive } from '../archive/archive.ts'
import { refuseOtherKey } from '../archive/identity.ts'
import { describe, isError, WalferryError } from '../kit/errors.ts'
import { PatientStore } from '../restore/patient-store.ts'
import { restoreFiles } from '../restore/restore-files.ts'
import { planRestore } from '../restore/choose-restore.ts'
import type { RecoveryTarget, RestoreRequest } from '../restore/restore-plan.ts'
import { isUnfinished } from '../restore/unfinished.ts'
import { accept, checkConfig, gather } from './config.ts'
import { checkTarget } from './connection.ts'
import { openArchive } from './open-store.ts'
import type { Config, OptionName } from './options.ts'
import { patienceOf } from './patience.ts'
import { primaryConninfo } from './primary-conninfo.ts'
import { report, warn } from './report.ts'
import { cleanupCommand, fetchCommand, variablesFor } from './restore-command.ts'
import { restoreOptions } from './restore-options.ts'
import { RestoreProgress } from './restore-progress.ts'
import { tellJson, tellText } from './tell-restored.ts'
import { givenFor, type Sources } from './values.ts'

const walferryFetch = fileURLToPath(new URL('../../../bin/walferry-fetch', import.meta.url))
const retryForMs = 60_000
const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

type RestoreConfig = Config<(typeof restoreOptions)[number]>

/** Tells the result on standard output, and resolves with the exit code. */
export async function runRestore(args: readonly string[]): Promise<number> {
  const stop = new AbortController()
  const onSignal = (name: NodeJS.Signals): void => stop.abort(new Error(`stopped by ${name}`))
  for (const name of stopSignals) process.once(name, onSignal)
  const progress = new RestoreProgress(process.stderr)
  let debug = false
  let folder: string | null = null
  let archive: Archive | null = null
  try {
    const parsed = parse(args)
    const { rest } = parsed
    folder = parsed.folder
    const sources = await gather(restoreOptions, rest, process.env)
    const config = accept(checkConfig(restoreOptions, sources))
    debug = config['log-level'] === 'debug'
    const request = requestOf(config)
    const patience = patienceOf(config['retry-for'] ?? retryForMs, warn)
    archive = await openArchive(config, undefined, (store) => new PatientStore(store, patience))
    await refuseOtherKey(archive, { signal: stop.signal })
    const plan = await planRestore(archive, request, { signal: stop.signal })
    const job = {
      folder,
      force: config.force,
      tablespaceMapping: config['tablespace-mapping'] ?? new Map(),
      standby: request.standby,
      settings: {
        restoreCommand: fetchCommand(walferryFetch, config),
        recoveryEndCommand: cleanupCommand(walferryFetch),
        primaryConninfo: conninfoOf(request, sources),
        keepArchiving: config['keep-archiving'],
        keepSettings: config['keep-settings'],
      },
      downloadConcurrency: config['download-concurrency'],
      onProgress: (bytes: number, total: number) => progress.show(bytes, total),
    }
    const restored = await restoreFiles(archive, plan, job, { signal: stop.signal })
    progress.clear()
    const told = { ...restored, backup: plan.backup, variables: variablesFor(config, process.env) }
    process.stdout.write(config.json ? tellJson(told) : tellText(told))
    return 0
  } catch (error) {
    progress.clear()
    // A person who has stopped it knows where.
    if (stop.signal.aborted) warn(describe(error))
    else report(error, debug)
    if (folder !== null && !isError(error, 'BAD_INPUT') && (await isUnfinished(folder).catch(() => false))) {
      warn(`${folder} holds an unfinished restore, in which no server starts; --force replaces it`)
    }
    return 1
  } finally {
    archive?.store.close()
    for (const name of stopSignals) process.off(name, onSignal)
  }
}

function parse(args: readonly string[]): { readonly folder: string; readonly rest: readonly string[] } {
  const [folder, ...rest] = args
  if (folder !== undefined && folder !== '' && !folder.startsWith('-')) return { folder: resolve(folder), rest }
  throw new WalferryError('BAD_INPUT', 'DIR comes first, options after', {
    hint: 'Write walferry restore /path/of/the/new/folder --store s3://bucket/prefix. See walferry restore --help.',
  })
}

/** Throws BAD_INPUT if several targets are given. */
function requestOf(config: RestoreConfig): RestoreRequest {
  const targets: RecoveryTarget[] = []
  if (config.target !== undefined) targets.push({ kind: config.target })
  if (config['target-time'] !== undefined) targets.push({ kind: 'time', ...config['target-time'] })
  if (config['target-lsn'] !== undefined) targets.push({ kind: 'lsn', lsn: config['target-lsn'] })
  if (config['target-xid'] !== undefined) targets.push({ kind: 'xid', xid: config['target-xid'] })
  if (config['target-name'] !== undefined) targets.push({ kind: 'name', name: config['target-name'] })
  const [target = null, another] = targets
  if (another !== undefined) {
    throw new WalferryError('BAD_INPUT', 'more than one target is given, and a recovery has one at most', {
      hint: 'Keep one of --target, --target-time, --target-lsn, --target-xid and --target-name.',
    })
  }
  return {
    backup: config.backup === 'LATEST' ? null : (config.backup ?? null),
    target,
    inclusive: config['target-inclusive'],
    timeline: config['target-timeline'],
    action: config['target-action'],
    standby: config.standby ?? false,
  }
}

/** A standby streams only where a server was named: libpq's variables may be there for something else. Throws BAD_INPUT. */
function conninfoOf(request: RestoreRequest, sources: Sources): string | null {
  const named: readonly OptionName[] = ['url', 'host', 'port', 'username']
  if (!request.standby || named.every((name) => givenFor(name, sources) === null)) return null
  return primaryConninfo(accept(checkTarget(sources, process.env)))
}
