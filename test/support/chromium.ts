/**
 * A real browser for tests: Chromium, as it is installed or as CHROMIUM names it.
 *
 *     const chromium = await findChromium()
 *     test('the page loads', { skip: chromium === null && 'no Chromium is installed' }, async (t) => {
 *       const browser = await startChromium(t, chromium)
 */
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Browser, launch, type Page } from 'puppeteer-core'

const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'chrome']

/** Its path; null where there is none. One that CHROMIUM names must be there. */
export async function findChromium(): Promise<string | null> {
  const named = process.env['CHROMIUM']
  if (named !== undefined) {
    await access(named, constants.X_OK)
    return named
  }
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of names) {
      const path = join(folder, name)
      if (
        await access(path, constants.X_OK).then(
          () => true,
          () => false,
        )
      )
        return path
    }
  }
  return null
}

/** Closed at the end of the test, and gone with its profile. */
export async function startChromium(t: TestContext, path: string): Promise<Browser> {
  const browser = await launch({
    executablePath: path,
    // Its sandbox refuses root; and in a container there may be little shared memory.
    args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), '--disable-dev-shm-usage', '--disable-gpu'],
  })
  t.after(() => browser.close())
  return browser
}

/** What an expression comes to in the page, where the DOM is; the caller says of which type that is. */
export async function inPage<T>(page: Page, expression: string): Promise<T> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- types do not reach into another process
  return (await page.evaluate(expression)) as T
}
