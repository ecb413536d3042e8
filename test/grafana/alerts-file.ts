/** grafana/alerts.yml, as its tests read it. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { load } from 'js-yaml'
import * as v from 'valibot'

/** grafana/, whatever the build folder is called. */
export const grafanaFolder = resolve(import.meta.dirname, '../../../grafana')
export const alertsFile = resolve(grafanaFolder, 'alerts.yml')

const alert = v.strictObject({
  alert: v.string(),
  expr: v.string(),
  for: v.optional(v.string()),
  labels: v.strictObject({ severity: v.picklist(['warning', 'critical']) }),
  annotations: v.strictObject({ summary: v.string(), description: v.string(), runbook: v.string() }),
})

const file = v.strictObject({ groups: v.array(v.strictObject({ name: v.string(), rules: v.array(alert) })) })

export type Alert = v.InferOutput<typeof alert>

/** Every alert, in the order of the file. Throws where one lacks a severity, a summary, a description or a runbook. */
export function readAlerts(): Alert[] {
  return v.parse(file, load(readFileSync(alertsFile, 'utf8'))).groups.flatMap((group) => group.rules)
}
