/**
 * The servers that a process has started, to be ended with it. Its owner decides when: `disposeAll` on the way out of
 * a command, `killNow` in a handler of `process.on('exit')`, where nothing can be waited for.
 */
import type { Cluster } from './cluster.ts'

export class RunningClusters {
  readonly #clusters = new Set<Cluster>()

  add(cluster: Cluster): void {
    this.#clusters.add(cluster)
  }

  /** The data folders of the servers that run. */
  get running(): string[] {
    return [...this.#clusters].filter((cluster) => cluster.isRunning).map((cluster) => cluster.dataFolder)
  }

  /** Ends one server, deletes its folder, and forgets it. */
  async dispose(cluster: Cluster): Promise<void> {
    await cluster.dispose()
    this.#clusters.delete(cluster)
  }

  /** Ends all of them. Throws the first error after all were tried. */
  async disposeAll(): Promise<void> {
    const results = await Promise.allSettled([...this.#clusters].map((cluster) => this.dispose(cluster)))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  /** Orders all of them to shut down at once, and waits for nothing; the folders stay. */
  killNow(): void {
    for (const cluster of this.#clusters) cluster.killNow()
  }
}
