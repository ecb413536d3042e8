/**
 * Recovery targets on real servers: what is planned from the archive alone leads a server to the row just before the
 * target, and not to the row just after it.
 */
import assert from 'node:assert/strict'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type pg from 'pg'
import { Archive } from '../../src/archive/archive.ts'
import { readBackup } from '../../src/archive/backups.ts'
import { Cluster } from '../../src/cluster/cluster.ts'
import { planRestore } from '../../src/restore/choose-restore.ts'
import type { RecoveryTarget, RestorePlan, RestoreRequest } from '../../src/restore/restore-plan.ts'
import { DirectoryStore } from '../../src/store/directory.ts'
import { formatLsn, type Lsn, parseLsn, plus } from '../../src/wal/lsn.ts'
import { segmentName, segmentStart, segnoBefore, segnoOf } from '../../src/wal/segment.ts'
import { asTimestamp, formatTimestamp, parseTimestamp } from '../../src/wal/timestamp.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  newestVersion,
  megabyte,
  type TestVersion,
  value,
  rows,
} from '../support/postgres.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'
import { program, restoreCommand, runFetch, runProgram, startReceive, urlOf } from '../support/walferry.ts'

/** What was true right after the row was committed. */
interface Committed {
  readonly id: number
  readonly xid: string
  readonly time: string
  /** The end of the commit's record, and so the begin of the next one. */
  readonly lsn: Lsn
}

async function commit(client: pg.Client, id: number): Promise<Committed> {
  const [[xid] = []] = await rows(client, `INSERT INTO t VALUES (${id}) RETURNING pg_current_xact_id()::xid`)
  const [[time] = []] = await rows(
    client,
    `SELECT to_char(pg_xact_commit_timestamp('${xid}'::xid) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
  )
  return {
    id,
    xid: xid ?? '',
    time: time ?? '',
    lsn: parseLsn(await value(client, 'SELECT pg_current_wal_flush_lsn()')),
  }
}

interface Listed {
  readonly backups: readonly { readonly name: string; readonly usable: boolean }[]
  readonly windows: readonly {
    readonly lastCommit: string | null
    readonly coveredUntil: string
    readonly backups: readonly string[]
  }[]
  readonly gaps: readonly unknown[]
}

async function list(store: string): Promise<Listed> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own command's answer
  return JSON.parse(await walferry(['list', '--json', '--store', store])) as Listed
}

const asked: Omit<RestoreRequest, 'target'> = {
  backup: null,
  inclusive: true,
  timeline: 'latest',
  action: 'promote',
  standby: false,
}

interface Taken {
  readonly name: string
  /** Restored, not started, and not to be: each recovery has a copy of it. */
  readonly restored: Cluster
}

async function walferry(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram(program('walferry'), args, { signal: deadline() })
  assert.equal(code, 0, stderr)
  return stdout
}

/** Returns the backup's name. */
async function backUp(server: Cluster, store: string): Promise<string> {
  const args = ['backup', '--url', urlOf(server.connection), '--store', store, '--fast', '--json']
  const { name } = JSON.parse(await walferry(args))
  return String(name)
}

async function restore(t: TestContext, version: TestVersion, store: string, args: readonly string[]): Promise<Cluster> {
  const folder = await serverFolder(t)
  const dataFolder = join(folder, 'restored')
  await walferry(['restore', dataFolder, '--store', store, ...args])
  const cluster = await Cluster.open({ binaries: version.binaries, folder, dataFolder, tcp: true })
  t.after(() => discardCluster(cluster))
  return cluster
}

/** Lets a copy recover with the plan's settings, and returns its rows. */
async function recoveredIds(backups: readonly Taken[], command: string, plan: RestorePlan): Promise<number[]> {
  const source = backups.find(({ name }) => name === plan.backup.name)
  assert.ok(source !== undefined, plan.backup.name)
  const cluster = await copyCluster(source.restored)
  try {
    // Not synced: the copy is thrown away.
    const settings = { restore_command: command, recovery_end_command: '', fsync: false }
    await cluster.setRecovery('recovery', { ...Object.fromEntries(plan.settings), ...settings })
    await cluster.start(deadline())
    await cluster.waitForPromotion(deadline())
    return await idsOf(cluster)
  } finally {
    await discardCluster(cluster)
  }
}

async function idsOf(cluster: Cluster): Promise<number[]> {
  const client = await connect(cluster)
  try {
    return (await rows(client, 'SELECT id FROM t ORDER BY id')).map(([id]) => Number(id))
  } finally {
    await client.end()
  }
}

/** Where a backup ends, and where it starts. */
async function endsOf({ store }: Archive, name: string): Promise<readonly [Lsn, Lsn]> {
  const backup = await readBackup(store, name, { signal: deadline() })
  assert.ok(backup !== null)
  return [backup.finishLsn, backup.startLsn]
}

function time(text: string): RecoveryTarget {
  return { kind: 'time', time: new Date(text), text }
}

for (const version of await newestVersion()) {
  test(`each kind of target: the row before is there, the row after is not (PostgreSQL ${version.major})`, async (t) => {
    const settings = { autovacuum: false, track_commit_timestamp: true, checkpoint_timeout: '1h' }
    const server = await makeCluster({ version, segmentBytes: megabyte, settings })
    t.after(() => discardCluster(server))
    await server.start(deadline())
    const client = await connect(server)
    t.after(() => client.end())
    const folder = await tempFolder(t)
    const place = join(folder, 'archive')
    await mkdir(place)
    const archive = new Archive(new DirectoryStore(place))
    const receive = startReceive(t, {
      server: server.connection,
      store: place,
      spool: join(folder, 'spool'),
      args: ['--ship-interval', '0'],
    })
    await receive.waitForReady(deadline())

    await client.query('CREATE TABLE t (id int)')
    const first = await commit(client, 1)
    const a = await backUp(server, place)
    const second = await commit(client, 2)
    await receive.waitForShipped(second.lsn, deadline())
    const early = await list(place)
    assert.deepEqual(
      early.windows.map(({ lastCommit, backups }) => ({ lastCommit, backups })),
      [{ lastCommit: second.time, backups: [a] }],
    )
    await commit(client, 3)
    const b = await backUp(server, place)
    const fourth = await commit(client, 4)
    await client.query("SELECT pg_create_restore_point('between')")
    await client.query('SELECT pg_switch_wal()')
    await commit(client, 5)
    await client.query('CREATE TABLE later (id int)')
    const last = await commit(client, 6)
    await client.query('CHECKPOINT')
    const end = parseLsn(await value(client, 'SELECT pg_current_wal_flush_lsn()'))
    await receive.waitForShipped(end, deadline())
    // From here on the archive stays as it is.
    assert.deepEqual(await receive.terminate(deadline()), { code: 0, signal: null }, receive.stderr)

    await t.test('the window moves with what is shipped, and says the last commit to the microsecond', async () => {
      const late = await list(place)
      const [window] = late.windows
      assert.equal(window?.lastCommit, last.time)
      assert.deepEqual(window?.backups, [a, b])
      assert.ok(parseLsn(window?.coveredUntil ?? '') >= end)
      assert.ok(parseLsn(early.windows[0]?.coveredUntil ?? '') >= second.lsn)
      assert.deepEqual(late.gaps, [])
    })

    await t.test('a backup, a restore and a start bring back the state of a moment', async () => {
      const args = ['--target-time', fourth.time, '--target-action', 'promote']
      const cluster = await restore(t, version, place, args)
      await cluster.start(deadline())
      await cluster.waitForPromotion(deadline())
      assert.deepEqual(await idsOf(cluster), [1, 2, 3, 4])
      await cluster.stop('fast', deadline())
    })

    const backups: Taken[] = []
    for (const name of [a, b]) {
      backups.push({ name, restored: await restore(t, version, place, ['--backup', name]) })
    }
    const [begin, startOfFirst] = await endsOf(archive, a)
    const shippedEnd = parseLsn((await list(place)).windows[0]?.coveredUntil ?? '')
    // What the archive serves, fetched once: a server would start the program for each file of each recovery.
    const served = await serverFolder(t)
    for (let segno = segnoOf(startOfFirst, megabyte); segno <= segnoBefore(shippedEnd, megabyte); segno++) {
      const name = segmentName({ timeline: 1, segno }, megabyte)
      const args = [name, join(served, name), '--store', place]
      const { code, stderr } = await runFetch(args, { signal: deadline() })
      assert.equal(code, 0, stderr)
    }

    const plan = async (target: RecoveryTarget | null, more: Partial<RestoreRequest> = {}): Promise<RestorePlan> =>
      await planRestore(archive, { ...asked, ...more, target }, { signal: deadline() })
    const cases: readonly {
      readonly name: string
      readonly target: RecoveryTarget | null
      readonly more?: Partial<RestoreRequest>
      readonly from: string
      readonly onAll?: true
      readonly ids: readonly number[]
    }[] = [
      { name: 'no target', target: null, from: b, ids: [1, 2, 3, 4, 5, 6] },
      { name: 'immediate', target: { kind: 'immediate' }, from: b, ids: [1, 2, 3] },
      { name: 'the time of a commit', target: time(fourth.time), from: b, ids: [1, 2, 3, 4] },
      {
        name: 'the same, exclusive',
        target: time(fourth.time),
        more: { inclusive: false },
        from: b,
        ids: [1, 2, 3],
        onAll: true,
      },
      { name: 'a time before the last backup', target: time(second.time), from: a, ids: [1, 2] },
      {
        name: 'a time after the last commit',
        target: time(formatTimestamp(asTimestamp(parseTimestamp(last.time) + 1n))),
        from: b,
        ids: [1, 2, 3, 4, 5, 6],
        onAll: true,
      },
      { name: 'a position', target: { kind: 'lsn', lsn: fourth.lsn }, from: b, ids: [1, 2, 3, 4] },
      { name: 'the end of the last record', target: { kind: 'lsn', lsn: end }, from: b, ids: [1, 2, 3, 4, 5, 6] },
      { name: 'a transaction', target: { kind: 'xid', xid: fourth.xid }, from: b, ids: [1, 2, 3, 4] },
      {
        name: 'the same, exclusive',
        target: { kind: 'xid', xid: fourth.xid },
        more: { inclusive: false },
        from: b,
        ids: [1, 2, 3],
      },
      { name: 'a restore point', target: { kind: 'name', name: 'between' }, from: b, ids: [1, 2, 3, 4], onAll: true },
      {
        name: 'a transaction before the last backup',
        target: { kind: 'xid', xid: second.xid },
        from: a,
        ids: [1, 2],
        onAll: true,
      },
    ]
    // Most of it the versions do alike: the oldest shows what it refuses as a setting, or by itself.
    const shown = version.major >= 18 ? cases : cases.filter(({ onAll }) => onAll)
    for (const { name, target, more = {}, from, ids } of shown) {
      await t.test(`${name}${target?.kind === 'xid' ? ' (xid)' : ''}`, async () => {
        const planned = await plan(target, more)
        assert.equal(planned.backup.name, from)
        assert.deepEqual(
          await recoveredIds(backups, `cp '${served}/%f' '%p'`, planned),
          ids,
          JSON.stringify(planned.settings),
        )
      })
    }

    const refused: readonly { readonly name: string; readonly target: RecoveryTarget }[] = [
      { name: 'a time before the first backup', target: time(first.time) },
      { name: 'a time to come', target: time('2999-01-01T00:00:00Z') },
      { name: 'a position before the end of the first backup', target: { kind: 'lsn', lsn: startOfFirst } },
      { name: 'a position that was not shipped', target: { kind: 'lsn', lsn: plus(end, megabyte) } },
      { name: 'a transaction before the first backup', target: { kind: 'xid', xid: first.xid } },
      { name: 'a restore point that was never made', target: { kind: 'name', name: 'elsewhere' } },
    ]
    for (const { name, target } of refused) {
      await t.test(`${name} is refused, with what can be reached`, async () => {
        await assert.rejects(plan(target), (error: { code?: string; hint?: string }) => {
          assert.equal(error.code, 'TARGET_UNREACHABLE')
          assert.ok(error.hint?.includes(last.time), error.hint)
          assert.ok(error.hint?.includes(formatLsn(begin)), error.hint)
          return true
        })
      })
    }

    await t.test('in front of a hole, a server is led up to it', async () => {
      const segno = segnoOf(fourth.lsn, megabyte)
      await rm(join(place, 'wal_005', `${segmentName({ timeline: 1, segno }, megabyte)}.lz4`))
      const planned = await plan({ kind: 'lsn', lsn: segmentStart(segno, megabyte) })
      assert.equal(planned.backup.name, b)
      // Asked for what is missing, walferry-fetch makes the server stop: it must not read ahead.
      const command = restoreCommand(['--store', place, '--retry-for', '0'])
      assert.deepEqual(await recoveredIds(backups, command, planned), [1, 2, 3], JSON.stringify(planned.settings))
      await assert.rejects(plan({ kind: 'name', name: 'between' }), { code: 'TARGET_UNREACHABLE' })
      await assert.rejects(plan(null), { code: 'TARGET_UNREACHABLE' })
    })
  })
}
