/** pgpass publishes no types. It reads PGPASSFILE or ~/.pgpass, and calls back with the password or undefined. */
declare module 'pgpass' {
  export default function pgpass(
    wanted: { host: string; port: number; user: string; database: string },
    found: (password: string | undefined) => void,
  ): void
}
