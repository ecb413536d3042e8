/** What connection strings and libpq's variables mean together. */
import assert from 'node:assert/strict'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isError } from '../../src/kit/errors.ts'
import { describeTarget, type Host, parseTarget, type Target } from '../../src/pg/target.ts'

type Variables = Readonly<Record<string, string>>

const host = (name: string, port = 5432, address: string | null = null): Host => ({ name, address, port })

const defaults: Target = {
  hosts: [host('localhost')],
  sessionAttrs: 'any',
  connectTimeoutSeconds: 10,
  user: userInfo().username,
  database: 'postgres',
  password: null,
  passFile: join(homedir(), '.pgpass'),
  sslMode: 'prefer',
  sslRootCert: null,
  sslCert: null,
  sslKey: null,
  applicationName: 'walferry',
}

const readable: readonly (readonly [string | undefined, Variables, Partial<Target>])[] = [
  [undefined, {}, {}],
  ['app', {}, { database: 'app' }],
  ['postgres://u@h:6432/app', {}, { hosts: [host('h', 6432)], user: 'u', database: 'app' }],
  [
    'postgres://h/?sslmode=verify-full&sslrootcert=/r&sslcert=/c&sslkey=/k',
    {},
    { hosts: [host('h')], sslMode: 'verify-full', sslRootCert: '/r', sslCert: '/c', sslKey: '/k' },
  ],
  [
    'user=u dbname=d application_name=w1 passfile=/p',
    {},
    { user: 'u', database: 'd', applicationName: 'w1', passFile: '/p' },
  ],
  [
    undefined,
    { PGHOST: 'h', PGPORT: '1', PGUSER: 'u', PGDATABASE: 'd' },
    { hosts: [host('h', 1)], user: 'u', database: 'd' },
  ],
  [undefined, { PGSSLMODE: 'require', PGSSLROOTCERT: '/r' }, { sslMode: 'require', sslRootCert: '/r' }],
  [
    undefined,
    { PGSSLCERT: '/c', PGSSLKEY: '/k', PGAPPNAME: 'w2' },
    { sslCert: '/c', sslKey: '/k', applicationName: 'w2' },
  ],
  [undefined, { PGPASSWORD: 'secret', PGPASSFILE: '/p' }, { password: 'secret', passFile: '/p' }],
  [
    undefined,
    { PGTARGETSESSIONATTRS: 'standby', PGCONNECT_TIMEOUT: '3' },
    { sessionAttrs: 'standby', connectTimeoutSeconds: 3 },
  ],
  // No limit, in all of libpq's ways to say it.
  ['connect_timeout=0', {}, { connectTimeoutSeconds: 0 }],
  ['connect_timeout=-1', {}, { connectTimeoutSeconds: 0 }],
  // The string wins over the variables, part by part.
  ['postgres://h:1', { PGHOST: 'other', PGPORT: '2', PGUSER: 'u' }, { hosts: [host('h', 1)], user: 'u' }],
  ['host=h', { PGHOST: 'other', PGPORT: '2' }, { hosts: [host('h', 2)] }],
  // libpq takes an empty variable for one that is not set; with an empty PGPASSWORD it asks the password file.
  [undefined, { PGHOST: '', PGPORT: '', PGUSER: '', PGSSLMODE: '' }, {}],
  [undefined, { PGPASSWORD: '' }, {}],
]

for (const [conninfo, env, expected] of readable) {
  test(`reads ${conninfo ?? 'no string'} ${Object.keys(env).length === 0 ? '' : JSON.stringify(env)}`, () => {
    assert.deepEqual(parseTarget(conninfo, env), { ...defaults, ...expected })
  })
}

const lists: readonly (readonly [string | undefined, Variables, readonly Host[]])[] = [
  ['postgres://a:1,b:2/', {}, [host('a', 1), host('b', 2)]],
  ['postgres://a,b:2/', {}, [host('a'), host('b', 2)]],
  ['postgres://a,b/', { PGPORT: '1' }, [host('a'), host('b')]],
  ['postgres://[::1]:1,%2Frun%2Fpg:2/', {}, [host('::1', 1), host('/run/pg', 2)]],
  ['host=a,b port=1', {}, [host('a', 1), host('b', 1)]],
  ['host=a,b port=1,', {}, [host('a', 1), host('b')]],
  ['host=a,b', { PGPORT: '1,2' }, [host('a', 1), host('b', 2)]],
  ['host=,b', {}, [host('localhost'), host('b')]],
  ['host=/run/pg,b', {}, [host('/run/pg'), host('b')]],
  [undefined, { PGHOST: 'a,b', PGPORT: '1,2' }, [host('a', 1), host('b', 2)]],
  ['host=a,b hostaddr=192.0.2.1,192.0.2.2', {}, [host('a', 5432, '192.0.2.1'), host('b', 5432, '192.0.2.2')]],
  ['host=a,b hostaddr=192.0.2.1,', {}, [host('a', 5432, '192.0.2.1'), host('b')]],
  ['hostaddr=192.0.2.1', {}, [host('192.0.2.1', 5432, '192.0.2.1')]],
  ['host=a', { PGHOSTADDR: '192.0.2.1' }, [host('a', 5432, '192.0.2.1')]],
]

for (const [conninfo, env, hosts] of lists) {
  test(`the hosts of ${conninfo ?? 'no string'} ${Object.keys(env).length === 0 ? '' : JSON.stringify(env)}`, () => {
    assert.deepEqual(parseTarget(conninfo, env), { ...defaults, hosts })
  })
}

const refused: readonly (readonly [string | undefined, Variables, RegExp])[] = [
  ['postgres://h:0', {}, /"0" is not a port/],
  ['postgres://h:65536', {}, /"65536" is not a port/],
  [undefined, { PGPORT: '5432 ' }, /"5432 " is not a port/],
  ['host=a,b port=1,x', {}, /"x" is not a port/],
  ['host=a,b,c port=1,2', {}, /2 ports and 3 hosts do not match/],
  ['host=a', { PGPORT: '1,2' }, /2 ports and 1 hosts do not match/],
  ['postgres://a:1,b:2/?host=a', {}, /2 ports and 1 hosts do not match/],
  ['host=a,b hostaddr=192.0.2.1', {}, /2 hosts and 1 values of hostaddr do not match/],
  ['postgres://h/?sslmode=on', {}, /"on" is no value of sslmode/],
  ['target_session_attrs=master', {}, /"master" is no value of target_session_attrs/],
  ['connect_timeout=1.5', {}, /"1\.5" is not a connect_timeout/],
  ['connect_timeout=9999999999', {}, /is not a connect_timeout/],
]

for (const [conninfo, env, expected] of refused) {
  test(`refuses ${conninfo ?? 'no string'} ${JSON.stringify(env)}`, () => {
    assert.throws(
      () => parseTarget(conninfo, env),
      (error) => isError(error, 'BAD_INPUT') && expected.test(error.message),
    )
  })
}

test('a target is described by where it is, without user and password', () => {
  const target = parseTarget('postgres://u@db.example:6432,[::1]:1,%2Frun%2Fpg/d', { PGPASSWORD: 'hunter2' })
  assert.equal(describeTarget(target), 'db.example:6432, [::1]:1, /run/pg/.s.PGSQL.5432')
})
