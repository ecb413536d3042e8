/** Recoveries that fetch ahead: what they bring back, how seldom they start Node.js, and what they leave behind. */
import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Cluster } from '../../src/cluster/cluster.ts'
import { giveDataToServer } from '../../src/cluster/server-user.ts'
import { backgroundOf, folderName, readySegments, until, waitUntilGone } from '../support/prefetching.ts'
import { copyCluster, deadline, discardCluster, megabyte, testVersions } from '../support/postgres.ts'
import { serverFolder } from '../support/temp.ts'
import { cleanupCommand, restoreCommand } from '../support/walferry.ts'
import { AssembledArchive } from './assembled-archive.ts'
import { allRows, insert, insertLarge, makeScene, recover, rowsOf } from './scenario.ts'

const newest = (await testVersions()).at(-1)
const megabytes = 20
const ahead = 8

/** Commands that say in a file when they start Node.js, and that wait at one segment until a file lets them go on. */
class Commands {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async make(t: TestContext): Promise<Commands> {
    const folder = await serverFolder(t)
    const node = join(folder, 'node')
    await writeFile(node, `#!/bin/sh\necho "$3" >>'${folder}/started'\nexec '${process.execPath}' "$@"\n`)
    await chmod(node, 0o755)
    return new Commands(folder)
  }

  restore(store: string, gate: string | null = null): string {
    const env = { PATH: `${this.#folder}:${process.env['PATH']}` }
    const wait = `while [ %f = ${gate} ] && [ ! -e ${this.#folder}/open ]; do sleep 0.02; done; `
    return (gate === null ? '' : wait) + restoreCommand(['--store', store, '--prefetch', String(ahead)], env)
  }

  async openGate(): Promise<void> {
    await writeFile(join(this.#folder, 'open'), '')
  }

  /** What was asked for in the calls that had to start Node.js. */
  async started(): Promise<string[]> {
    return (await readFile(join(this.#folder, 'started'), 'utf8')).split('\n').filter((line) => line !== '')
  }
}

if (newest !== undefined) {
  test(`a recovery that fetches ahead (PostgreSQL ${newest.major})`, async (t) => {
    const { server, copy, client } = await makeScene(t, newest, megabyte)
    for (let n = 1; n <= megabytes; n++) {
      await insert(client, n * 1000, n * 1000 + 100, 'small')
      await insertLarge(client, n, megabyte)
    }
    const rows = await allRows(client)
    await server.stop('fast', deadline())
    const archive = await AssembledArchive.make(t, server, megabyte)
    const names = await archive.add(server, 1)
    const store = archive.folder
    const gate = names.at(-ahead - 2) ?? ''
    const anotherCopy = async (): Promise<{ cluster: Cluster; pgWal: string; commands: Commands }> => {
      const cluster = await copyCluster(copy)
      t.after(() => discardCluster(cluster))
      return { cluster, pgWal: join(cluster.dataFolder, 'pg_wal'), commands: await Commands.make(t) }
    }

    await t.test('gets most segments without Node.js, and leaves nothing behind', async () => {
      const { cluster, pgWal, commands } = await anotherCopy()
      await recover(cluster, commands.restore(store))
      assert.deepEqual(await rowsOf(cluster), rows)
      const served = (await commands.started()).filter((name) => names.includes(name))
      assert.ok(served.length < names.length / 2, `${served.length} of ${names.length} segments started Node.js`)
      await waitUntilGone(pgWal, store)
    })

    await t.test('keeps what it may while the server waits, and goes on after a kill -9 of it', async () => {
      const { cluster, pgWal, commands } = await anotherCopy()
      await cluster.setRecovery('recovery', {
        restore_command: commands.restore(store, gate),
        recovery_end_command: cleanupCommand(),
      })
      await cluster.launch(deadline())
      const expected = names.slice(names.indexOf(gate), names.indexOf(gate) + ahead)
      await until(async () => (await readySegments(pgWal)).join() === expected.join())
      const [pid, ...others] = await backgroundOf(store)
      assert.deepEqual(others, [])
      process.kill(pid ?? 0, 'SIGKILL')
      await commands.openGate()
      await cluster.waitForPromotion(deadline())
      assert.deepEqual(await rowsOf(cluster), rows)
      await waitUntilGone(pgWal, store)
    })

    await t.test('ends with its server, and what a crash leaves is not taken for the next run', async () => {
      const { cluster, pgWal, commands } = await anotherCopy()
      await cluster.setRecovery('recovery', { restore_command: commands.restore(store, gate) })
      await cluster.launch(deadline())
      await until(async () => (await readySegments(pgWal)).includes(gate))
      const folder = join(pgWal, folderName)
      const owner = await readFile(join(folder, 'for'))
      await cluster.kill(deadline())
      await waitUntilGone(pgWal, store)
      // As if the machine had crashed, and with content that would be seen.
      await mkdir(folder)
      await writeFile(join(folder, 'for'), owner)
      for (const name of names) await writeFile(join(folder, name), 'of a former run')
      await giveDataToServer(cluster.dataFolder)
      await commands.openGate()
      await cluster.start(deadline())
      await cluster.waitForPromotion(deadline())
      assert.deepEqual(await rowsOf(cluster), rows)
      await waitUntilGone(pgWal, store)
    })
  })
}
