/** The store in memory that these tests stand on keeps the promises of the real ones. */
import { objectStoreContract } from '../contract/object-store.ts'
import { MemoryStore } from '../support/memory-store.ts'

objectStoreContract('in memory', () => {
  const store = new MemoryStore()
  return Promise.resolve({ store, serverBytes: () => store.heldBytes, cleanup: () => Promise.resolve() })
})
