import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type LogFormat, type LogLevel, logLevels, openLog } from '../../src/daemon/log.ts'
import type { Log } from '../../src/kit/log.ts'

/** What a log writes while `use` runs, as it was handed over. */
function written(format: LogFormat, use: (log: Log) => void, level: LogLevel = 'debug'): string[] {
  const out: string[] = []
  use(openLog(level, format, (line) => out.push(line)))
  return out
}

function sayAll(log: Log): void {
  for (const level of logLevels) log[level](`as ${level}`)
}

/** The one line that `use` writes as text, without its time. */
function text(use: (log: Log) => void): string {
  const [line = '', ...more] = written('text', use)
  assert.deepEqual(more, [])
  const match = /^(\S+) (.*)\n$/s.exec(line)
  assert.ok(match !== null, `a line that ends: ${JSON.stringify(line)}`)
  assert.ok(Math.abs(Date.parse(match[1] ?? '') - Date.now()) < 60_000, 'begins with the time')
  return match[2] ?? ''
}

test('a line has time, level, message and fields', () => {
  assert.equal(
    text((log) => log.info('streaming', { timeline: 1, start: '0/3000000' })),
    'INFO  streaming timeline=1 start=0/3000000',
  )
  assert.equal(
    text((log) => log.error('halted')),
    'ERROR halted',
  )
})

test('as JSON it is one object a line', () => {
  const [line = ''] = written('json', (log) => log.warn('slow', { ms: 5, nested: { a: [1] } }))
  assert.match(line, /^[^\n]*\n$/)
  const { time, ...rest }: Record<string, unknown> = JSON.parse(line)
  assert.deepEqual(rest, { level: 'warn', msg: 'slow', ms: 5, nested: { a: [1] } })
  assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000)
})

for (const [at, level] of logLevels.entries()) {
  test(`level ${level} lets pass ${logLevels.slice(0, at + 1).join(', ')}`, () => {
    for (const format of ['text', 'json'] as const) {
      assert.equal(written(format, sayAll, level).length, at + 1)
    }
  })
}

test('a value that could be misread is quoted', () => {
  assert.equal(
    text((log) => log.info('m', { spaced: 'a b', equals: 'a=b', quote: 'a"b', plain: 'a/b:c', object: { a: 'b c' } })),
    'INFO  m spaced="a b" equals="a=b" quote="a\\"b" plain=a/b:c object="{\\"a\\":\\"b c\\"}"',
  )
})

test('a field that is undefined is not told, and false, 0, null and nothing are', () => {
  assert.equal(
    text((log) => log.info('m', { hint: undefined, a: false, b: 0, c: null })),
    'INFO  m a=false b=0 c=null',
  )
  assert.match(
    text((log) => log.info('m', { empty: '' })),
    /^INFO {2}m empty=(?:"")?$/,
  )
})

test('a line break in a message or a value makes no second line', () => {
  // Servers and libraries say things over several lines; whoever reads the log takes a line for an event.
  for (const format of ['text', 'json'] as const) {
    const [line = ''] = written(format, (log) => log.error('first\nERROR second', { value: 'a\nb' }))
    assert.match(line, /^[^\n]*\n$/, format)
    assert.match(line, /first.*second/, format)
  }
})
