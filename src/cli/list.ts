/** `walferry list`: a table on a terminal, lines with tabs elsewhere, or JSON. */
import { Archive } from '../archive/archive.ts'
import { listArchive } from '../audit/listing.ts'
import { tellJson, tellLines, tellTables } from '../audit/tell-listing.ts'
import { told, withStore } from './audit.ts'
import { listOptions } from './audit-options.ts'

export async function runList(args: readonly string[]): Promise<number> {
  return await told((signal) =>
    withStore(listOptions, args, async (store, { json }) => {
      const listing = await listArchive(new Archive(store), { signal })
      const tell = json ? tellJson : process.stdout.isTTY ? tellTables : tellLines
      process.stdout.write(tell(listing))
    }),
  )
}
