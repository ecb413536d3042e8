/**
 * Runs the tests: `npm test`, or `npm test -- WORD...` for the files whose path has one of the words.
 *
 * All temporary files of a run lie in one folder of its own. What is left there at the end, or still runs there, was
 * leaked by a test, and fails the run.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const concurrency = 2
const templatesName = 'templates'
/** More is no accident. */
const mostTriedAgain = 6
const triesAgain = process.env['CI'] === undefined ? 0 : 2

async function testFiles(words: readonly string[]): Promise<string[]> {
  const names = await readdir(import.meta.dirname, { recursive: true })
  const files = names.filter((name) => name.endsWith('.test.js')).toSorted()
  return files.filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
}

async function leftovers(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name !== templatesName)
  const found = names.map((name) => `file ${join(folder, name)}`)
  for (const pid of (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (command.includes(folder)) found.push(`process ${pid} ${command.replaceAll('\0', ' ')}`)
  }
  return found
}

const files = await testFiles(process.argv.slice(2))
if (files.length === 0) throw new Error('no test file has one of these words in its path')
const folder = await mkdtemp(join(tmpdir(), 'walferry-tests-'))
// Where servers have to run as another user, they must get in.
await chmod(folder, 0o755)
const templates = join(folder, templatesName)
await mkdir(templates)
await chmod(templates, 0o755)
const paths = files.map((name) => relative('.', join(import.meta.dirname, name)))
// Reading the maps costs each file 0.2 s of CPU time. Without them a stack names the built files, whose lines are nearly those.
const maps = process.argv.length > 2 ? ['--enable-source-maps'] : []

/**
 * What test files run with. Certificates that only npm may need cost every start of Node.js a tenth of a second, and there
 * are hundreds: npm gets them in its own way.
 */
function environment(): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: certificates, ...rest } = process.env
  const forNpm = certificates === undefined ? {} : { npm_config_cafile: certificates }
  return { ...forNpm, ...rest, TMPDIR: folder, TEST_TEMPLATE_CLUSTERS: templates }
}

/** Resolves with the files that have failed; null if the run itself has. It ends with what failed: the end of a log is enough. */
async function run(names: readonly string[], atOnce: number): Promise<string[] | null> {
  const list = join(folder, 'failed-files')
  const reporters = [
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${import.meta.resolve('./failed-files.js')}`,
    `--test-reporter-destination=${list}`,
  ]
  const args = [...maps, '--test', ...reporters, `--test-concurrency=${atOnce}`, ...names]
  const runner = spawn(process.execPath, args, { stdio: 'inherit', env: environment() })
  const [code] = await once(runner, 'exit')
  const failed = (await readFile(list, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
  await rm(list, { force: true })
  if (code === 0) return []
  return failed.length === 0 ? null : [...new Set(failed)]
}

function isWorthTrying(failed: readonly string[] | null): failed is readonly string[] {
  return failed !== null && failed.length > 0 && failed.length <= mostTriedAgain
}

let failed = await run(paths, concurrency)
// A machine that stands still for seconds breaks what waits for an answer in time. What fails alone, too, is broken.
for (let again = 0; again < triesAgain && isWorthTrying(failed); again++) {
  const broken: readonly string[] = failed
  process.stdout.write(`failed, and tried once more, one at a time:\n${broken.join('\n')}\n`)
  failed = await run(broken, 1)
  const mended = broken.filter((file) => failed !== null && !failed.includes(file))
  if (mended.length > 0) process.stdout.write(`passed at a later try only:\n${mended.join('\n')}\n`)
}
let left = await leftovers(folder)
// A background process that looks every now and then whether it is still needed is no leak.
for (const endMs = Date.now() + 30_000; left.length > 0 && Date.now() < endMs; left = await leftovers(folder))
  await sleep(50)
for (const one of left) process.stderr.write(`leaked: ${one}\n`)
await rm(folder, { recursive: true, force: true, maxRetries: 10 })
process.exitCode = failed?.length === 0 && left.length === 0 ? 0 : 1
