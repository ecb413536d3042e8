import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Cluster } from '../../src/cluster/cluster.ts'
import { RunningClusters } from '../../src/cluster/running-clusters.ts'
import { isSegmentName } from '../../src/wal/segment.ts'
import { query } from '../../src/cluster/query.ts'
import {
  connect,
  copyCluster,
  deadline,
  discardCluster,
  makeCluster,
  megabyte,
  rows,
  newestVersion,
  value,
  withCluster,
} from '../support/postgres.ts'
import { serverFolder, tempFolder } from '../support/temp.ts'

/** False also for a zombie: it has ended, and only waits for its parent to ask how. */
function isAlive(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' })
  return stdout.trim() !== '' && !stdout.startsWith('Z')
}

for (const version of await newestVersion()) {
  describe(`a cluster of PostgreSQL ${version.major}`, () => {
    test('has checksums, fsync and the segment size that was asked for', async () => {
      await withCluster({ version, segmentBytes: megabyte }, async (cluster, client) => {
        assert.equal(await value(client, 'SHOW wal_segment_size'), '1MB')
        assert.equal(await value(client, 'SHOW data_checksums'), 'on')
        assert.equal(await value(client, 'SHOW fsync'), 'on')
        assert.equal(cluster.isRunning, true)
      })
    })

    test('keeps rows and settings over a stop and a start, on the same port', async () => {
      const settings = { work_mem: '5MB', 'walferry.text': `it's a \\ "path" # here` }
      await withCluster({ version, settings }, async (cluster, client) => {
        await client.query('CREATE TABLE t AS SELECT 42 AS n')
        await client.end()
        await cluster.stop('fast', deadline())
        assert.equal(cluster.isRunning, false)
        assert.equal(cluster.pid, null)
        await cluster.start(deadline())
        assert.deepEqual(await query(cluster.connection, 'SELECT n FROM t', deadline()), [{ n: 42 }])
        const again = await connect(cluster)
        assert.equal(await value(again, 'SHOW work_mem'), '5MB')
        assert.equal(await value(again, 'SHOW walferry.text'), settings['walferry.text'])
        await again.end()
      })
    })

    test('an immediate stop is a stop, and a second one is nothing', async () => {
      await withCluster({ version }, async (cluster) => {
        await cluster.stop('immediate', deadline())
        await cluster.stop('fast', deadline())
      })
    })

    test('kill -9 ends busy backends too, and committed rows are there after the restart', async () => {
      await withCluster({ version }, async (cluster, client) => {
        await client.query('CREATE TABLE t (n int)')
        await client.query('INSERT INTO t VALUES (1)')
        const busy = await connect(cluster)
        const loop = busy.query('DO $$ BEGIN LOOP NULL; END LOOP; END $$').catch(() => 'cut')
        const active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'"
        while ((await value(client, active)) !== '1') deadline().throwIfAborted()
        const pids = (await rows(client, 'SELECT pid FROM pg_stat_activity')).map(([pid]) => Number(pid))
        assert.ok(pids.length > 4 && pids.every(isAlive), String(pids))

        await cluster.kill(deadline())
        assert.deepEqual(pids.filter(isAlive), [])
        assert.deepEqual(await cluster.waitForExit(deadline()), { code: null, signal: 'SIGKILL' })
        assert.equal(await loop, 'cut')

        await cluster.start(deadline())
        assert.deepEqual(await query(cluster.connection, 'SELECT n FROM t', deadline()), [{ n: 1 }])
      })
    })

    test('a server that does not come up is reported with what it said', async () => {
      const cluster = await makeCluster({ version, settings: { wal_level: 'nonsense' } })
      try {
        await assert.rejects(cluster.start(deadline()), (error: Error) => {
          assert.match(error.message, /ended \(exit code 1\)/)
          assert.match(error.message, /invalid value for parameter "wal_level": "nonsense"/)
          return true
        })
        await cluster.configure({ wal_level: 'replica' })
        await cluster.start(deadline())
      } finally {
        await discardCluster(cluster)
      }
    })

    test('recovers from an archive, and the end of recovery is waited for', async (t) => {
      const archive = await serverFolder(t)
      const settings = { archive_mode: true, archive_command: `cp %p ${archive}/%f` }
      const cluster = await makeCluster({ version, settings })
      let base: Cluster | undefined
      try {
        base = await copyCluster(cluster)
        await cluster.start(deadline())
        const client = await connect(cluster)
        await client.query('CREATE TABLE t AS SELECT generate_series(1, 1000) AS n')
        await client.end()
        await query(cluster.connection, 'SELECT pg_switch_wal()', deadline())
        await cluster.stop('fast', deadline())

        await base.configure({ archive_mode: false })
        await base.setRecovery('recovery', { restore_command: `cp ${archive}/%f %p` })
        await base.start(deadline())
        await base.waitForPromotion(deadline())
        assert.deepEqual(await query(base.connection, 'SELECT count(*)::int AS n FROM t', deadline()), [{ n: 1000 }])
        await base.waitForLog(/archive recovery complete/, deadline())
      } finally {
        if (base !== undefined) await discardCluster(base)
        await discardCluster(cluster)
      }
    })

    test('a recovery that fails is told by its exit code, and by the wait for its end', async () => {
      const cluster = await makeCluster({ version })
      try {
        await cluster.setRecovery('recovery', { restore_command: 'exit 1', recovery_target_lsn: 'F/0' })
        await cluster.launch(deadline())
        const failed = assert.rejects(cluster.waitForPromotion(deadline()), { code: 'CLUSTER_FAILED' })
        assert.equal((await cluster.waitForExit(deadline())).code, 1)
        await failed
        await cluster.waitForLog(/recovery ended before configured recovery target was reached/, deadline())
      } finally {
        await discardCluster(cluster)
      }
    })

    test('a start that is given up leaves a server that dispose ends, with the command that it runs', async (t) => {
      const folder = await serverFolder(t)
      const pidFile = join(folder, 'pid')
      const cluster = await makeCluster({ version })
      try {
        await cluster.setRecovery('recovery', { restore_command: `echo $$ > ${pidFile}; exec sleep 1000` })
        const given = new AbortController()
        const started = cluster.start(given.signal)
        let pid = 0
        while (pid === 0) pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'))
        assert.equal(isAlive(pid), true)
        given.abort(new Error('given up'))
        await assert.rejects(started, /given up/)
        assert.equal(cluster.isRunning, true)
        await discardCluster(cluster)
        assert.equal(isAlive(pid), false)
        await assert.rejects(stat(cluster.folder), { code: 'ENOENT' })
      } finally {
        await discardCluster(cluster)
      }
    })

    test('follows a primary as a standby, and is promoted', async () => {
      await withCluster({ version }, async (primary, client) => {
        await client.end()
        await primary.stop('fast', deadline())
        const standby = await copyCluster(primary)
        try {
          await primary.start(deadline())
          await standby.setRecovery('standby', { primary_conninfo: primary.conninfo })
          await standby.start(deadline())
          await query(primary.connection, 'CREATE TABLE t AS SELECT 7 AS n', deadline())
          await standby.waitForLog(/started streaming WAL from primary/, deadline())
          await standby.promote(deadline())
          await query(standby.connection, 'CREATE TABLE own (n int)', deadline())
        } finally {
          await discardCluster(standby)
        }
      })
    })

    test('copies of one cluster are one system, and one with its own identity is another', async () => {
      const identity = 'SELECT system_identifier::text AS id FROM pg_control_system()'
      const seen: unknown[] = []
      for (const ownIdentity of [false, false, true]) {
        await withCluster({ version, ownIdentity }, async (cluster) => {
          seen.push((await query(cluster.connection, identity, deadline()))[0]?.['id'])
        })
      }
      assert.equal(seen[0], seen[1])
      assert.notEqual(seen[0], seen[2])
    })

    test('files that others put into the data folder can be read by the server', async () => {
      const cluster = await makeCluster({ version, segmentBytes: megabyte })
      try {
        const folder = join(cluster.dataFolder, 'pg_wal')
        const name = (await readdir(folder)).find(isSegmentName)
        assert.ok(name !== undefined)
        const bytes = await readFile(join(folder, name))
        await rm(join(folder, name))
        await writeFile(join(folder, name), bytes, { mode: 0o600 })
        await cluster.start(deadline())
      } finally {
        await discardCluster(cluster)
      }
    })

    test('a set of servers is ended together, also one that was killed', async () => {
      const set = new RunningClusters()
      const clusters = [await makeCluster({ version }), await makeCluster({ version })]
      for (const cluster of clusters) {
        set.add(cluster)
        await cluster.start(deadline())
      }
      await clusters[0]?.kill(deadline())
      assert.deepEqual(set.running, [clusters[1]?.dataFolder])
      await set.disposeAll()
      for (const cluster of clusters) {
        assert.equal(cluster.isRunning, false)
        await assert.rejects(stat(cluster.folder), { code: 'ENOENT' })
        await discardCluster(cluster)
      }
    })

    test('without tcp it listens on its socket only, whatever the settings in the data folder', async (t) => {
      const source = await makeCluster({ version })
      try {
        const folder = join(await tempFolder(t), 'server')
        const { binaries, dataFolder } = source
        await writeFile(join(dataFolder, 'postgresql.conf'), "data_directory = '/nowhere'\nport = 1\n")
        const cluster = await Cluster.open({ binaries, folder, dataFolder, overrides: { work_mem: '6MB' } })
        try {
          await cluster.start(deadline())
          assert.equal(cluster.connection.host, folder)
          const shown = await query(cluster.connection, 'SHOW work_mem', deadline())
          assert.deepEqual(shown, [{ work_mem: '6MB' }])
          const listening = await query(cluster.connection, 'SHOW listen_addresses', deadline())
          assert.deepEqual(listening, [{ listen_addresses: '' }])
        } finally {
          await cluster.dispose()
        }
      } finally {
        await discardCluster(source)
      }
    })
  })
}
