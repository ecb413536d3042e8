/** What else somebody would back up with, where it is installed and knows this server; measured beside us, it sets no goal. */
import { describe } from '../../src/kit/errors.ts'
import { barmanOf } from './barman.ts'
import type { Measured } from './measure.ts'
import { pgbackrestOf } from './pgbackrest.ts'
import type { Bench } from './server.ts'

export interface BackupTool {
  readonly name: string
  /** Prepares its repository; once, before all else. */
  readonly begin: () => Promise<void>
  /** A full backup, compressed as ours; there has to be no other. */
  readonly backUp: () => Promise<Measured>
  /** Removes its backups: what it has written takes memory from who comes next. */
  readonly forget: () => Promise<void>
  /** The last one back into an empty folder, which has to be there. */
  readonly restoreInto: (folder: string) => Promise<Measured>
}

/** Those that have begun; of the others, it says why they are left out. */
export async function backupTools(bench: Bench): Promise<BackupTool[]> {
  const begun: BackupTool[] = []
  for (const tool of [pgbackrestOf(bench), barmanOf(bench)]) {
    if (tool === null) continue
    try {
      await tool.begin()
      begun.push(tool)
    } catch (error) {
      process.stdout.write(`${tool.name} is left out: ${describe(error)}\n`)
    }
  }
  return begun
}
