/**
 * Files of the spool that cannot be its own (a segment of a wrong size or with a foreign header, a history that cannot be
 * read): they get a name under which nobody takes them for one, and lie there until a person has looked.
 *
 *     000000010000000000000007.partial  ->  000000010000000000000007.partial.set-aside, .set-aside-2, ...
 */
import { access, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { renameDurably } from '../kit/durable-fs.ts'
import { systemCode } from '../kit/errors.ts'

const ending = '.set-aside'

/** Returns the name that the file has now. */
export async function setAside(folder: string, name: string): Promise<string> {
  let as = `${name}${ending}`
  for (let n = 2; await exists(join(folder, as)); n++) as = `${name}${ending}-${n}`
  await renameDurably(join(folder, name), join(folder, as))
  return as
}

/** How many lie there, from whichever start. */
export async function countSetAside(folder: string): Promise<number> {
  return (await readdir(folder)).filter((name) => name.includes(ending)).length
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    (error: unknown) => {
      if (systemCode(error) === 'ENOENT') return false
      throw error
    },
  )
}
