import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { readConfigFile } from '../../src/cli/config-file.ts'
import { tempFolder } from '../support/temp.ts'

/** The values of a file with this content, and its problems, in which the file is called FILE. */
async function read(t: TestContext, content: string, name = 'walferry.yaml') {
  const path = join(await tempFolder(t), name)
  await writeFile(path, content)
  const { layer, problems } = await readConfigFile({ text: path, from: '--config' })
  for (const [key, { from }] of layer) assert.equal(from, `${path}: ${key}`)
  return {
    values: Object.fromEntries([...layer].map(([key, { text }]) => [key, text])),
    problems: problems.map(({ text }) => text.replaceAll(path, 'FILE')),
  }
}

const expected = { store: 's3://bucket/prefix', 'ship-interval': '2.5', 'upload-concurrency': '8', loop: 'false' }

for (const [name, content] of [
  [
    'walferry.yaml',
    '# archive\nstore: s3://bucket/prefix\nship-interval: 2.5\nupload-concurrency: "8"\nloop: false # once\n',
  ],
  ['walferry.json', JSON.stringify({ ...expected, 'ship-interval': 2.5, 'upload-concurrency': 8, loop: false })],
  ['tabs.json', JSON.stringify(expected, null, '\t')],
  ['walferry', `--- \n${JSON.stringify(expected, null, 2)}\n`],
] as const) {
  test(`${name} is read`, async (t) => {
    assert.deepEqual(await read(t, content, name), { values: expected, problems: [] })
  })
}

test('a value is the text that was written', async (t) => {
  const { values } = await read(t, 'slot: 0123\nhost: 1e3\nusername: no\nendpos: 0/1\nport: 0x10\nspool: 2026-01-31\n')
  assert.deepEqual(values, {
    slot: '0123',
    host: '1e3',
    username: 'no',
    endpos: '0/1',
    port: '0x10',
    spool: '2026-01-31',
  })
})

test('null and nothing are values that are not set', async (t) => {
  const nothing = { values: {}, problems: [] }
  assert.deepEqual(await read(t, 'store:\nslot: ~\nurl: null\nspool: ""\n'), nothing)
  assert.deepEqual(await read(t, '{"store": null, "slot": ""}'), nothing)
  for (const empty of ['', '\n', '# store: x\n', '---\n', '{}']) assert.deepEqual((await read(t, empty)).values, {})
  assert.deepEqual(await read(t, '# store: x\n'), nothing)
})

for (const [what, content, problems] of [
  ['an unknown key', 'sloot: a\nslot: b\n', ['FILE: sloot is no option']],
  ['a key in the spelling of a variable', 'SHIP_INTERVAL: 1\n', ['FILE: SHIP_INTERVAL is no option']],
  ['a negative name', 'no-loop: true\n', ['FILE: no-loop is no option']],
  ['a short name', 'S: a\n', ['FILE: S is no option']],
  ['another file', 'config: other.yaml\n', ['FILE: config is no option']],
  [
    'a name of Object',
    '__proto__: a\nconstructor: b\n',
    ['FILE: __proto__ is no option', 'FILE: constructor is no option'],
  ],
  ['a list', 'slot: [a, b]\n', ['FILE: slot is not one plain value']],
  ['a mapping', 'slot:\n  name: a\n', ['FILE: slot is not one plain value']],
  ['a key twice', 'slot: a\nslot: b\n', ['--config: FILE cannot be read: line 2: duplicated mapping key']],
  [
    'a key twice in JSON',
    '{"slot":"a",\n"slot":"b"}',
    ['--config: FILE cannot be read: line 2: duplicated mapping key'],
  ],
  ['no mapping', '- slot\n', ['--config: FILE cannot be read: it is not a mapping from option names to values']],
  ['a word', 'slot\n', ['--config: FILE cannot be read: it is not a mapping from option names to values']],
  ['two documents', 'slot: a\n---\nslot: b\n', ['--config: FILE cannot be read: it holds more than one document']],
] as const) {
  test(`${what} in the file is refused`, async (t) => {
    assert.deepEqual((await read(t, content)).problems, problems)
  })
}

test('a syntax error names its line, and shows nothing of the file', async (t) => {
  for (const content of ['slot: a\nurl: x: hunter2\n', '{"slot": "a",\n"url": "hunter2}', 'slot: a\n\thunter2: b\n']) {
    const { problems } = await read(t, content)
    assert.equal(problems.length, 1)
    assert.match(problems.join(), /^--config: FILE cannot be read: line \d+: /)
    assert.ok(!problems.join().includes('hunter2'), problems.join())
  }
})

test('a file that is not there is told with who wants it', async (t) => {
  const path = join(await tempFolder(t), 'walferry.yaml')
  const { problems } = await readConfigFile({ text: path, from: 'WALFERRY_CONFIG' })
  assert.equal(problems.length, 1)
  assert.match(problems[0]?.text ?? '', /^WALFERRY_CONFIG: \S+ cannot be read: ENOENT/)
})
