/** The kinds of panels, each with what all of its kind have. A panel is made with its title, its description and its unit. */
import {
  AxisPlacement,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  type DataSourceRef,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  GraphThresholdsStyleConfigBuilder,
  SortOrder,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common'
import {
  FieldColorBuilder,
  FieldColorModeId,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard'
import {
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  PanelBuilder as Heatmap,
  YAxisConfigBuilder,
} from '@grafana/grafana-foundation-sdk/heatmap'
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as StateTimeline } from '@grafana/grafana-foundation-sdk/statetimeline'
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries'

/** The variable, so that it works with whatever name the provisioned data source has. */
export const prometheus: DataSourceRef = { type: 'prometheus', uid: '${datasource}' }

/** What a panel says of itself. */
export interface About {
  readonly title: string
  readonly description: string
  /** Grafana's word for it: `s`, `bytes`, `Bps`. */
  readonly unit: string
}

/** A query, and how its series are called. */
export interface Query {
  readonly expr: string
  readonly legend?: string
}

/** Colours from a value on; below the first one all is well. */
export type Limits = readonly (readonly [from: number, color: 'yellow' | 'orange' | 'red' | 'green'])[]

/** A whole row of the dashboard is 24 wide. */
const graphHeight = 8
const statHeight = 5

/** How a receiver is called in a legend. Without the label cluster the first part is empty. */
export const receiver = '{{cluster}} {{instance}}'

export function stat(about: About, queries: readonly Query[], limits: Limits): Stat {
  return described(new Stat(), about)
    .targets(queries.map((query, at) => target(query, at).instant()))
    .thresholds(thresholds(limits))
    .colorScheme(byThreshold())
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .colorMode(BigValueColorMode.Background)
    .graphMode(BigValueGraphMode.None)
    .textMode(BigValueTextMode.Auto)
    .height(statHeight)
    .span(6)
}

export function graph(about: About, queries: readonly Query[], limits: Limits = []): TimeSeries {
  const made = described(new TimeSeries(), about)
    .targets(queries.map((query, at) => target(query, at).range()))
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(LegendDisplayMode.Table)
        .placement(LegendPlacement.Bottom)
        .calcs(['lastNotNull', 'max']),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending))
    .showPoints(VisibilityMode.Never)
    .fillOpacity(10)
    .min(0)
    .height(graphHeight)
    .span(8)
  if (limits.length === 0) return made
  return made
    .thresholds(thresholds(limits))
    .thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed))
}

/** Of a histogram's buckets: how many each second took how long. */
export function heatmap(about: About, query: Query): Heatmap {
  return described(new Heatmap(), about)
    .targets([target(query, 0).range().format(PromQueryFormat.Heatmap).legendFormat('{{le}}')])
    .calculate(false)
    .showValue(VisibilityMode.Never)
    .color(new HeatmapColorOptionsBuilder().mode(HeatmapColorMode.Scheme).scheme('Oranges').steps(32))
    .yAxis(new YAxisConfigBuilder().unit(about.unit).axisPlacement(AxisPlacement.Left))
    .height(graphHeight)
    .span(8)
}

/** Bars over time, one for each series, coloured by their value. */
export function states(about: About, queries: readonly Query[], limits: Limits): StateTimeline {
  return described(new StateTimeline(), about)
    .targets(queries.map((query, at) => target(query, at).range()))
    .thresholds(thresholds(limits))
    .colorScheme(byThreshold())
    .mergeValues(true)
    .showValue(VisibilityMode.Never)
    .legend(new VizLegendOptionsBuilder().showLegend(false).displayMode(LegendDisplayMode.List))
    .height(graphHeight)
    .span(8)
}

interface Describable<T> {
  title(title: string): T
  description(description: string): T
  unit(unit: string): T
  datasource(datasource: DataSourceRef): T
}

function described<T extends Describable<T>>(panel: T, { title, description, unit }: About): T {
  return panel.title(title).description(description).unit(unit).datasource(prometheus)
}

function target({ expr, legend = receiver }: Query, at: number): DataqueryBuilder {
  const refId = String.fromCharCode('A'.charCodeAt(0) + at)
  return new DataqueryBuilder().refId(refId).datasource(prometheus).expr(expr).legendFormat(legend)
}

function byThreshold(): FieldColorBuilder {
  return new FieldColorBuilder().mode(FieldColorModeId.Thresholds)
}

function thresholds(limits: Limits): ThresholdsConfigBuilder {
  const steps: Threshold[] = [{ value: null, color: 'green' }, ...limits.map(([value, color]) => ({ value, color }))]
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps)
}
