/** `npm run bench [-- NAME...]`: measures us against what somebody would take instead. Prints, and judges nothing. */
import { writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { describe } from '../../src/kit/errors.ts'
import { backup } from './backup.ts'
import { catchup } from './catchup.ts'
import { catchupShip } from './catchup-ship.ts'
import { commit } from './commit.ts'
import { fetch } from './fetch.ts'
import { fleet } from './fleet.ts'
import { floor } from './floor.ts'
import { growth } from './growth.ts'
import { idle } from './idle.ts'
import { recover } from './recover.ts'
import { printReport, reportOf } from './report.ts'
import { restore } from './restore.ts'
import { rpo } from './rpo.ts'
import { type Benchmark, withServer } from './server.ts'

const benchmarks: Readonly<Record<string, Benchmark>> = {
  catchup,
  'catchup-ship': catchupShip,
  commit,
  rpo,
  recover,
  fetch,
  backup,
  restore,
  idle,
  growth,
  fleet,
  floor,
}

const usage = `Usage: npm run bench [-- NAME... [OPTION]...]

Measures in turn with what is installed (pg_receivewal, pg_basebackup, tar, lz4, pgbackrest, barman, wal-g), and prints medians, ratios, CPU
seconds, peak memory, and the goals. Without a name, all of them:

${Object.entries(benchmarks)
  .map(([name, { what }]) => `  ${name.padEnd(14)}${what}`)
  .join('\n')}

  --rounds N    how often each side is measured (default: 5; with --quick 1)
  --quick       everything as small as it can be, to see it work; the figures mean nothing
  --gigabytes N how much backup, restore, catchup, catchup-ship and floor carry (default: 2); the start of a program, 0.3 s,
                counts the less, the more it is. S3 is in memory, and so should be what is read: for restore, five times as much
  --pg-bin DIR  take PostgreSQL's programs from there
  --out FILE    write the figures as JSON, too
`

const { values, positionals } = readArguments()
if (values.help) process.stdout.write(usage)
else await measureAll(positionals.length === 0 ? Object.keys(benchmarks) : positionals)

async function measureAll(names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (benchmarks[name] === undefined) {
      refuse(`there is no benchmark "${name}"; there are ${Object.keys(benchmarks).join(', ')}`)
    }
  }
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 5))
  if (!Number.isInteger(rounds) || rounds < 1) refuse('--rounds must be a whole number from 1 on')
  const gigabytes = Number(values.gigabytes ?? (values.quick ? 1 / 16 : 2))
  if (!(gigabytes > 0) || !Number.isFinite(gigabytes)) refuse('--gigabytes must be a number above 0')
  const machine = `${availableParallelism()} x ${cpus()[0]?.model}, ${(totalmem() / 1e9).toFixed(0)} GB of memory`
  const facts = {
    date: new Date().toISOString(),
    machine,
    system: process.platform,
    node: process.version,
    gigabytes,
    rounds,
  }
  process.stdout.write(`${Object.values(facts).slice(0, -2).join(', ')}, ${gigabytes} GB, ${rounds} rounds\n`)
  const results: Record<string, unknown> = {}
  for (const name of names) {
    process.stdout.write(`\n${name}: ${benchmarks[name]?.what}\n`)
    await withServer(
      { pgBin: values['pg-bin'], rounds, quick: values.quick, bytes: gigabytes * 1024 ** 3 },
      async (bench) => {
        const sides = (await benchmarks[name]?.run(bench)) ?? []
        printReport(name, sides)
        results[name] = {
          quick: bench.quick,
          sides: reportOf(sides),
        }
      },
    )
    // After each of them: the next one may fail.
    if (values.out !== undefined) await writeFile(values.out, `${JSON.stringify({ ...facts, results }, null, 2)}\n`)
  }
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        quick: { type: 'boolean', default: false },
        gigabytes: { type: 'string' },
        'pg-bin': { type: 'string' },
        out: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    refuse(describe(error))
  }
}

/** What was asked for wrongly needs no stack. */
function refuse(what: string): never {
  process.stderr.write(`error: ${what}\nhint:  See --help.\n`)
  process.exit(2)
}
