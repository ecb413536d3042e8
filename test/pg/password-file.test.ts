/** The password file, as libpq reads it. */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { findPassword, passwordFromFile, type Wanted } from '../../src/pg/password-file.ts'
import { tempFolder } from '../support/temp.ts'

const wanted: Wanted = { host: 'db.example', port: 5432, database: 'replication', user: 'walferry' }

const found: readonly (readonly [content: string, Partial<Wanted>, password: string | null])[] = [
  ['', {}, null],
  ['db.example:5432:replication:walferry:secret', {}, 'secret'],
  ['db.example:5432:replication:walferry:secret\r\n', {}, 'secret'],
  ['*:*:*:*:secret\n', {}, 'secret'],
  // Each field counts, and the first line that fits.
  ['other:5432:replication:walferry:secret', {}, null],
  ['db.example:5433:replication:walferry:secret', {}, null],
  ['db.example:5432:postgres:walferry:secret', {}, null],
  ['db.example:5432:replication:other:secret', {}, null],
  ['db.example:5433:*:*:a\ndb.example:5432:*:*:b\n*:*:*:*:c\n', {}, 'b'],
  ['db.example:5433:*:*:a\ndb.example:5432:*:*:b\n*:*:*:*:c\n', { port: 5433 }, 'a'],
  ['db.example:5433:*:*:a\ndb.example:5432:*:*:b\n*:*:*:*:c\n', { host: 'x' }, 'c'],
  // A backslash makes the next character a plain one; a colon in the password needs none.
  ['db.example:5432:replication:walferry:se\\:c\\\\r:et', {}, 'se:c\\r:et'],
  ['\\:\\:1:5432:replication:walferry:secret', { host: '::1' }, 'secret'],
  ['\\*:5432:replication:walferry:secret', {}, null],
  ['*:5432:replication:wal\\:ferry:secret', { user: 'wal:ferry' }, 'secret'],
  // Comments, and lines that are none.
  ['#*:*:*:*:no\n*:*:*:*:yes', {}, 'yes'],
  ['*:*:*:no\n\n*:*:*:*:\n*:*:*:*:yes', {}, 'yes'],
  // The socket in libpq's own folder is known as localhost; another one by its folder.
  ['localhost:5432:*:*:secret', { host: '/var/run/postgresql' }, 'secret'],
  ['localhost:5432:*:*:secret', { host: '/srv/pg' }, null],
  ['/srv/pg:5432:*:*:secret', { host: '/srv/pg' }, 'secret'],
]

for (const [content, change, password] of found) {
  test(`${JSON.stringify(content)} holds ${password ?? 'nothing'} for ${JSON.stringify(change)}`, () => {
    assert.equal(findPassword(content, { ...wanted, ...change }), password)
  })
}

test('a password file that cannot be used is told with the reason, and what to do', async (t) => {
  const folder = await tempFolder(t)
  const file = (name: string, content: string, mode: number): string => {
    const path = join(folder, name)
    writeFileSync(path, content)
    chmodSync(path, mode)
    return path
  }
  mkdirSync(join(folder, 'folder'), { mode: 0o700 })
  for (const [path, hint] of [
    [
      join(folder, 'missing'),
      /Set PGPASSWORD, or PGPASSFILE .* db\.example:5432:replication:walferry:\.\.\. .*missing/,
    ],
    [file('open', '*:*:*:*:secret', 0o604), /open is not used, .*chmod 600/],
    [file('group', '*:*:*:*:secret', 0o640), /group is not used, .*chmod 600/],
    [join(folder, 'folder'), /folder is not used, because it is no plain file/],
    [file('other', '*:*:postgres:*:secret', 0o600), /other has no line for db\.example:5432:replication:walferry/],
  ] as const) {
    await assert.rejects(
      passwordFromFile(path, wanted),
      (error) =>
        isError(error, 'PG_REFUSED') &&
        /asks for a password of "walferry", and there is none/.test(error.message) &&
        hint.test(error.hint ?? '') &&
        !(error.hint ?? '').includes('secret'),
    )
  }
  assert.equal(await passwordFromFile(file('good', '*:*:*:*:secret', 0o600), wanted), 'secret')
})
