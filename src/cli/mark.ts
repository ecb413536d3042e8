/** `walferry mark NAME --permanent | --no-permanent`. */
import { markBackup } from '../audit/mark.ts'
import { WalferryError } from '../kit/errors.ts'
import { backupOperand, told, withArchive } from './audit.ts'
import { markOptions } from './audit-options.ts'

export async function runMark(args: readonly string[]): Promise<number> {
  return await told(async (signal) => {
    const { name, rest } = backupOperand(args, 'mark')
    await withArchive(markOptions, rest, async ({ store }, { permanent }) => {
      if (permanent === undefined) {
        throw new WalferryError('BAD_INPUT', '--permanent or --no-permanent is missing', { hint: 'Say which one.' })
      }
      await markBackup(store, name, permanent, { signal })
      process.stdout.write(`${name} is ${permanent ? 'kept for good' : 'no longer kept for good'}\n`)
    })
  })
}
