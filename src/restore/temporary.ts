/**
 * Files beside DEST while they are being filled: on its disk, so that a rename brings them there at once, and under
 * names that PostgreSQL does not look at. PostgreSQL syncs what it was given itself.
 */
import { type FileHandle, open, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { systemCode, WalferryError } from '../kit/errors.ts'

/**
 * Runs `work` with a new file beside DEST; `purpose` tells several at once from each other. If `work` has not renamed
 * it, the file is removed.
 */
export async function withTemporary<T>(
  dest: string,
  purpose: 'answer' | 'ancestor',
  work: (file: FileHandle, path: string) => Promise<T>,
): Promise<T> {
  const path = join(dirname(dest), `.${basename(dest)}.walferry-${process.pid}-${purpose}`)
  let file: FileHandle
  try {
    // What an earlier process of our number left behind is of no use to anybody.
    await rm(path, { force: true })
    file = await open(path, 'wx+', 0o600)
  } catch (error) {
    throw localError(error, `create ${path}`)
  }
  try {
    return await work(file, path)
  } catch (error) {
    throw systemCode(error) === undefined || error instanceof WalferryError ? error : localError(error, `write ${dest}`)
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
}

function localError(cause: unknown, doing: string): WalferryError {
  return new WalferryError('BAD_INPUT', `cannot ${doing}`, {
    cause,
    hint: 'Check the folder of DEST: its path, owner and space.',
  })
}
