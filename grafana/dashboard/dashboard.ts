/** grafana/dashboard.json, put together: variables, annotations, the four questions, and the rows. */
import {
  AnnotationQueryBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  type VariableOption,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus'
import { prometheus } from './panels.ts'
import { questions } from './questions.ts'
import { rows } from './rows.ts'
import { select } from './select.ts'

const all: VariableOption = { selected: true, text: ['All'], value: ['$__all'] }

/** The file as it is committed. */
export function dashboardText(): string {
  return `${JSON.stringify(dashboard(), null, 2)}\n`
}

export function dashboard(): Dashboard {
  const builder = new DashboardBuilder('walferry')
    .uid('walferry')
    .description(
      'How much would be lost now, whether it gets worse, where it hangs, and to which moment one can restore.',
    )
    .tags(['walferry', 'postgresql', 'backup'])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('10s')
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .editable()
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(labelVariable('cluster', 'Cluster', 'walferry_build_info'))
    .withVariable(labelVariable('instance', 'Receiver', 'walferry_build_info{cluster=~"$cluster"}'))
    .annotation(
      annotation(
        'Timeline switches',
        'purple',
        // Over the moments in which a receiver that has just started has none.
        `changes((${select('walferry_timeline')} > 0)[1m:15s]) > 0`,
        'The stream went on on another timeline',
      ),
    )
    .annotation(
      annotation(
        'Gaps',
        'red',
        `increase(${select('walferry_gaps_total')}[1m]) > 0`,
        'WAL was lost: a gap in the archive',
      ),
    )
  for (const panel of questions()) builder.withPanel(panel)
  for (const { title, panels } of rows()) {
    builder.withRow(new RowBuilder(title))
    for (const panel of panels) builder.withPanel(panel)
  }
  const built = builder.build()
  // The library leaves them to Grafana, which would count anew with each import.
  for (const [at, panel] of (built.panels ?? []).entries()) panel.id = at + 1
  return built
}

/** With all of them, `.*` also matches a target that has no such label. */
function labelVariable(name: string, label: string, of: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(prometheus)
    .query({ qryType: 1, query: `label_values(${of}, ${name})`, refId: name })
    .definition(`label_values(${of}, ${name})`)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.NaturalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current(all)
}

function annotation(name: string, color: string, expr: string, title: string): AnnotationQueryBuilder {
  return new AnnotationQueryBuilder()
    .name(name)
    .datasource(prometheus)
    .enable(true)
    .iconColor(color)
    .target(new DataqueryBuilder().refId('Anno').expr(expr))
    .expr(expr)
    .step('15s')
    .titleFormat(title)
    .textFormat('{{cluster}} {{instance}}')
}
