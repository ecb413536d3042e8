/**
 * Just enough of a Dockerfile's grammar to carry out ours without an engine: the instructions of each stage, comments and
 * continued lines, and a .dockerignore that names what is let in.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, stat, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

export interface Instruction {
  /** `COPY`, `RUN`, ... */
  readonly word: string
  readonly rest: string
}

export interface Stage {
  /** What `AS` calls it, or its number. */
  readonly name: string
  readonly instructions: readonly Instruction[]
}

export function parseDockerfile(text: string): Stage[] {
  const joined = text.replaceAll(/^\s*#.*\n/gm, '').replaceAll(/\\\n\s*/g, '')
  const stages: { name: string; instructions: Instruction[] }[] = []
  for (const line of joined.split('\n').filter((one) => one.trim() !== '')) {
    const [, word = '', rest = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
    assert.notEqual(word, '', `no instruction: ${line}`)
    if (word === 'FROM') stages.push({ name: / AS (\S+)$/.exec(rest)?.[1] ?? String(stages.length), instructions: [] })
    else stages.at(-1)?.instructions.push({ word, rest })
  }
  return stages
}

/** The operands of all instructions of a word in the last stage, in order. */
export function finalOnes(stages: readonly Stage[], word: string): string[] {
  return (stages.at(-1)?.instructions ?? []).filter((one) => one.word === word).map(({ rest }) => rest)
}

/** What ENV says in the last stage. */
export function imageEnvironment(stages: readonly Stage[]): Record<string, string> {
  const pairs = [
    ...finalOnes(stages, 'ENV')
      .join(' ')
      .matchAll(/(\w+)=(\S+)/g),
  ]
  return Object.fromEntries(pairs.map((pair) => [pair[1] ?? '', pair[2] ?? '']))
}

/** The entries of the context that .dockerignore lets in: ours names them, after ruling out everything. */
export function letIn(dockerignore: string): string[] {
  const lines = dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const [first, ...named] = lines
  assert.equal(first, '*')
  return named.map((line) => {
    assert.match(line, /^![\w.-]+$/)
    return line.slice(1)
  })
}

export interface Build {
  /** The folder that Docker would be given. */
  readonly context: string
  readonly stages: readonly Stage[]
  /** Which top-level entries of the context there are. */
  readonly entries: readonly string[]
  /** Below it each stage gets a folder that stands for its root. */
  readonly root: string
  readonly env: NodeJS.ProcessEnv
  /** What stands in for a command that would cost too much; null: it is run. */
  readonly instead: (command: string, folder: string) => Promise<void> | null
  readonly signal: AbortSignal
}

/**
 * Carries out the COPY and RUN instructions of every stage, and resolves with the last one's root. Rejects with what a
 * command that fails has printed.
 */
export async function build({ context, stages, entries, root, env, instead, signal }: Build): Promise<string> {
  const rootOf = (stage: string): string => join(root, stage)
  for (const { name, instructions } of stages) {
    let folder = rootOf(name)
    await mkdir(folder)
    for (const { word, rest } of instructions) {
      if (word === 'WORKDIR') {
        folder = join(rootOf(name), rest)
        await mkdir(folder, { recursive: true })
      } else if (word === 'COPY') {
        await copy(rest)
      } else if (word === 'RUN') {
        await (instead(rest, folder) ?? run(rest, folder))
      }
    }

    async function copy(operands: string): Promise<void> {
      const words = operands.split(/\s+/).filter((one) => !one.startsWith('--chown='))
      const from = words[0]?.startsWith('--from=') === true ? (words.shift() ?? '').slice('--from='.length) : null
      const to = words.pop() ?? ''
      const target = to.startsWith('/') ? join(rootOf(name), to) : join(folder, to)
      const sources = words.flatMap((one) => (one === '.' ? entries : [one]))
      for (const source of sources) {
        assert.ok(from !== null || entries.includes(source), `.dockerignore does not let ${source} in`)
        const path = from === null ? join(context, source) : join(rootOf(from), source)
        // A folder's content goes into the target, a file and each entry of "." under its own name.
        const isContent = (await stat(path)).isDirectory() && !words.includes('.')
        const place = isContent ? target : join(target, basename(source))
        await mkdir(dirname(place), { recursive: true })
        // What another stage has made is only read from here on: a link spares some thousand files.
        if (from !== null && !existsSync(place)) await symlink(path, place)
        else await cp(path, place, { recursive: true })
      }
    }
  }
  return rootOf(stages.at(-1)?.name ?? '')

  async function run(command: string, folder: string): Promise<void> {
    const child = spawn('sh', ['-c', command], { cwd: folder, env, signal, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    const [code] = await once(child, 'close')
    if (code !== 0) throw new Error(`${command} exits with ${code}:\n${output}`)
  }
}

/** The packages of the checkout, for a stage that would install the same ones. */
export async function linkPackages(checkout: string, folder: string): Promise<void> {
  await mkdir(join(folder, 'node_modules'))
  for (const name of await readdir(join(checkout, 'node_modules'))) {
    await symlink(join(checkout, 'node_modules', name), join(folder, 'node_modules', name))
  }
}
