/** `walferry list`: a table on a terminal, lines with tabs elsewhere, or JSON. */
import { listArchive } from '../audit/listing.ts'
import { tellJson, tellLines, tellTables } from '../audit/tell-listing.ts'
import { told, withArchive } from './audit.ts'
import { listOptions } from './audit-options.ts'

export async function runList(args: readonly string[]): Promise<number> {
  return await told((signal) =>
    withArchive(listOptions, args, async (archive, { json }) => {
      const listing = await listArchive(archive, { signal })
      const tell = json ? tellJson : process.stdout.isTTY ? tellTables : tellLines
      process.stdout.write(tell(listing))
    }),
  )
}
