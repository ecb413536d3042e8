/**
 * What the listener answers, path by path.
 *
 *     /metrics       for Prometheus
 *     /healthz       the process answers
 *     /readyz        WAL flows and nothing needs a hand: 200, else 503 with the reasons as JSON
 *     /status.json   all that is known at this moment: see status.ts
 *     /              the status page, with what it asks for: see page-routes.ts
 */
import type { ArchiveAnswer } from './archive-view.ts'
import { pageRoutes } from './page-routes.ts'
import type { History } from './samples.ts'
import type { Status } from './status.ts'

export interface Reason {
  readonly code: string
  readonly message: string
  readonly hint?: string
}

/** What the routes tell, asked for with each request. */
export interface Served {
  readonly contentType: string
  metrics(): Promise<string>
  /** Why it is not ready; empty when it is. */
  reasons(): readonly Reason[]
  status(): Promise<Status>
  /** How lag and throughput went. */
  history(): History
  /** What is known of the archive; begins to look at it if that is old. */
  archive(): ArchiveAnswer
}

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string | Uint8Array
  readonly headers?: Readonly<Record<string, string>>
}

export type Route = (served: Served) => Answer | Promise<Answer>

export const routes: ReadonlyMap<string, Route> = new Map<string, Route>([
  ['/metrics', async (served) => ({ status: 200, type: served.contentType, body: await served.metrics() })],
  ['/healthz', () => json(200, { healthy: true })],
  [
    '/readyz',
    (served) => {
      const reasons = served.reasons()
      return json(reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons })
    },
  ],
  ['/status.json', async (served) => json(200, await served.status())],
  ...pageRoutes,
])

/** For a path that is not there. */
export function noSuchPath(): Answer {
  // What the page is made of is its own affair.
  const known = [...routes.keys()].filter((path) => !path.startsWith('/page/'))
  const body = `There are ${known.slice(0, -1).join(', ')} and ${known.at(-1)}.\n`
  return { status: 404, type: 'text/plain', body }
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` }
}
