/**
 * Where a backup's tablespaces go: to where they lay on the server, unless `--tablespace-mapping OLD=NEW` says otherwise.
 *
 * A server that starts from a backup makes the links in pg_tblspc again, by what stands in `tablespace_map`: one line
 * for each, `16385 /mnt/fast`, with a backslash before a line break or a backslash of the path. So a mapping holds only
 * if that file has it, too (src/backend/access/transam/xlogrecovery.c, read_tablespace_map).
 */
import { isAbsolute, join, normalize, relative } from 'node:path'
import { damaged } from '../archive/damaged.ts'
import type { Tablespace } from '../archive/sentinel.ts'
import { WalferryError } from '../kit/errors.ts'

/** From the place on the server to the place here; absolute paths without a slash at their end. */
export type TablespaceMapping = ReadonlyMap<string, string>

/** Reads lines of `OLD=NEW`; a `=` that belongs to a path is written `\=`. Throws BAD_INPUT. */
export function parseTablespaceMapping(text: string): TablespaceMapping {
  const mapping = new Map<string, string>()
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const sides = line.split(/(?<!\\)=/).map((side) => side.replaceAll('\\=', '='))
    const [from = '', to = ''] = sides
    if (sides.length !== 2 || !isAbsolute(from) || !isPlain(to)) {
      throw bad(`"${line}" is not a mapping of two absolute paths`, 'Write --tablespace-mapping /old/place=/new/place.')
    }
    if (mapping.has(trimmed(from))) throw bad(`"${from}" is mapped twice`, 'Give each tablespace one place.')
    mapping.set(trimmed(from), trimmed(to))
  }
  return mapping
}

/**
 * The tablespaces with their places here. Throws BAD_INPUT for a mapping of what is none of them, and for places that
 * lie in each other or in the data folder.
 */
export function placeTablespaces(
  tablespaces: readonly Tablespace[],
  mapping: TablespaceMapping,
  folder: string,
): Tablespace[] {
  const known = new Set(tablespaces.map(({ location }) => trimmed(location)))
  for (const from of mapping.keys()) {
    if (!known.has(from)) {
      const all = [...known].join(', ') || 'none'
      throw bad(`the backup has no tablespace at ${from}`, `Its tablespaces lie at: ${all}.`)
    }
  }
  const placed = tablespaces.map(({ oid, location }) => {
    const to = mapping.get(trimmed(location)) ?? trimmed(location)
    if (isPlain(to)) return { oid, location: to }
    const hint = `Give it another place: --tablespace-mapping '${location.replaceAll('=', '\\=')}=/new/place'.`
    throw bad(`tablespace ${oid} cannot be restored to "${location}"`, hint)
  })
  const places = [{ what: 'the data folder', at: folder }, ...placed.map(({ oid, location }) => whatOf(oid, location))]
  for (const [n, one] of places.entries()) {
    const other = places.slice(n + 1).find(({ at }) => isWithin(at, one.at) || isWithin(one.at, at))
    if (other === undefined) continue
    const hint = 'Give each a folder of its own: --tablespace-mapping OLD=NEW.'
    throw bad(`${other.what} at ${other.at} and ${one.what} at ${one.at} lie in each other`, hint)
  }
  return placed
}

/**
 * The text of tablespace_map with the places of `placed`; the same text where nothing moves. `key`, `tablespaces`: the
 * sentinel and what it says. Throws ARCHIVE_DAMAGED if the two do not say the same.
 */
export function mapTablespaces(
  key: string,
  text: string,
  tablespaces: readonly Tablespace[],
  placed: readonly Tablespace[],
): string {
  const lines = text.split(/(?<!(?<!\\)\\)\n/).map((line) => {
    if (line === '') return line
    const [, oid, escaped = ''] = /^(\d+) ([^]*)$/.exec(line) ?? []
    const stated = tablespaces.find((one) => one.oid === oid)
    const place = placed.find((one) => one.oid === oid)
    const location = escaped.replaceAll(/\\([\n\r\\])/g, '$1')
    if (stated === undefined || place === undefined || trimmed(stated.location) !== trimmed(location)) {
      throw damaged(key, `does not have the tablespaces of tablespace_map, which says ${JSON.stringify(line)}`)
    }
    return place.location === trimmed(location) ? line : `${oid} ${place.location}`
  })
  return lines.join('\n')
}

/** PostgreSQL takes no line breaks in such a path; a backslash would have to be doubled in some versions only. */
function isPlain(path: string): boolean {
  return isAbsolute(path) && !/[\0\r\n\\]/.test(path)
}

function whatOf(oid: string, at: string): { readonly what: string; readonly at: string } {
  return { what: `tablespace ${oid}`, at }
}

function trimmed(path: string): string {
  return normalize(join(path, '.')).replace(/(?<=.)\/+$/, '')
}

function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path)
  return way === '' || (way !== '..' && !way.startsWith('../'))
}

function bad(message: string, hint: string): WalferryError {
  return new WalferryError('BAD_INPUT', message, { hint })
}
