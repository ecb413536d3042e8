declare module 'fs-native-extensions' {
  /** An exclusive lock of the open file description (F_OFD_SETLK): false if somebody else holds it. */
  export function tryLock(fd: number): boolean
}
