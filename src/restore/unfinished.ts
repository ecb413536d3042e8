/**
 * The folder that a restore fills, and how it stays recognizable until it is done.
 *
 *     walferry_restore_unfinished     made before all else; names the tablespaces' places; removed last
 *     global/pg_control               has another name until everything else is durable
 *
 * A server does not start without global/pg_control. What lies beside the mark is our own, and may be thrown away, as
 * long as there is no global/pg_control: with it the restore was done but for the removal of the mark. Each place of a
 * tablespace has a mark, too, with the same content, so that nothing of anybody else is thrown away there.
 */
import { type FileHandle, lstat, open, readdir, readFile, realpath, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { tryLock } from 'fs-native-extensions'
import * as v from 'valibot'
import { makeFolder, syncFolder } from '../kit/durable-fs.ts'
import { systemCode, WalferryError } from '../kit/errors.ts'

export const markName = 'walferry_restore_unfinished'
export const controlPath = 'global/pg_control'

const markSchema = v.object({ id: v.string(), backup: v.string(), places: v.array(v.string()) })

export interface Mark {
  /** Of one run. */
  readonly id: string
  readonly backup: string
  /** Absolute paths of the tablespaces' folders. */
  readonly places: readonly string[]
}

/** What lies in the folder. */
type Found = 'nothing' | 'unfinished' | 'finished' | 'other'

/**
 * Makes sure that the folder may be filled. With `force`, what an interrupted restore has left is removed. Throws
 * BAD_INPUT if the folder holds anything else.
 */
export async function clearFolder(folder: string, force: boolean): Promise<void> {
  await refuseRunning(folder)
  switch (await look(folder)) {
    case 'nothing':
      return
    case 'unfinished':
      if (force) return await removeUnfinished(folder)
      throw notEmpty(`${folder} holds a restore that was interrupted`, 'Add --force to throw it away and start again.')
    case 'finished':
      throw notEmpty(
        `${folder} holds a finished restore`,
        `Start the server. To throw it away, delete the folder yourself.`,
      )
    case 'other':
      throw notEmpty(
        `${folder} is not empty`,
        'Name an empty folder, or a new one. --force replaces only what an interrupted restore has left.',
      )
  }
}

/** Throws BAD_INPUT if a tablespace's place is not free. To be called before anything is written. */
export async function refuseUsedPlace(place: string): Promise<void> {
  if ((await namesIn(place)).length === 0) return
  throw notEmpty(`${place}, the place of a tablespace, is not empty`, 'Give it another: --tablespace-mapping OLD=NEW.')
}

/**
 * Marks the folder and the places of tablespaces as being filled, durably, and makes them where they are missing. Until
 * the result is closed, or the process ends, no other restore takes the folder for an interrupted one.
 */
export async function begin(folder: string, mark: Mark): Promise<FileHandle> {
  const lock = await writeMark(folder, mark)
  try {
    tryLock(lock.fd)
    for (const place of mark.places) await (await writeMark(place, mark)).close()
    return lock
  } catch (error) {
    await lock.close()
    throw error
  }
}

async function writeMark(folder: string, mark: Mark): Promise<FileHandle> {
  await makeFolder(folder, 0o700)
  const file = await open(join(folder, markName), 'wx', 0o600)
  try {
    await file.writeFile(`${JSON.stringify(mark)}\n`)
    await file.sync()
    await syncFolder(folder)
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Takes the marks away, durably: everything else is in its place. */
export async function end(folder: string, mark: Mark): Promise<void> {
  for (const place of [...mark.places, folder]) {
    await rm(join(place, markName))
    await syncFolder(place)
  }
}

/** Whether a restore has left there what no server starts in. */
export async function isUnfinished(folder: string): Promise<boolean> {
  return (await look(folder)) === 'unfinished'
}

/** Throws BAD_INPUT if a server runs in the folder. */
async function refuseRunning(folder: string): Promise<void> {
  const text = await readFile(join(folder, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number(text.split('\n')[0])
  if (!Number.isInteger(pid) || pid <= 0 || !isAlive(pid)) return
  throw notEmpty(`a server runs in ${folder} (process ${pid})`, 'Stop it, or name another folder.')
}

async function look(folder: string): Promise<Found> {
  const names = await namesIn(folder)
  if (names.length === 0) return 'nothing'
  if (!names.includes(markName)) return 'other'
  return (await isThere(join(folder, controlPath))) ? 'finished' : 'unfinished'
}

/** What goes first can be thrown away again: the mark that tells all of it goes last. */
async function removeUnfinished(folder: string): Promise<void> {
  const file = await open(join(folder, markName), 'r+')
  try {
    if (!tryLock(file.fd)) {
      throw notEmpty(`another restore is filling ${folder}`, 'Wait for it, or end it and start again.')
    }
    // A mark that was cut by a crash was made before the places of tablespaces were.
    const mark = readMark(await file.readFile('utf8'))
    for (const place of mark?.places ?? []) {
      const own = await readFile(join(place, markName), 'utf8').catch(() => '')
      if (readMark(own)?.id === mark?.id) await removeContent(place)
    }
    await removeContent(folder)
  } finally {
    await file.close()
  }
}

async function removeContent(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (name !== markName) await rm(join(folder, name), { recursive: true })
  }
  await syncFolder(folder)
  await rm(join(folder, markName))
  await syncFolder(folder)
}

function readMark(text: string): Mark | null {
  try {
    const read = v.safeParse(markSchema, JSON.parse(text))
    return read.success ? read.output : null
  } catch {
    return null
  }
}

/** The names in a folder; none if it is not there. Throws BAD_INPUT if it is no folder. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw new WalferryError('BAD_INPUT', `${folder} cannot be used as a folder`, { cause: error })
  }
}

/** The path without links, also where its end is not there yet. */
export async function realFolder(folder: string): Promise<string> {
  if (await isThere(folder)) return await realpath(folder)
  const parent = dirname(folder)
  return parent === folder ? folder : join(await realFolder(parent), folder.slice(parent.length))
}

async function isThere(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => null)) !== null
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return systemCode(error) === 'EPERM'
  }
}

function notEmpty(message: string, hint: string): WalferryError {
  return new WalferryError('BAD_INPUT', message, { hint })
}
