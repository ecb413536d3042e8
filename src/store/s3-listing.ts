/**
 * The objects of a page of a listing, taken out of the answer before the SDK reads it:
 *
 *     <ListBucketResult>...<Contents><Key>a</Key><LastModified>2026-01-31T12:00:00.000Z</LastModified>...<Size>3</Size>...
 *
 * The SDK’s reader takes three quarters of the CPU time of a listing. All else in the answer (errors, whether there is
 * more) is left for it to read; and a page whose objects are written in any other way than stores are known to write them
 * (comments, entities in a key, a time that is not UTC) is left to it as a whole.
 */
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { ListObjectsV2Command } from '@aws-sdk/client-s3'

/** As the SDK names them. */
export interface ListedObject {
  readonly Key: string
  readonly Size: number
  readonly LastModified: Date
}

export interface TakenPage {
  readonly objects: readonly ListedObject[]
  /** The answer without them. */
  readonly rest: string
}

/** To be called before the command is sent. The result tells what was taken from the answer; null: the SDK reads it all. */
export function takingObjects(command: ListObjectsV2Command): () => readonly ListedObject[] | null {
  let taken: readonly ListedObject[] | null = null
  command.middlewareStack.add(
    (next) => async (args) => {
      const answer = await next(args)
      const { response } = answer
      if (isPage(response)) {
        const whole = await text(response.body)
        const page = takeObjects(whole)
        taken = page?.objects ?? null
        Object.assign(response, { body: Buffer.from(page?.rest ?? whole) })
      }
      return answer
    },
    // Nearest to the network: before the SDK's own reader.
    { step: 'deserialize', priority: 'low' },
  )
  return () => taken
}

/** Null where they are not written as expected: then none is taken. */
export function takeObjects(xml: string): TakenPage | null {
  // A comment or a CDATA section may hold anything.
  if (xml.includes('<!')) return null
  const objects: ListedObject[] = []
  const first = xml.indexOf(open)
  let end = first
  for (let at = first; at !== -1; at = xml.indexOf(open, end)) {
    const behind = xml.indexOf(close, at)
    const object = behind === -1 ? null : objectOf(xml.slice(at + open.length, behind))
    if (object === null || xml.slice(end, at).trim() !== '') return null
    objects.push(object)
    end = behind + close.length
  }
  const rest = objects.length === 0 ? xml : xml.slice(0, first) + xml.slice(end)
  return rest.includes('Contents') ? null : { objects, rest }
}

const open = '<Contents>'
const close = '</Contents>'

function objectOf(contents: string): ListedObject | null {
  const key = textOf(contents, 'Key')
  const size = textOf(contents, 'Size')
  const modified = textOf(contents, 'LastModified')
  if (key === null || size === null || modified === null) return null
  if (/[&<\r]/.test(key) || !/^[0-9]{1,15}$/.test(size) || !utcTime.test(modified)) return null
  const time = new Date(modified)
  return Number.isNaN(time.getTime()) ? null : { Key: key, Size: Number(size), LastModified: time }
}

const utcTime = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z$/

function textOf(contents: string, tag: string): string | null {
  const from = contents.indexOf(`<${tag}>`)
  const to = contents.indexOf(`</${tag}>`, from)
  return from === -1 || to === -1 ? null : contents.slice(from + tag.length + 2, to)
}

/** An answer of another status is an error, with a document of its own. */
function isPage(response: unknown): response is { readonly body: Readable } {
  if (typeof response !== 'object' || response === null) return false
  return (
    'statusCode' in response && response.statusCode === 200 && 'body' in response && response.body instanceof Readable
  )
}
