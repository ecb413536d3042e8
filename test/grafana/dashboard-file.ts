/** grafana/dashboard.json, as its tests and Grafana read it. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import * as v from 'valibot'
import { grafanaFolder } from './alerts-file.ts'

const datasource = v.strictObject({ type: v.literal('prometheus'), uid: v.literal('${datasource}') })
const target = v.object({
  refId: v.string(),
  expr: v.string(),
  legendFormat: v.string(),
  instant: v.boolean(),
  datasource,
})

const panel = v.object({
  id: v.number(),
  type: v.string(),
  title: v.string(),
  description: v.optional(v.string()),
  datasource: v.optional(datasource),
  fieldConfig: v.optional(v.object({ defaults: v.object({ unit: v.optional(v.string()) }) })),
  targets: v.optional(v.array(target)),
  gridPos: v.object({ x: v.number(), y: v.number(), w: v.number(), h: v.number() }),
})

const file = v.object({
  uid: v.string(),
  title: v.string(),
  schemaVersion: v.number(),
  panels: v.array(panel),
  templating: v.object({
    list: v.array(v.object({ name: v.string(), type: v.string(), definition: v.optional(v.string()) })),
  }),
  annotations: v.object({
    list: v.array(v.object({ name: v.string(), expr: v.string(), textFormat: v.string(), datasource })),
  }),
})

export type Panel = v.InferOutput<typeof panel>
export type DashboardFile = v.InferOutput<typeof file>

export function readDashboard(): DashboardFile {
  return v.parse(file, JSON.parse(readFileSync(resolve(grafanaFolder, 'dashboard.json'), 'utf8')))
}

export interface DashboardQuery {
  /** The panel's title, or the annotation's name. */
  readonly of: string
  readonly expr: string
  /** What names its series. */
  readonly legend: string
  readonly instant: boolean
}

/** Every query: of the panels, of the annotations. */
export function queriesOf({ panels, annotations }: DashboardFile): DashboardQuery[] {
  const shown = panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat, instant }) => ({ of: title, expr, legend: legendFormat, instant })),
  )
  const noted = annotations.list.map(({ name, expr, textFormat }) => ({
    of: name,
    expr,
    legend: textFormat,
    instant: false,
  }))
  return [...shown, ...noted]
}
