/** `npm run bench [-- NAME...] [--rounds N] [--pg-bin DIR] [--out FILE]` */
import { writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { catchup } from './catchup.ts'
import { commit } from './commit.ts'
import { printReport, type Side } from './report.ts'
import { type Bench, withServer } from './server.ts'

const benchmarks: Record<string, (bench: Bench, rounds: number) => Promise<Side[]>> = { catchup, commit }

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, 'pg-bin': { type: 'string' }, out: { type: 'string' } },
})
const names = positionals.length === 0 ? Object.keys(benchmarks) : positionals
for (const name of names) {
  if (benchmarks[name] === undefined) {
    throw new Error(`there is no benchmark "${name}"; there are ${Object.keys(benchmarks).join(', ')}`)
  }
}
const results: Record<string, Side[]> = {}
process.stdout.write(
  `${new Date().toISOString()}, ${availableParallelism()} x ${cpus()[0]?.model}, Node.js ${process.version}\n`,
)
for (const name of names) {
  await withServer(values['pg-bin'], async (bench) => {
    const sides = (await benchmarks[name]?.(bench, Number(values.rounds))) ?? []
    results[name] = sides
    printReport(name, sides)
  })
}
if (values.out !== undefined) await writeFile(values.out, `${JSON.stringify(results, null, 2)}\n`)
