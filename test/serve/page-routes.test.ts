/** What the page's paths answer, and what a browser is allowed to do with it. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { openLog } from '../../src/daemon/log.ts'
import { listen } from '../../src/serve/listener.ts'
import { routes, type Served } from '../../src/serve/routes.ts'
import { SampleRing } from '../../src/serve/samples.ts'
import { deadline } from '../support/postgres.ts'
import { emptyStatus } from './statuses.ts'

const thinned = new SampleRing(10, 1).thin(1, 2, { atMs: 0, wallMs: 0 })
const served: Served = {
  contentType: 'text/plain',
  metrics: async () => '',
  reasons: () => [],
  status: async () => emptyStatus,
  history: () => ({ recent: thinned, all: thinned }),
  archive: () => ({ at: null, listing: null, isLooking: true, problem: null }),
}

/** What a browser is given, by the listener itself. */
async function ask(t: TestContext, path: string): Promise<{ readonly headers: Headers; readonly body: string }> {
  const log = openLog('info', 'text', () => undefined)
  const listener = await listen({ host: '127.0.0.1', port: 0, tls: null, log }, served)
  t.after(() => listener.close())
  const answer = await fetch(listener.url + path, { signal: deadline() })
  assert.equal(answer.status, 200)
  return { headers: answer.headers, body: await answer.text() }
}

const paths: readonly (readonly [path: string, type: RegExp])[] = [
  ['/', /^text\/html; charset=utf-8$/],
  ['/page/page.css', /^text\/css/],
  ['/page/main.js', /^text\/javascript/],
  ['/page/icon.svg', /^image\/svg\+xml$/],
  ['/history.json', /^application\/json$/],
  ['/archive.json', /^application\/json$/],
]
for (const [path, type] of paths) {
  test(`${path} may load nothing from elsewhere, be framed by nobody, and is kept nowhere`, async (t) => {
    const { headers } = await ask(t, path)
    assert.match(headers.get('content-type') ?? '', type)
    const policy = headers.get('content-security-policy') ?? ''
    assert.match(policy, /^default-src 'none'; /)
    assert.match(policy, /frame-ancestors 'none'/)
    assert.doesNotMatch(policy, /unsafe|\*|https?:|data:/)
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.equal(headers.get('referrer-policy'), 'no-referrer')
    assert.equal(headers.get('cache-control'), 'no-store')
  })
}

test('the page loads only paths that are there, and holds no script or style of its own', async (t) => {
  const html = (await ask(t, '/')).body
  const loaded = [...html.matchAll(/(?:src|href)="([^"#][^"]*)"/g)].map(([, path]) => path ?? '')
  assert.ok(loaded.includes('/page/main.js'))
  for (const path of loaded) assert.ok(routes.has(path), `the page names ${path}, which is not there`)
  assert.doesNotMatch(html, /<style|style=|\son\w+=|<script(?! type="module" src="\/page\/main\.js"><\/script>)/)
})

test('nothing of the page names another host', async (t) => {
  for (const [path] of paths) {
    const hosts = (await ask(t, path)).body.match(/\/\/[a-z0-9.-]+\.[a-z]{2,}/gi) ?? []
    assert.deepEqual(
      hosts.filter((host) => host !== '//www.w3.org'),
      [],
      `${path}: the name space of SVG is no address`,
    )
  }
})
