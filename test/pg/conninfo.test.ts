/** Both forms of a connection string. What is read is what PQconninfoParse of libpq 15 makes of the same text. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describe, isError, type WalferryError } from '../../src/kit/errors.ts'
import { type Conninfo, parseConninfo } from '../../src/pg/conninfo.ts'

const readable: readonly (readonly [string, Conninfo])[] = [
  ['postgres://', {}],
  ['postgres:///', {}],
  ['postgresql://db.example', { host: 'db.example' }],
  [
    'postgres://replicator@db.example:6432/app',
    { host: 'db.example', port: '6432', user: 'replicator', dbname: 'app' },
  ],
  ['postgres://a,b/', { host: 'a,b', port: ',' }],
  ['postgres://a:1,b/', { host: 'a,b', port: '1,' }],
  ['postgres://,b/', { host: ',b', port: ',' }],
  [
    'postgres://a:1,b:2/d?target_session_attrs=primary',
    { host: 'a,b', port: '1,2', dbname: 'd', target_session_attrs: 'primary' },
  ],
  ['postgres://[::1]:6432/', { host: '::1', port: '6432' }],
  ['postgres://[::1]:1,[fe80::1%25eth0]:2/', { host: '::1,fe80::1%eth0', port: '1,2' }],
  ['postgres://%2Frun%2Fpostgresql,b:1/app', { host: '/run/postgresql,b', port: ',1', dbname: 'app' }],
  ['postgres:///?host=/run/postgresql&port=6432', { host: '/run/postgresql', port: '6432' }],
  ['postgres://h?host=a,b&port=1', { host: 'a,b', port: '1' }],
  ['postgres://h:1?host=a,b', { host: 'a,b', port: '1' }],
  ['postgres://h/?host=a&host=b', { host: 'b' }],
  ['postgres://a%40b@h/d%20e', { user: 'a@b', host: 'h', dbname: 'd e' }],
  ['postgres://h/d/e', { host: 'h', dbname: 'd/e' }],
  ['postgres://h/?application_name=a+b', { host: 'h', application_name: 'a+b' }],
  ['postgres://h?sslrootcert=/a%20b/root.crt', { host: 'h', sslrootcert: '/a b/root.crt' }],
  ['postgres://h/?hostaddr=192.0.2.1&connect_timeout=3', { host: 'h', hostaddr: '192.0.2.1', connect_timeout: '3' }],
  ['host=a,b port=1,2', { host: 'a,b', port: '1,2' }],
  [`host = a  user\t= 'x y'\napplication_name=a\\'b\\ c`, { host: 'a', user: 'x y', application_name: "a'b c" }],
  [`application_name='it\\'s \\\\ ok' user=x`, { application_name: "it's \\ ok", user: 'x' }],
  [`user='' host=a`, { user: '', host: 'a' }],
  ['user= host=a', { user: 'host=a' }],
  ['host=a user=', { host: 'a', user: '' }],
  [`application_name='a'user=b`, { application_name: 'a', user: 'b' }],
  [`application_name=a'b'`, { application_name: "a'b'" }],
  ['application_name=a\\', { application_name: 'a' }],
  [' host=a ', { host: 'a' }],
  ['host=a host=b', { host: 'b' }],
  ['host=/run/postgresql passfile=/etc/pgpass', { host: '/run/postgresql', passfile: '/etc/pgpass' }],
  ['app', { dbname: 'app' }],
  ['my-app_1', { dbname: 'my-app_1' }],
]

for (const [text, expected] of readable) {
  test(`reads ${JSON.stringify(text)}`, () => assert.deepEqual(parseConninfo(text), expected))
}

const refused: readonly (readonly [string, RegExp])[] = [
  ['db.example', /cannot be read/],
  ['db.example:5432', /cannot be read/],
  ['http://db.example', /cannot be read/],
  ['', /cannot be read/],
  ['postgres://h:54x', /cannot be read/],
  ['postgres://[::1', /cannot be read/],
  ['postgres://[]/', /cannot be read/],
  ['postgres://[::1]x/', /cannot be read/],
  ['postgres://::1/', /cannot be read/],
  ['postgres://a,b:x/', /cannot be read/],
  ['postgres://u@a@b/', /cannot be read/],
  ['postgres://h/?user', /cannot be read/],
  ['postgres://h/?user=a=b', /cannot be read/],
  ['postgres://h/%zz', /broken %-escape/],
  ['postgres://h/?user=%zz', /broken %-escape/],
  ['postgres://h/?user=a%00replication', /forbidden %00/],
  ['postgres://h/?options=x', /unknown parameter "options"/],
  ['host=a nonsense=1', /unknown parameter "nonsense"/],
  ['http://db.example/?a=b', /unknown parameter$/],
  ['=a', /cannot be read/],
  ['host=a b', /"=".* missing/],
  ["host='a", /closing quote is missing/],
  ["application_name='it''s'", /"=".* missing/],
]

for (const [text, expected] of refused) {
  test(`refuses ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parseConninfo(text),
      (error) => isError(error, 'BAD_INPUT') && expected.test(error.message),
    )
  })
}

for (const text of [
  'postgres://user:hunter2@h/',
  'postgres://:hunter2@h/',
  'postgres://user:@h/',
  'postgres://user:hunter2@a:5432,b:5432/d?sslmode=require',
  'postgres://user:hun@ter2@h/',
  'postgres://h/?password=hunter2',
  'postgres://h/?user=u&password=hunter2',
  'postgres://h/?sslpassword=hunter2',
  'host=h password=hunter2',
  "host=h password = 'hunter2'",
  'password=hunter2 host=h',
  'host=h sslpassword=hunter2',
]) {
  test(`refuses the password in ${text}, and does not repeat it`, () => {
    assert.throws(
      () => parseConninfo(text),
      (error) => isError(error, 'BAD_INPUT') && /holds a password/.test(error.message) && !tells(error, 'unter2'),
    )
  })
}

// A password that was not escaped makes the string something else; whatever it is taken for, it is not shown.
for (const text of [
  'postgres://user:hunter2/x@h/',
  'postgres://user:hunter2?x@h/',
  'postgres://user:hunter2#x@h/',
  'postgres://user:12/hunter2@h/',
  'postgres://user:12?hunter2@h/',
  'postgres://user:hunter2,x@h/',
  'postgres://user:[hunter2]@h/',
  'postgres://h/?passwort=hunter2',
  'postgres://user:%zzhunter2@h/',
  'user:hunter2@h',
  'host=h password hunter2',
  'host=h password hunter2=x',
  "host=h 'hunter2'=x",
  'host=h passwort=hunter2',
  "host='h hunter2",
  'http://user:hunter2@h/?a=b',
]) {
  test(`refuses ${text}, and does not repeat it`, () => {
    assert.throws(
      () => parseConninfo(text),
      (error) => isError(error, 'BAD_INPUT') && !tells(error, 'unter2'),
    )
  })
}

function tells(error: WalferryError, secret: string): boolean {
  return [describe(error), error.hint ?? '', JSON.stringify(error.fields)].some((text) => text.includes(secret))
}
