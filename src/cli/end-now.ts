/**
 * Ends the process, whatever it is in the midst of. Not by process.exit(): that joins the threads of libuv, and one that is
 * in a call into a file system that hangs (NFS whose server is away) would keep it for ever. A signal that nobody handles
 * ends all threads.
 */
export function endNow(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
  // Only the first process of a container is still here: the kernel spares it what it does not handle.
  process.exit(1)
}
