/** Where does it hang? What a receiver complains of, or else the stage with the most WAL before it. */
import { humanBytes } from '../audit/tell-listing.ts'
import type { Status } from '../serve/status.ts'
import type { Answer, Said } from './paint.ts'
import { durationText } from './time-words.ts'
import { calmSeconds } from './trend.ts'

/** By the beginning of an error's code. */
const places: readonly (readonly [RegExp, string])[] = [
  [/^(?:STORE|ARCHIVE|ENCRYPTION|KEY)_/, 'the store'],
  [/^SPOOL_/, 'the spool'],
  [/^(?:PG|SERVER|SLOT|WAL)_/, 'the server'],
]

export function holdUpOf(status: Status): Omit<Answer, 'label'> {
  const [first, ...more] = status.reasons.flatMap(reasonLines)
  if (first !== undefined) return { ...first, more }
  if ((status.lossSeconds ?? 0) < calmSeconds) return { text: 'nowhere', tone: 'good' }
  const { receive, sync, ship } = status.lag
  const most = Math.max(receive.bytes, sync.bytes, ship.bytes)
  if (most === 0) {
    const text = `the way from the server: it has said nothing for ${durationText(status.lossSeconds ?? 0)}, though it was asked`
    return { text, tone: 'warning' }
  }
  if (ship.bytes === most) {
    return { text: `the store: ${humanBytes(most)} wait to be shipped, which goes on, but slowly`, tone: 'warning' }
  }
  if (sync.bytes === most) {
    return { text: `the spool: ${humanBytes(most)} wait to be synced; its disk is slow`, tone: 'warning' }
  }
  const text = `the way from the server: ${humanBytes(most)} are not received yet; network or server are slow`
  return { text, tone: 'warning' }
}

type Reason = Status['reasons'][number]

function reasonLines({ code, message, hint }: Reason): [Said, ...Said[]] {
  const place = places.find(([beginning]) => beginning.test(code))?.[1]
  const text = `${place === undefined ? '' : `${place}: `}${message} [${code}]`
  return [{ text, tone: 'bad' }, ...(hint === undefined ? [] : [{ text: `hint: ${hint}` }])]
}
