/** `npm run dashboard`: writes grafana/dashboard.json. */
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { dashboardText } from './dashboard.ts'

// From dist/grafana/dashboard.
writeFileSync(resolve(import.meta.dirname, '../../../grafana/dashboard.json'), dashboardText())
