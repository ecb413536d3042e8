/** Lines, colours and bars, and the screen that they are drawn on. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { LiveScreen } from '../../src/cli/live-screen.ts'
import { bar, canvasOf, plainCanvas, wrapped } from '../../src/cli/paint.ts'
import { agoText, durationText } from '../../src/cli/time-words.ts'
import { setEnvironment } from '../support/environment.ts'

/** As much of a terminal as is asked for. */
function terminal(t: TestContext, env: Readonly<Record<string, string | undefined>> = {}, rows = 24) {
  t.after(setEnvironment({ TERM: 'xterm', NO_COLOR: undefined, ...env }))
  const stream = new PassThrough({ encoding: 'utf8' })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what else a terminal has, nobody asks for
  const out = Object.assign(stream, { isTTY: true, columns: 80, rows }) as unknown as NodeJS.WriteStream
  return { out, written: (): string => String(stream.read() ?? '') }
}

test('colours and bars are for a terminal; NO_COLOR leaves the bars', (t) => {
  assert.deepEqual(canvasOf(terminal(t).out), { columns: 80, hasColours: true, hasBars: true })
  assert.deepEqual(canvasOf(terminal(t, { NO_COLOR: '1' }).out), { columns: 80, hasColours: false, hasBars: true })
  assert.equal(canvasOf(terminal(t, { TERM: 'dumb' }).out), plainCanvas)
  const { out } = terminal(t)
  assert.equal(canvasOf(Object.assign(out, { isTTY: false })), plainCanvas)
})

test('a bar shows whatever is not nothing, and is never longer than its cells', () => {
  const canvas = { ...plainCanvas, hasBars: true }
  const shares = [0, 0.001, 0.5, 0.99, 1, 7]
  assert.deepEqual(
    shares.map((share) => bar(canvas, share, 4)),
    ['░░░░', '█░░░', '██░░', '████', '████', '████'],
  )
  assert.equal(bar(plainCanvas, 1, 4), '')
})

test('text is wrapped at spaces, and a word that is too long is cut', () => {
  assert.deepEqual(wrapped('to be or not to be', 9), ['to be or', 'not to be'])
  assert.deepEqual(wrapped('a 0123456789abcdef b', 5), ['a', '01234', '56789', 'abcde', 'f b'])
  assert.deepEqual(wrapped('', 5), [''])
})

test('durations are told in the unit that fits', () => {
  const seconds = [-3, 0, 0.02, 0.83, 9.94, 9.96, 59.9, 60, 185, 7800, 172_770, 172_800, 1_123_200]
  assert.deepEqual(seconds.map(durationText), [
    '0 s',
    '0 s',
    '< 0.1 s',
    '0.8 s',
    '9.9 s',
    '10 s',
    '1 min 0 s',
    '1 min 0 s',
    '3 min 5 s',
    '2 h 10 min',
    '47 h 59 min',
    '2 days',
    '13 days',
  ])
  assert.equal(agoText(new Date(0), new Date(185_000)), '3 min 5 s ago')
})

test('on a terminal each picture is written over the one before, in one write; the end gives the cursor back', (t) => {
  const { out, written } = terminal(t)
  const screen = new LiveScreen(out)
  assert.equal(written(), '\u001B[?1049h\u001B[?25l\u001B[?7l')
  screen.show(() => ['one', 'two'])
  assert.equal(written(), '\u001B[H\u001B[Kone\r\n\u001B[Ktwo\u001B[J')
  screen.close()
  assert.equal(written(), '\u001B[?7h\u001B[?25h\u001B[?1049lone\ntwo\n')
})

test('where the terminal is too low, empty lines go first, then the last ones; the end shows all', (t) => {
  const { out, written } = terminal(t, {}, 2)
  const screen = new LiveScreen(out)
  written()
  screen.show(() => ['one', '', 'two', 'three'])
  assert.equal(written(), '\u001B[H\u001B[Kone\r\n\u001B[Ktwo\u001B[J')
  screen.close()
  assert.ok(written().endsWith('one\n\ntwo\nthree\n'))
})

test('elsewhere pictures follow each other, without any escape', (t) => {
  const { out, written } = terminal(t, { TERM: 'dumb' })
  const screen = new LiveScreen(out)
  for (const line of ['one', 'two']) screen.show(() => [line])
  screen.close()
  assert.equal(written(), 'one\n\ntwo\n\n')
})
