/** Runs sides in turn, A B A B, so that what else the machine does meets all of them. */
import type { MachineTime, Measured } from './measure.ts'
import type { Side } from './report.ts'
import type { Bench } from './server.ts'

export interface Runs {
  readonly runs: readonly Measured[]
  readonly cpuSeconds: readonly number[]
  readonly peakMegabytes: readonly number[]
  readonly machine: readonly MachineTime[]
}

/** The runs of each side, by its name. `warmUps` rounds more than are counted: the first one finds cold caches. */
export async function inTurn<S extends { readonly name: string }>(
  bench: Bench,
  sides: readonly S[],
  runOnce: (side: S) => Promise<Measured>,
  warmUps = 1,
): Promise<(name: string) => Runs> {
  const measured = new Map<string, Measured[]>(sides.map(({ name }) => [name, []]))
  for (let round = -warmUps; round < bench.rounds; round++) {
    for (const side of sides) {
      const one = await runOnce(side)
      if (round >= 0) measured.get(side.name)?.push(one)
      bench.tick()
    }
  }
  return (name) => {
    const runs = measured.get(name) ?? []
    return {
      runs,
      cpuSeconds: runs.map((run) => run.cpuSeconds),
      peakMegabytes: runs.map((run) => run.peakMegabytes),
      machine: runs.map((run) => run.machine),
    }
  }
}

/** The side of a comparison whose runs have carried `bytes` each. */
export function rate(name: string, { runs, ...used }: Runs, bytes: number): Side {
  const values = runs.map((run) => bytes / 1e6 / run.seconds)
  return { name, unit: 'MB/s', values, bytes, ...used }
}
