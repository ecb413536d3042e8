import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { describe, isError, type WalferryError } from '../../src/kit/errors.ts'
import { describeTarget, parseTarget, type SslMode, type Target, tlsAttempts } from '../../src/pg/target.ts'
import { setEnvironment } from '../support/environment.ts'
import { tempFolder } from '../support/temp.ts'

const defaults: Target = {
  host: 'localhost',
  port: 5432,
  user: userInfo().username,
  database: 'postgres',
  password: null,
  sslMode: 'prefer',
  sslRootCert: null,
  sslCert: null,
  sslKey: null,
  applicationName: 'walferry',
}

const readable: readonly (readonly [string | undefined, Readonly<Record<string, string>>, Partial<Target>])[] = [
  [undefined, {}, {}],
  ['postgres://', {}, {}],
  ['postgres:///', {}, {}],
  ['postgresql://db.example', {}, { host: 'db.example' }],
  [
    'postgres://replicator@db.example:6432/app',
    {},
    { host: 'db.example', port: 6432, user: 'replicator', database: 'app' },
  ],
  ['postgres://[::1]:6432/', {}, { host: '::1', port: 6432 }],
  ['postgres://[fe80::1%25eth0]', {}, { host: 'fe80::1%eth0' }],
  ['postgres://%2Fvar%2Frun%2Fpostgresql/app', {}, { host: '/var/run/postgresql', database: 'app' }],
  ['postgres:///?host=/var/run/postgresql&port=6432', {}, { host: '/var/run/postgresql', port: 6432 }],
  ['postgres://a%40b@h/d%20e', {}, { user: 'a@b', host: 'h', database: 'd e' }],
  [
    'postgres://h?sslmode=verify-full&sslrootcert=/a%20b/root.crt',
    {},
    { host: 'h', sslMode: 'verify-full', sslRootCert: '/a b/root.crt' },
  ],
  [
    'postgres://h/?user=u&dbname=d&application_name=w1',
    {},
    { host: 'h', user: 'u', database: 'd', applicationName: 'w1' },
  ],
  ['postgres://h/?sslcert=/c&sslkey=/k&', {}, { host: 'h', sslCert: '/c', sslKey: '/k' }],
  [
    undefined,
    { PGHOST: 'h', PGPORT: '1', PGUSER: 'u', PGDATABASE: 'd' },
    { host: 'h', port: 1, user: 'u', database: 'd' },
  ],
  [undefined, { PGSSLMODE: 'require', PGSSLROOTCERT: '/r' }, { sslMode: 'require', sslRootCert: '/r' }],
  [
    undefined,
    { PGSSLCERT: '/c', PGSSLKEY: '/k', PGAPPNAME: 'w2' },
    { sslCert: '/c', sslKey: '/k', applicationName: 'w2' },
  ],
  [undefined, { PGPASSWORD: 'secret' }, { password: 'secret' }],
  // The URL wins over the variables, part by part.
  ['postgres://h:1', { PGHOST: 'other', PGPORT: '2', PGUSER: 'u' }, { host: 'h', port: 1, user: 'u' }],
  // libpq takes an empty variable for one that is not set; with an empty PGPASSWORD it asks the password file.
  [undefined, { PGHOST: '', PGPORT: '', PGUSER: '', PGSSLMODE: '' }, {}],
  [undefined, { PGPASSWORD: '' }, {}],
]

for (const [url, env, expected] of readable) {
  test(`reads ${url ?? 'no URL'} ${Object.keys(env).length === 0 ? '' : JSON.stringify(env)}`, () => {
    assert.deepEqual(parseTarget(url, env), { ...defaults, ...expected })
  })
}

const refused: readonly (readonly [string | undefined, Readonly<Record<string, string>>, RegExp])[] = [
  ['db.example', {}, /cannot be read/],
  ['http://db.example', {}, /cannot be read/],
  ['postgres://h1:1,h2:2/', {}, /cannot be read|several hosts/],
  ['postgres://h1,h2/', {}, /"h1,h2" names several hosts/],
  [undefined, { PGHOST: 'h1,h2' }, /"h1,h2" names several hosts/],
  ['postgres://h:0', {}, /"0" is not a port/],
  ['postgres://h:65536', {}, /"65536" is not a port/],
  ['postgres://h:54x', {}, /cannot be read/],
  [undefined, { PGPORT: '5432 ' }, /"5432 " is not a port/],
  ['postgres://h/?sslmode=on', {}, /"on" is not an sslmode/],
  ['postgres://h/?target_session_attrs=any', {}, /unknown parameter "target_session_attrs"/],
  ['postgres://h/%zz', {}, /broken %-escape/],
  ['postgres://[::1', {}, /cannot be read/],
]

for (const [url, env, expected] of refused) {
  test(`refuses ${url ?? 'no URL'} ${JSON.stringify(env)}`, () => {
    assert.throws(
      () => parseTarget(url, env),
      (error) => isError(error, 'BAD_INPUT') && expected.test(error.message),
    )
  })
}

for (const url of [
  'postgres://user:hunter2@h/',
  'postgres://:hunter2@h/',
  'postgres://user:@h/',
  'postgres://user:hunter2@h:5432/d?sslmode=require',
  'postgres://user:hun@ter2@h/',
  'postgres://h/?password=hunter2',
  'postgres://h/?user=u&password=hunter2',
]) {
  test(`refuses the password in ${url}, and does not repeat it`, () => {
    assert.throws(
      () => parseTarget(url, {}),
      (error) => isError(error, 'BAD_INPUT') && /holds a password/.test(error.message) && !tells(error, 'unter2'),
    )
  })
}

// A password that was not escaped makes the URL something else; whatever it is taken for, it is not shown.
for (const url of [
  'postgres://user:hunter2/x@h/',
  'postgres://user:hunter2?x@h/',
  'postgres://user:hunter2#x@h/',
  'postgres://user:12/hunter2@h/',
  'postgres://user:12?hunter2@h/',
  'postgres://h/?sslpassword=hunter2',
  'postgres://h/?passwort=hunter2',
  'postgres://user:%zzhunter2@h/',
]) {
  test(`refuses ${url}, and does not repeat it`, () => {
    assert.throws(
      () => parseTarget(url, {}),
      (error) => isError(error, 'BAD_INPUT') && !tells(error, 'unter2'),
    )
  })
}

function tells(error: WalferryError, secret: string): boolean {
  return [describe(error), error.hint ?? '', JSON.stringify(error.fields)].some((text) => text.includes(secret))
}

test('a target is described by where it is, without user and password', () => {
  const target = parseTarget('postgres://u@db.example:6432/d', { PGPASSWORD: 'hunter2' })
  assert.equal(describeTarget(target), 'db.example:6432')
  assert.equal(describeTarget({ ...target, host: '/run/pg' }), '/run/pg/.s.PGSQL.6432')
})

/** The attempts in words: what is checked of the server's certificate, and which files are shown. */
function attempts(target: Partial<Target>): string[] {
  return tlsAttempts({ ...defaults, host: 'h', ...target }).map((attempt) => {
    if (attempt === null) return 'plain'
    const { ca, cert, key } = attempt
    const verified = attempt.rejectUnauthorized !== false
    const checked = !verified
      ? 'unverified'
      : attempt.checkServerIdentity === undefined
        ? 'authority and name'
        : 'authority'
    const files = [
      ca === undefined ? '' : ` ca=${String(ca)}`,
      cert === undefined ? '' : ` cert=${String(cert)} key=${Buffer.isBuffer(key) ? key.toString() : 'unread'}`,
    ]
    return `tls, ${checked}${files.join('')}`
  })
}

/** Files of certificates, and a home folder that holds a root certificate, or none. */
async function certificates(t: TestContext, withHome: boolean): Promise<{ root: string; cert: string; key: string }> {
  const folder = await tempFolder(t)
  t.after(setEnvironment({ HOME: folder }))
  mkdirSync(join(folder, '.postgresql'))
  if (withHome) writeFileSync(join(folder, '.postgresql', 'root.crt'), 'HOME-ROOT')
  for (const name of ['root', 'cert', 'key']) writeFileSync(join(folder, name), name.toUpperCase())
  return { root: join(folder, 'root'), cert: join(folder, 'cert'), key: join(folder, 'key') }
}

const byMode: readonly (readonly [SslMode, nothing: string[] | RegExp, home: string[], named: string[]])[] = [
  ['disable', ['plain'], ['plain'], ['plain']],
  ['allow', ['plain', 'tls, unverified'], ['plain', 'tls, unverified'], ['plain', 'tls, unverified']],
  ['prefer', ['tls, unverified', 'plain'], ['tls, unverified', 'plain'], ['tls, unverified', 'plain']],
  ['require', ['tls, unverified'], ['tls, authority ca=HOME-ROOT'], ['tls, authority ca=ROOT']],
  ['verify-ca', /root\.crt is not there/, ['tls, authority ca=HOME-ROOT'], ['tls, authority ca=ROOT']],
  [
    'verify-full',
    /root\.crt is not there/,
    ['tls, authority and name ca=HOME-ROOT'],
    ['tls, authority and name ca=ROOT'],
  ],
]

for (const [sslMode, nothing, home, named] of byMode) {
  test(`sslmode=${sslMode} without a root certificate`, async (t) => {
    await certificates(t, false)
    if (!(nothing instanceof RegExp)) return assert.deepEqual(attempts({ sslMode }), nothing)
    assert.throws(
      () => attempts({ sslMode }),
      (error) => isError(error, 'BAD_INPUT') && nothing.test(error.message) && error.hint !== undefined,
    )
  })

  test(`sslmode=${sslMode} with a root certificate in the home folder, and with one that is named`, async (t) => {
    const { root } = await certificates(t, true)
    assert.deepEqual(attempts({ sslMode }), home)
    assert.deepEqual(attempts({ sslMode, sslRootCert: root }), named)
  })
}

test('a certificate of our own is shown wherever TLS is tried', async (t) => {
  const { root, cert, key } = await certificates(t, false)
  const own = { sslRootCert: root, sslCert: cert, sslKey: key }
  assert.deepEqual(attempts({ ...own, sslMode: 'prefer' }), ['tls, unverified cert=CERT key=KEY', 'plain'])
  assert.deepEqual(attempts({ ...own, sslMode: 'allow' }), ['plain', 'tls, unverified cert=CERT key=KEY'])
  assert.deepEqual(attempts({ ...own, sslMode: 'verify-full' }), ['tls, authority and name ca=ROOT cert=CERT key=KEY'])
})

test('sslrootcert=system verifies by the authorities of the system', async (t) => {
  await certificates(t, true)
  assert.deepEqual(attempts({ sslMode: 'verify-full', sslRootCert: 'system' }), ['tls, authority and name'])
})

// As libpq: with the authorities of the whole world, anything weaker than verify-full would verify nothing.
for (const sslMode of ['allow', 'prefer', 'require', 'verify-ca'] as const) {
  test(`sslrootcert=system is refused with the weak sslmode=${sslMode}`, () => {
    assert.throws(
      () => tlsAttempts(parseTarget(`postgres://h/?sslrootcert=system&sslmode=${sslMode}`, {})),
      (error) => isError(error, 'BAD_INPUT'),
    )
  })
}

test('sslrootcert=system alone means verify-full', () => {
  assert.equal(parseTarget('postgres://h/?sslrootcert=system', {}).sslMode, 'verify-full')
})

test('a Unix socket is never encrypted, and no certificate is asked for', () => {
  assert.deepEqual(attempts({ host: '/run/pg', sslMode: 'verify-full' }), ['plain'])
})

test('a certificate that cannot be read is named, with its option', async (t) => {
  const { root } = await certificates(t, true)
  for (const [name, target] of [
    ['sslrootcert', { sslMode: 'verify-full', sslRootCert: `${root}.missing` }],
    ['sslcert', { sslMode: 'prefer', sslCert: `${root}.missing` }],
    ['sslkey', { sslMode: 'prefer', sslKey: `${root}.missing` }],
  ] as const) {
    assert.throws(
      () => attempts(target),
      (error) =>
        isError(error, 'BAD_INPUT') && error.message.includes(name) && error.message.includes(`${root}.missing`),
    )
  }
})
