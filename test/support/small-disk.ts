/** A disk that is soon full: a real one, in memory, which only root can mount. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import { describe } from '../../src/kit/errors.ts'

const run = promisify(execFile)

/** A folder that is a disk of so many megabytes, or why there is none. */
export async function smallDisk(
  t: TestContext,
  megabytes: number,
): Promise<{ readonly folder: string } | { readonly reason: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'walferry-disk-'))
  let isMounted = false
  t.after(async () => {
    if (isMounted) await run('umount', ['--lazy', folder])
    await rm(folder, { recursive: true })
  })
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder])
    isMounted = true
  } catch (error) {
    return { reason: `a small disk cannot be mounted here: ${describe(error)}` }
  }
  return { folder }
}
