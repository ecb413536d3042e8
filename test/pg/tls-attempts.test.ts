/** What each sslmode means, as the ways to try, with certificates in files of the test. */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { type Host, parseTarget, type SslMode, type Target } from '../../src/pg/target.ts'
import { tlsAttempts } from '../../src/pg/tls-attempts.ts'
import { setEnvironment } from '../support/environment.ts'
import { tempFolder } from '../support/temp.ts'

/** The attempts in words: what is checked of the server's certificate, and which files are shown. */
function attempts(target: Partial<Target>, host: Host = { name: 'h', address: null, port: 5432 }): string[] {
  return tlsAttempts({ ...parseTarget('host=h', {}), ...target }, host).map((attempt) => {
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
      () => parseTarget(`postgres://h/?sslrootcert=system&sslmode=${sslMode}`, {}),
      (error) => isError(error, 'BAD_INPUT'),
    )
  })
}

test('sslrootcert=system alone means verify-full', () => {
  assert.equal(parseTarget('postgres://h/?sslrootcert=system', {}).sslMode, 'verify-full')
})

test('a Unix socket is never encrypted, and no certificate is asked for', () => {
  const socket = { name: '/run/pg', address: null, port: 5432 }
  assert.deepEqual(attempts({ sslMode: 'verify-full' }, socket), ['plain'])
})

test('a certificate that cannot be read is named, with its option', async (t) => {
  const { root, cert } = await certificates(t, true)
  for (const [name, target] of [
    ['sslrootcert', { sslMode: 'verify-full', sslRootCert: `${root}.missing` }],
    ['sslcert', { sslMode: 'prefer', sslCert: `${root}.missing` }],
    ['sslkey', { sslMode: 'prefer', sslCert: cert, sslKey: `${root}.missing` }],
  ] as const) {
    assert.throws(
      () => attempts(target),
      (error) =>
        isError(error, 'BAD_INPUT') && error.message.includes(name) && error.message.includes(`${root}.missing`),
    )
  }
})

test('a certificate in the home folder is shown if it is there, and then needs its key', async (t) => {
  const { root } = await certificates(t, true)
  const home = join(root, '..', '.postgresql')
  writeFileSync(join(home, 'postgresql.crt'), 'HOME-CERT')
  assert.throws(
    () => attempts({ sslMode: 'require' }),
    (error) => isError(error, 'BAD_INPUT') && error.message.includes(join(home, 'postgresql.key')),
  )
  writeFileSync(join(home, 'postgresql.key'), 'HOME-KEY')
  assert.deepEqual(attempts({ sslMode: 'require' }), ['tls, authority ca=HOME-ROOT cert=HOME-CERT key=HOME-KEY'])
})

test('with a hostaddr the certificate still has to be one for the name', async (t) => {
  const { root } = await certificates(t, false)
  const target = { ...parseTarget('sslmode=verify-full', {}), sslRootCert: root }
  for (const [name, expected] of [
    ['db.example', { host: 'db.example', servername: 'db.example' }],
    ['192.0.2.1', { host: '192.0.2.1' }],
  ] as const) {
    const [way] = tlsAttempts(target, { name, address: '192.0.2.9', port: 5432 })
    assert.deepEqual(way, { ...expected, ca: Buffer.from('ROOT'), rejectUnauthorized: true })
  }
})
