/**
 * The status page in a real browser, beside a receiver that runs. With WALFERRY_TEST_SHOTS=FOLDER it leaves pictures there,
 * for a person to judge.
 */
import assert from 'node:assert/strict'
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Page, SerializedAXNode } from 'puppeteer-core'
import { sleep } from '../../../src/kit/abort.ts'
import { parseLsn } from '../../../src/wal/lsn.ts'
import { findChromium, inPage, startChromium } from '../../support/chromium.ts'
import {
  connect,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  newestVersion,
  stepTimeoutMs,
  type TestVersion,
  value,
} from '../../support/postgres.ts'
import { tempFolder } from '../../support/temp.ts'
import { program, runProgram, startReceive, urlOf } from '../../support/walferry.ts'

/** A label is what somebody wrote. */
const hostile = '<img src=x onerror=alert(1)>'

/** Waits until an expression is true in the page. */
async function until(page: Page, expression: string): Promise<void> {
  try {
    await page.waitForFunction(expression, { timeout: stepTimeoutMs, polling: 50 })
  } catch (cause) {
    throw new Error(`${expression} did not come true on a page that says:\n${await text(page, 'body')}`, { cause })
  }
}

async function text(page: Page, selector: string): Promise<string> {
  return await inPage<string>(page, `document.querySelector(${JSON.stringify(selector)}).innerText`)
}

function has(selector: string, words: string): string {
  return `document.querySelector(${JSON.stringify(selector)})?.innerText.includes(${JSON.stringify(words)})`
}

/** Everything that a browser complains about: errors, refused content, answers that are none. */
function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('requestfailed', (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`))
  page.on('response', (response) => {
    if (!response.ok()) complaints.push(`${response.url()}: ${response.status()}`)
  })
  return complaints
}

/**
 * The texts whose contrast with what is behind them is below 4.5 (WCAG 2, AA). Computed as the WCAG defines it; nothing
 * on the page has a picture behind it.
 */
const faintTexts = `(() => {
  const channels = (color) => color.match(/[0-9.]+/g).map(Number)
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const behind = (node) => {
    for (let at = node; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor
      if (color !== 'rgba(0, 0, 0, 0)') return color
    }
    return 'rgb(255, 255, 255)'
  }
  const found = []
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim() !== '')
    if (!own || !node.checkVisibility() || ['TITLE', 'DESC', 'title', 'desc'].includes(node.tagName)) continue
    const style = getComputedStyle(node)
    const color = node instanceof SVGElement ? style.fill : style.color
    const [a, b] = [light(channels(color)), light(channels(behind(node)))].sort((x, y) => y - x)
    const ratio = (a + 0.05) / (b + 0.05)
    if (ratio < 4.5) found.push(node.tagName + ' ' + node.textContent + ' ' + ratio.toFixed(2))
  }
  return found
})()`

/** Presses Tab until focus leaves the page, and tells what had it. */
async function tabThrough(page: Page): Promise<string[]> {
  const seen: string[] = []
  for (;;) {
    await page.keyboard.press('Tab')
    const at = await inPage<string | null>(
      page,
      `(() => {
        const at = document.activeElement
        if (at === document.body) return null
        const style = getComputedStyle(at)
        if (style.outlineStyle === 'none') return 'focus is not seen on ' + at.outerHTML
        return at.innerText.trim() || at.parentElement.innerText.trim() || at.getAttribute('aria-label')
      })()`,
    )
    if (at === null) return seen
    seen.push(at)
    assert.ok(seen.length < 50, `focus goes round: ${seen.join(', ')}`)
  }
}

async function shoot(page: Page, name: string): Promise<void> {
  const folder = process.env['WALFERRY_TEST_SHOTS']
  if (folder === undefined) return
  await mkdir(folder, { recursive: true })
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
}

/** What a page in the background, or again in front, is told. */
function hide(isHidden: boolean): string {
  return `Object.defineProperty(document, 'hidden', { value: ${isHidden}, configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))`
}

interface AccessibleNode {
  readonly role: string
  readonly name: string
}

/** What assistive technology is told, in the order of the page. */
async function accessibleNodes(page: Page): Promise<AccessibleNode[]> {
  const root = await page.accessibility.snapshot({ interestingOnly: false })
  const found: AccessibleNode[] = []
  const walk = (node: SerializedAXNode): void => {
    found.push({ role: node.role, name: node.name ?? '' })
    for (const child of node.children ?? []) walk(child)
  }
  walk(root ?? assert.fail('the page has no accessibility tree'))
  return found
}

/** A receiver with something to show: two base backups, and a segment of WAL between them that is gone. */
async function makeScene(t: TestContext, version: TestVersion) {
  const folder = await tempFolder(t)
  const store = join(folder, 'archive')
  await mkdir(store)
  const server = await makeCluster({ version, segmentBytes: megabyte, settings: { autovacuum: false } })
  t.after(() => discardCluster(server))
  await server.start(deadline())
  const client = await connect(server)
  t.after(() => client.end())
  await client.query('CREATE TABLE t (text text)')
  const args = ['--ship-interval', '0']
  const receive = startReceive(t, { server: server.connection, store, spool: join(folder, 'spool'), args })
  await receive.waitForReady(deadline())
  const write = async (megabytes: number): Promise<void> => {
    await client.query(`INSERT INTO t SELECT repeat(md5(n::text), 30) FROM generate_series(1, ${megabytes * 1000}) n`)
  }
  const shipped = async (): Promise<void> => {
    await receive.waitForShipped(parseLsn(await value(client, 'SELECT pg_current_wal_flush_lsn()')), deadline())
  }
  const backUp = async (): Promise<void> => {
    const words = ['backup', '--url', urlOf(server.connection), '--store', store, '--fast', '--label', hostile]
    const { code, stderr } = await runProgram(program('walferry'), words, { signal: deadline() })
    assert.equal(code, 0, stderr)
  }
  await backUp()
  await write(4)
  await shipped()
  const [, gone = ''] = (await readdir(join(store, 'wal_005'))).toSorted().toReversed()
  await rm(join(store, 'wal_005', gone))
  await backUp()
  await shipped()
  return { server, receive, store, write, shipped, lsn: () => value(client, 'SELECT pg_current_wal_flush_lsn()') }
}

const chromium = await findChromium()
const skip = chromium === null && 'no Chromium is installed, and CHROMIUM names none'

for (const version of await newestVersion()) {
  test('the status page, in Chromium', { skip }, async (t) => {
    const { server, receive, store, write, shipped, lsn } = await makeScene(t, version)
    const browser = await startChromium(t, chromium ?? assert.fail())
    const page = await browser.newPage()
    const complaints = complaintsOf(page)
    const shipping = '#way li:last-child'
    let isSound = true
    /** Each goes on from where the one before has ended. */
    const step = async (name: string, run: () => Promise<void>): Promise<void> => {
      await t.test(name, { skip: !isSound && 'a step before it has failed' }, async () => {
        isSound = false
        await run()
        isSound = true
      })
    }

    await step('loads, and answers the four questions', async () => {
      await page.setViewport({ width: 1280, height: 900 })
      await page.goto(await receive.url(deadline()))
      await until(page, has('#verdict', 'Ready'))
      await until(page, has('#archive-note', '2 base backups, 2 windows, 1 gap'))
      assert.match(await text(page, '#way'), /Connected[^]*streaming/)
      await until(page, has('#loss', '0 s\n\nAll WAL'))
      await until(page, has('#hang', 'Nowhere'))
      await until(page, has('#restore', 'Any moment since'))
      assert.match(await text(page, '#restore'), /UTC\s+.*Any moment since .* Newest base backup/)
      assert.match(await page.title(), /^Ready · walferry of 127\.0\.0\.1/)
    })

    await step('shows new WAL by itself', async () => {
      const before = await text(page, `${shipping} .lsn`)
      await write(1)
      await until(page, `document.querySelector('${shipping} .lsn').innerText !== '${before}'`)
      await shipped()
      // The server may write by itself meanwhile.
      const signal = deadline()
      while ((await text(page, `${shipping} .lsn`)) !== (await lsn())) await sleep(50, signal)
    })

    await step('draws the charts once there are samples, and the archive with its gap', async () => {
      await until(page, "document.querySelectorAll('#lag-chart .plot > svg .curve').length === 4")
      await until(page, "document.querySelectorAll('#rate-chart .plot > svg .curve').length === 2")
      const count = (selector: string): Promise<number> =>
        inPage(page, `document.querySelectorAll('#archive-chart .plot > svg ${selector}').length`)
      assert.deepEqual([await count('.backup'), await count('.window'), await count('.gap')], [2, 2, 1])
    })

    await step(
      'every control is reached by Tab and seen to be, and the tables say what the pictures show',
      async () => {
        const reached = await tabThrough(page)
        assert.deepEqual(reached, [
          'Skip to the answers',
          'Last hour',
          'Lag as a table',
          'Throughput as a table',
          'Backups, windows and gaps as tables',
          'status',
          'history',
          'archive',
          'metrics',
          'readiness',
        ])
        await page.focus('#archive-chart summary')
        await page.keyboard.press('Enter')
        await until(page, has('#archive-chart .scroll', 'WAL that is missing'))
        assert.ok((await text(page, '#archive-chart .scroll')).includes(hostile), 'a label stays text')
        await page.focus('#lag-chart summary')
        await page.keyboard.press('Enter')
        await until(page, "document.querySelectorAll('#lag-chart tbody tr').length > 0")
        await page.focus('#span input')
        await page.keyboard.press('ArrowRight')
        await until(page, "document.querySelector('input[value=all]').checked")
      },
    )

    await step('a screen reader finds landmarks, headings and a name for everything', async () => {
      const nodes = await accessibleNodes(page)
      const named = (role: string): string[] => nodes.filter((node) => node.role === role).map(({ name }) => name)
      assert.deepEqual([named('banner').length, named('main').length, named('contentinfo').length], [1, 1, 1])
      assert.deepEqual(named('heading').slice(0, 6), [
        'walferry of ' + new URL(`pg://${(await text(page, '#way dd')).trim()}`).host,
        'The four answers',
        'How much would we lose now?',
        'Is it getting worse?',
        'Where does it hang?',
        'To which moment can I restore?',
      ])
      for (const role of ['link', 'radio', 'image', 'meter', 'DisclosureTriangle', 'table', 'region']) {
        const names = named(role)
        assert.ok(names.length > 0, `there is no ${role}`)
        assert.ok(!names.includes(''), `a ${role} has no name`)
      }
      assert.deepEqual(
        await inPage(
          page,
          "[...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].map(({ id }) => id)",
        ),
        ['verdict'],
      )
    })

    for (const scheme of ['light', 'dark']) {
      await step(`can be read in a ${scheme} room and on a phone`, async () => {
        await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
        for (const width of [360, 1280]) {
          await page.setViewport({ width, height: 740 })
          await until(page, `innerWidth === ${width}`)
          assert.equal(await inPage(page, 'document.documentElement.scrollWidth'), width, 'nothing sticks out')
          assert.deepEqual(await inPage(page, faintTexts), [])
          await shoot(page, `ready-${scheme}-${width}`)
        }
      })
    }

    await step(
      'while the store is away it says so, what to do, and that the loss grows; then all is well again',
      async () => {
        await rename(store, `${store}-away`)
        await writeFile(store, 'no folder')
        await write(1)
        await until(page, has('#verdict', 'Not ready'))
        await until(page, has('#problems', 'STORE_'))
        assert.match(await text(page, '#problems'), /What to do: /)
        await until(page, has('#hang', 'At the store'))
        await until(page, has(shipping, ' wait, for '))
        await until(page, has('#loss', 'only on this machine'))
        await shoot(page, 'store-away')
        await rm(store)
        await rename(`${store}-away`, store)
        await until(page, has('#verdict', 'Ready'))
        await until(page, has(shipping, 'Nothing waits'))
      },
    )
    await step('while the server is away it says so; then WAL flows again', async () => {
      await server.stop('fast', deadline())
      await until(page, has('#hang', 'At the server'))
      await until(page, has('#way li', 'Not connected'))
      assert.match(await text(page, '#problems'), /PG_CONNECTION_LOST/)
      await server.start(deadline())
      await until(page, has('#verdict', 'Ready'))
      await until(page, has('#way li', 'Connected'))
    })
    // Until here nothing went wrong between the browser and us.
    assert.deepEqual(complaints, [])

    await step('in the background it asks for nothing, and at once when it is seen again', async () => {
      const asked = new Set<string>()
      page.on('request', (request) => asked.add(new URL(request.url()).pathname))
      await page.evaluate(hide(true))
      // What was asked before may still be answered. Seen, it asks every two seconds.
      await page.waitForNetworkIdle({ idleTime: 3000, timeout: stepTimeoutMs })
      asked.clear()
      await page.evaluate(hide(false))
      const signal = deadline()
      while (asked.size < 3) await sleep(10, signal)
      assert.deepEqual([...asked].toSorted(), ['/archive.json', '/history.json', '/status.json'])
    })

    await step(
      'a receiver that does not answer any more is told, and its numbers are greyed; it comes back by itself',
      async () => {
        receive.send('SIGSTOP')
        await until(page, has('#verdict', 'No answer'))
        assert.match(await text(page, '#verdict'), /has not answered since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/)
        assert.ok(await inPage(page, "document.body.classList.contains('is-stale')"))
        await shoot(page, 'no-answer')
        receive.send('SIGCONT')
        await until(page, "!document.body.classList.contains('is-stale')")
        await until(page, has('#verdict', 'Ready'))
      },
    )

    await step('an answer that it cannot show does not leave it as it was, and the next one is asked for', async () => {
      const errors: string[] = []
      page.on('pageerror', (error) => errors.push(String(error)))
      await page.evaluate(`
        const asIs = window.fetch
        window.fetch = async (path, ...more) => {
          const answer = await asIs(path, ...more)
          if (path !== '/status.json') return answer
          const { lag, ...rest } = await answer.json()
          return new Response(JSON.stringify(rest))
        }
        window.showAgain = () => { window.fetch = asIs }`)
      await until(page, has('#verdict', 'Not shown'))
      assert.ok(await inPage(page, "document.body.classList.contains('is-stale')"))
      assert.match(errors[0] ?? '', /TypeError/, 'and the browser says why')
      await page.evaluate('window.showAgain()')
      await until(page, "!document.body.classList.contains('is-stale')")
      await until(page, has('#verdict', 'Ready'))
    })
  })
}
