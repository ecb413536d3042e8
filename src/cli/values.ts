/**
 * What was given for the options, before anybody has judged it: texts, each with its origin, in layers of falling rank.
 *
 *     flags > variables > configuration file > variables of other programs (> the defaults of the table)
 */
import { entryOf, isOptionName, type OptionName, optionNames, variableOf } from './options.ts'

export type Variables = Readonly<Record<string, string | undefined>>

/** A value as it was written, and where: `--slot`, `WALFERRY_SLOT`, `/etc/walferry.yaml: slot`. */
export interface Given {
  readonly text: string
  readonly from: string
}

export type Layer = ReadonlyMap<OptionName, Given>

/** Something that cannot be used, as a line for a person, and what to do where that is not plain. */
export interface Problem {
  readonly text: string
  readonly hint?: string | undefined
}

export interface Sources {
  /** The highest rank first. */
  readonly layers: readonly Layer[]
  /** What is wrong with the sources themselves: unknown flags, keys, a file that cannot be read. */
  readonly problems: readonly Problem[]
}

/** What a source brought, good and bad. */
export interface Reading {
  readonly layer: Layer
  readonly problems: readonly Problem[]
}

export function givenFor(name: OptionName, sources: Sources): Given | null {
  for (const layer of sources.layers) {
    const given = layer.get(name)
    if (given !== undefined) return given
  }
  return null
}

/** The options that a `WALFERRY_` variable names. An empty variable is one that is not set. */
export function variablesLayer(env: Variables): Layer {
  return layerOf((name) => {
    const variable = variableOf(name)
    return isOfKubernetes(variable, env[variable]) ? [] : [variable]
  }, env)
}

/** The options for which a variable of WAL-G stands in. */
export function standInsLayer(env: Variables): Layer {
  return layerOf((name) => entryOf(name).standIns ?? [], env)
}

function layerOf(variablesFor: (name: OptionName) => readonly string[], env: Variables): Layer {
  const layer = new Map<OptionName, Given>()
  for (const name of optionNames) {
    const variable = variablesFor(name).find((one) => (env[one] ?? '') !== '')
    if (variable !== undefined) layer.set(name, { text: env[variable] ?? '', from: variable })
  }
  return layer
}

/** Variables that look as if they were for us, and are not: a slip of the pen, most likely. */
export function unknownVariables(env: Variables): string[] {
  const known = new Set(optionNames.map(variableOf))
  return Object.keys(env).filter(
    (name) => name.startsWith('WALFERRY_') && !known.has(name) && !isOfKubernetes(name, env[name]),
  )
}

/**
 * Kubernetes gives every container such variables for a service named "walferry" (its documentation, "Service",
 * section "Environment variables"): WALFERRY_SERVICE_HOST=10.0.0.11, WALFERRY_PORT=tcp://10.0.0.11:9868, ...
 */
function isOfKubernetes(name: string, value: string | undefined): boolean {
  if (name === 'WALFERRY_PORT') return /^(?:tcp|udp|sctp):\/\//.test(value ?? '')
  return /^WALFERRY_(?:SERVICE_(?:HOST|PORT)|PORT_\d+_)/.test(name)
}

/** The option that a key of the configuration file names; the file cannot name another file. */
export function optionOfKey(key: string): OptionName | null {
  return isOptionName(key) && key !== 'config' ? key : null
}
