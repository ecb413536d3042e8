/** `walferry delete NAME`: says what that means, asks at a terminal, and deletes. */
import { createInterface } from 'node:readline/promises'
import { deleteBackup, planDeletion } from '../audit/delete.ts'
import { tellDeletion } from '../audit/tell-deletion.ts'
import { WalferryError } from '../kit/errors.ts'
import { backupOperand, told, withArchive } from './audit.ts'
import { deleteOptions } from './audit-options.ts'

export async function runDelete(args: readonly string[]): Promise<number> {
  return await told(async (signal) => {
    const { name, rest } = backupOperand(args, 'delete')
    await withArchive(deleteOptions, rest, async (archive, { yes }) => {
      process.stdout.write(tellDeletion(await planDeletion(archive, name, { signal })))
      if (!yes && !(await isAgreed(name, signal))) {
        process.stdout.write('Nothing was deleted.\n')
        return
      }
      await deleteBackup(archive.store, name, new Date(), { signal })
      process.stdout.write(`${name} is deleted.\n`)
    })
  })
}

/** Throws BAD_INPUT where nobody can be asked. */
async function isAgreed(name: string, signal: AbortSignal): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new WalferryError('BAD_INPUT', 'there is no terminal to ask at', {
      hint: `Nothing was deleted. To delete ${name} without being asked: --yes.`,
    })
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return /^y(es)?$/i.test((await terminal.question('Delete it? [y/N] ', { signal })).trim())
  } finally {
    terminal.close()
  }
}
