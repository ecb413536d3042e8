/**
 * The commands that `restore` writes into a server's settings: with absolute paths, because the server runs elsewhere,
 * and with what says where the archive is. Secrets stay in the server's environment.
 */
import { resolve } from 'node:path'
import type { storeOptions } from './open-store.ts'
import type { Config, OptionName } from './options.ts'

type StoreConfig = Config<'store'> & Partial<Config<(typeof storeOptions)[number]>>

/** `program`: the absolute path of walferry-fetch. */
export function fetchCommand(program: string, config: StoreConfig): string {
  const store = config.store
  const place = store.kind === 'folder' ? resolve(store.path) : `s3://${store.bucket}/${store.prefix}`
  const isS3 = store.kind === 's3'
  const given: readonly (readonly [OptionName, string | undefined])[] = [
    ['store', place],
    ['s3-endpoint', isS3 ? config['s3-endpoint'] : undefined],
    ['s3-region', isS3 ? config['s3-region'] : undefined],
    ['s3-ca-file', isS3 ? absolute(config['s3-ca-file']) : undefined],
    ['encryption-key-file', absolute(config['encryption-key-file'])],
    ['encryption-key-transform', config['encryption-key-transform']],
  ]
  const words = given.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, shellQuoted(value)]))
  const pathStyle = isS3 ? config['s3-path-style'] : undefined
  if (pathStyle !== undefined) words.push(pathStyle ? '--s3-path-style' : '--no-s3-path-style')
  return [shellQuoted(program), '%f', '%p', ...words].join(' ')
}

export function cleanupCommand(program: string): string {
  return `${shellQuoted(program)} --cleanup`
}

function absolute(path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(path)
}

/** Variables by which an archive is found and opened; what they say may be a secret, or be no file's for the server. */
const neededVariables = /^(?:AWS_(?!SDK_)\w+|WALG_LIBSODIUM_KEY\w*|HTTPS?_PROXY)$/i

/** Those that this process has, and that the server has to be given. */
export function variablesFor(config: StoreConfig, env: Readonly<Record<string, string | undefined>>): string[] {
  const isS3 = config.store.kind === 's3'
  const names = Object.keys(env).filter((name) => neededVariables.test(name) && (env[name] ?? '') !== '')
  return names.filter((name) => isS3 || !/^AWS_|PROXY$/i.test(name)).toSorted()
}

/** One word for the shell, in which PostgreSQL replaces nothing: a `%` of its own is `%%`. */
function shellQuoted(text: string): string {
  const doubled = text.replaceAll('%', '%%')
  return /^[\w@+=:,./-]+$/.test(text) ? doubled : `'${doubled.replaceAll("'", "'\\''")}'`
}
