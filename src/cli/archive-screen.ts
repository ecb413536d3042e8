/** What an archive says where no receiver answers, for a person: the four questions, and what the answers come from. Pure. */
import { type ArchiveStatus, completedAt } from '../audit/archive-status.ts'
import { timeText } from '../audit/tell-listing.ts'
import { formatLsn } from '../wal/lsn.ts'
import { dateOf, formatTimestamp } from '../wal/timestamp.ts'
import { type Answer, type Canvas, drawAnswers, needsHand, type Said } from './paint.ts'
import { counted } from './receiver-details.ts'
import { agoText, durationText, secondsBetween } from './time-words.ts'

const mostLines = 5

/**
 * `why` is why no receiver speaks; `now` may be later than the archive was read. What needs a hand comes first of the
 * details: on a small screen the last lines are not seen.
 */
export function drawArchive(why: string, archive: ArchiveStatus, now: Date, canvas: Canvas): string[] {
  const who: Answer = {
    label: 'Receiver',
    text: `${why}: this is what the archive says`,
    tone: 'bad',
    more: [{ text: `${archive.store}, ${agoText(archive.at, now)}` }],
  }
  const details = [backlogOf(archive, now), backupsOf(archive, now), windowsOf(archive), gapsOf(archive)]
  if (archive.tree.length > 0) details.push(timelinesOf(archive))
  return [
    ...drawAnswers([who], canvas),
    '',
    ...drawAnswers(
      [
        lossOf(archive, now),
        {
          label: 'Getting worse?',
          text: 'not known: only a receiver sees the server',
          tone: 'warning',
        },
        holdUpOf(archive),
        restorableOf(archive, now),
      ],
      canvas,
    ),
    '',
    ...drawAnswers([...details.filter(needsHand), ...details.filter((one) => !needsHand(one))], canvas),
  ]
}

function lossOf({ restorable }: ArchiveStatus, now: Date): Answer {
  const label = 'Loss now'
  if (restorable === null) return { label, text: 'you would lose all: no backup can be restored', tone: 'bad' }
  const seconds = secondsBetween(dateOf(restorable.time), now)
  return {
    label,
    text: `you would lose up to ${durationText(seconds)}: all commits since`,
    tone: 'warning',
  }
}

function holdUpOf({ backlog }: ArchiveStatus): Answer {
  const label = 'Where it hangs'
  const hint = { text: 'hint: does walferry receive run? Give its --listen HOST:PORT here if it runs elsewhere.' }
  const text =
    backlog.length === 0 ? 'no receiver is in sight' : 'a receiver holds WAL that it has not shipped (Backlog)'
  return { label, text, tone: backlog.length === 0 ? 'warning' : 'bad', more: [hint] }
}

function restorableOf({ restorable, backups }: ArchiveStatus, now: Date): Answer {
  const label = 'Restorable to'
  if (restorable === null) {
    const none = backups.others === 0 ? 'there is no base backup' : 'no base backup has all the WAL that it needs'
    const hint = 'hint: walferry backup takes one, walferry list shows which exist'
    return { label, text: `none: ${none}, and WAL alone restores nothing`, tone: 'bad', more: [{ text: hint }] }
  }
  const { time, isCommit, end, timeline, backup, beforeGap } = restorable
  const what = isCommit ? 'the last commit' : 'the end of a backup; no commit was found behind it'
  const age = durationText(secondsBetween(completedAt(backup), now))
  const more: Said[] = [
    { text: `${what}; WAL of timeline ${timeline} up to ${formatLsn(end)}` },
    { text: `from ${backup.name}, ${age} old` },
  ]
  if (beforeGap)
    more.push({ text: 'newer WAL lies behind a gap: to get there takes a backup from behind it', tone: 'bad' })
  return { label, text: `${formatTimestamp(time)}, ${agoText(dateOf(time), now)}`, more }
}

function backlogOf({ backlog }: ArchiveStatus, now: Date): Answer {
  const label = 'Backlog'
  if (backlog.length === 0) return { label, text: 'no receiver has noted that it holds more WAL' }
  const more = backlog.flatMap(({ slot, note }) => [
    {
      text: `slot ${slot} on ${note.host}: timeline ${note.timeline} up to ${formatLsn(note.lsn)}, ${agoText(note.time, now)}`,
    },
  ])
  const hint = 'hint: start that receiver: it ships what its spool holds, without any server.'
  const text = 'a receiver holds WAL that the archive has not'
  return { label, text, tone: 'bad', more: [...more, { text: hint }] }
}

function backupsOf({ backups: { usable, others, newest } }: ArchiveStatus, now: Date): Answer {
  const label = 'Backups'
  const unusable = others === 0 ? '' : `, ${others} cannot`
  if (newest === null)
    return { label, text: `none that can be restored${others === 0 ? '' : ` (of ${others})`}`, tone: 'bad' }
  const time = completedAt(newest)
  const text = `${usable} can be restored${unusable}; newest ${timeText(time)}, ${agoText(time, now)}`
  return { label, text, tone: others === 0 ? undefined : 'warning', more: [{ text: newest.name }] }
}

function windowsOf({ windows }: ArchiveStatus): Answer {
  const [first, ...more] = windows
    .toReversed()
    .map(({ timeline, first: { finishTime, modified }, lastCommit, backups }) => {
      const from = timeText(finishTime ?? modified)
      const to = lastCommit === null ? 'no commit behind it' : `to ${timeText(dateOf(lastCommit))}`
      return { text: `timeline ${timeline}: ${from} ${to}, ${counted(backups.length, 'backup')}` }
    })
  return { label: 'Windows', ...(first ?? { text: 'none' }), more: firstOf(more) }
}

function gapsOf({ gaps }: ArchiveStatus): Answer {
  const label = 'Gaps'
  if (gaps.length === 0) return { label, text: 'none' }
  const lines = gaps.toReversed().map(({ timeline, from, to }) => {
    const until = to === null ? 'an unknown end' : formatLsn(to)
    return { text: `timeline ${timeline}, ${formatLsn(from)} to ${until}` }
  })
  return { label, text: `${counted(gaps.length, 'gap')}: WAL is missing`, tone: 'bad', more: firstOf(lines) }
}

function timelinesOf({ tree }: ArchiveStatus): Answer {
  const text = 'more than one may be the newest: restore needs --target-timeline'
  return { label: 'Timelines', text, tone: 'warning', more: tree.map((line) => ({ text: line.trim() })) }
}

function firstOf(lines: readonly Said[]): Said[] {
  const shown = lines.slice(0, mostLines)
  return lines.length === shown.length ? shown : [...shown, { text: `and ${lines.length - shown.length} more` }]
}
