/** The four questions of the person on call, each with its answer as one figure or word. */
import type { Builder } from '@grafana/grafana-foundation-sdk/cog'
import { BigValueColorMode, BigValueTextMode } from '@grafana/grafana-foundation-sdk/common'
import { MappingType, type Panel, type ValueMapping } from '@grafana/grafana-foundation-sdk/dashboard'
import { receiver, stat } from './panels.ts'
import { select, unlessWaiting } from './select.ts'

const noReceiver = 'nothing is known'
/** What is this old is on its way; beyond it something holds it up. */
const heldUpSeconds = 5

export function questions(): Builder<Panel>[] {
  return [
    stat(
      {
        title: 'How much would we lose now?',
        description:
          'The age of the oldest WAL that is not in the store: what would be gone if the server and the spool were gone now. 0 on an idle server whose WAL is all shipped.',
        unit: 's',
      },
      [{ expr: unlessWaiting(select('walferry_loss_seconds')) }],
      [
        [30, 'orange'],
        [60, 'red'],
      ],
    )
      .noValue(noReceiver)
      .decimals(1),
    stat(
      {
        title: 'Is it getting worse?',
        description:
          'How fast that age has grown over the last 5 minutes: by 1 s each second means that nothing is shipped at all.',
        unit: 'none',
      },
      [{ expr: unlessWaiting(`deriv(${select('walferry_loss_seconds')}[5m])`) }],
      [
        [0.1, 'orange'],
        [0.9, 'red'],
      ],
    )
      .noValue(noReceiver)
      .mappings([range(null, 0.1, 'no'), range(0.1, 0.9, 'yes, slowly'), range(0.9, null, 'yes, nothing is shipped')]),
    stat(
      {
        title: 'Where does it hang?',
        description:
          'The error codes for which a receiver is not ready, and the stages (receive, sync, ship) whose oldest byte has waited for more than 5 s.',
        unit: 'none',
      },
      [
        { expr: problems, legend: `{{code}} ${receiver}` },
        { expr: heldUp, legend: `{{stage}} ${receiver}` },
        {
          expr: `0 * group(${select('walferry_build_info')}) unless on () (${problems} or ${heldUp})`,
          legend: 'nowhere',
        },
      ],
      [[0.5, 'red']],
    )
      .noValue(noReceiver)
      .textMode(BigValueTextMode.Name),
    stat(
      {
        title: 'To which moment can I restore?',
        description:
          "The newest moment, by the server's clock, to which the store alone can bring the database. Without a base backup from behind the last gap it stands still, or there is none. How far back: `walferry list`.",
        unit: 'dateTimeAsLocal',
      },
      [{ expr: unlessWaiting(restorable) }],
      [],
    )
      .noValue('none, or not known')
      .colorMode(BigValueColorMode.None),
  ]
}

/** A receiver that waits for its partner is none. */
const problems = `(${select('walferry_problem')} == 1 unless (walferry_problem{code="SLOT_IN_USE"} == 1 and on (cluster, job) walferry_connected == 1))`
const heldUp = `(${unlessWaiting(`${select('walferry_lag_seconds')} > ${heldUpSeconds}`)})`
/** Grafana counts milliseconds. 0 is no moment: there is none. */
const restorable = `1000 * (${select('walferry_restorable_time_seconds')} > 0)`

function range(from: number | null, to: number | null, text: string): ValueMapping {
  return { type: MappingType.RangeToText, options: { from, to, result: { text } } }
}
