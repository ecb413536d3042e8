/** idle: what a receiver of an idle server costs: some minutes, extrapolated to a day. */
import { sleep } from '../../src/kit/abort.ts'
import { parseLsn } from '../../src/wal/lsn.ts'
import { usageOf } from './measure.ts'
import { aimed, type Side } from './report.ts'
import { kindsBetween, requestsOf, withS3 } from './s3.ts'
import { type Benchmark, signal } from './server.ts'
import { emptied, flushed, receiving, withReceiver } from './wal.ts'

const slot = 'bench_idle'
const secondsOfDay = 86_400

export const idle: Benchmark = {
  what: 'a day of an idle server, extrapolated from three minutes; goal: 0.5 % of a core, no request to the store',
  run: async (bench) => {
    const cpu: number[] = []
    const requests: number[] = []
    const bytes: number[] = []
    const wal: number[] = []
    const peakMegabytes: number[] = []
    let kinds = ''
    const seconds = bench.quick ? 5 : 180
    await emptied(bench, 'target')
    await withS3({}, async (s3) => {
      const program = { ...receiving(bench, slot, s3.args), env: s3.env }
      await withReceiver(bench, slot, program, async ({ pid }) => {
        // What the start has left: notes of running transactions, which the server writes once, their upload, and the
        // look for another receiver's note, at most a minute after it.
        await bench.sql('CHECKPOINT')
        await sleep((bench.quick ? 3 : 90) * 1000, signal)
        const before = await s3.ask({ ask: 'tally' })
        const lsn = parseLsn(await flushed(bench))
        const cpuBefore = usageOf(pid).cpuSeconds
        await sleep(seconds * 1000, signal)
        const usage = usageOf(pid)
        const after = await s3.ask({ ask: 'tally' })
        cpu.push(((usage.cpuSeconds - cpuBefore) / seconds) * 100)
        requests.push(((requestsOf(after) - requestsOf(before)) / seconds) * secondsOfDay)
        kinds = kindsBetween(before, after)
        bytes.push(((after.receivedBytes - before.receivedBytes) / seconds) * secondsOfDay)
        wal.push(((Number(parseLsn(await flushed(bench))) - Number(lsn)) / seconds) * secondsOfDay)
        peakMegabytes.push(usage.peakMegabytes)
      })
    })
    return [
      aimed({ ...figure('CPU', '% of a core', cpu), peakMegabytes }, { figure: 'median', is: 'at most', limit: 0.5 }),
      aimed(
        { ...figure('requests to the store', 'a day', requests), note: kinds && `${kinds} in ${seconds} s` },
        { figure: 'median', is: 'at most', limit: 0 },
      ),
      figure('bytes to the store', 'a day', bytes),
      figure('WAL that the server has written', 'bytes a day', wal),
    ]
  },
}

function figure(name: string, unit: string, values: readonly number[]): Side {
  return { name, unit, values, less: true, against: null }
}
