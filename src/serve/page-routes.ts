/**
 * What the status page at `/` is made of. Its files lie beside this one, in `page/`, and it asks for `/status.json`,
 * `/history.json` and `/archive.json`.
 *
 * The page may load nothing but itself, and nobody may frame it: what it shows comes from servers and archives that
 * others write to.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Answer, Route } from './routes.ts'

const folder = join(import.meta.dirname, 'page')

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** Beside those that every answer has. */
const headers = { 'Content-Security-Policy': policy }

const types = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

export const pageRoutes: readonly (readonly [path: string, route: Route])[] = [
  ['/', () => file('index.html', types.html)],
  ['/page/page.css', () => file('page.css', types.css)],
  ['/page/icon.svg', () => file('icon.svg', types.svg)],
  ['/page/main.js', () => file('main.js', types.js)],
  ['/history.json', (served) => json(served.history())],
  ['/archive.json', (served) => json(served.archive())],
]

async function file(name: string, type: string): Promise<Answer> {
  return { status: 200, type, body: await readFile(join(folder, name)), headers }
}

function json(value: unknown): Answer {
  return { status: 200, type: 'application/json', body: `${JSON.stringify(value)}\n` }
}
