/** Folders that are gone after the test. */
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { giveToServer } from '../../src/cluster/server-user.ts'

/** A new empty folder below the system's one for temporary files; every user may read it. */
export async function tempFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'walferry-test-'))
  // Tried again while a process that is about to end still writes there.
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  await chmod(folder, 0o755)
  return folder
}

/** The same, and a server's archive_command and restore_command may write there, also where we are root. */
export async function serverFolder(t: TestContext): Promise<string> {
  const folder = await tempFolder(t)
  await giveToServer(folder)
  return folder
}
