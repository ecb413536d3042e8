/**
 * One receiver per spool: a lock on the file `lock` in its folder. It belongs to the open file, so the kernel frees it
 * when the process ends, however it ends; the file itself stays and says nothing.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { tryLock } from 'fs-native-extensions'
import { WalferryError } from '../kit/errors.ts'
import { spoolError } from './spool-error.ts'

/** Holds the spool until the result is closed. Throws SPOOL_IN_USE, SPOOL_FAILED. */
export async function lockSpool(folder: string): Promise<FileHandle> {
  const path = join(folder, 'lock')
  let file: FileHandle
  try {
    file = await open(path, 'a', 0o600)
  } catch (error) {
    throw spoolError(error, `open ${path}`)
  }
  let isOurs = false
  try {
    isOurs = tryLock(file.fd)
  } catch (error) {
    await file.close()
    throw spoolError(error, `lock ${path}`)
  }
  if (isOurs) return file
  await file.close()
  throw new WalferryError('SPOOL_IN_USE', `another receiver uses the spool ${folder}`, {
    fields: { spool: folder },
    hint: 'Each receiver needs a spool of its own (--spool). The lock is free as soon as the other one has ended.',
  })
}
