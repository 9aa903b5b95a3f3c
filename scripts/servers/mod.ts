/**
 * S3 servers that others wrote, started on 127.0.0.1 with their data in temporary folders, for tests and benchmarks.
 *
 *     const { servers, missing } = await startServers(["ceph", "r2"])
 *     …
 *     await Promise.all(servers.map((server) => server.stop()))
 *
 * They end with the program that started them, however that ends. What cannot be started is in `missing` with the
 * reason; `install.ts` installs what can be installed.
 *
 * @module
 */
import { existsSync } from "node:fs"
import process from "node:process"
import * as Ceph from "./ceph.ts"
import * as R2 from "./r2.ts"
import type { Server, ServerName } from "./server.ts"
import * as Versitygw from "./versitygw.ts"

/** What was started, and what was not. */
export interface Started {
  readonly servers: ReadonlyArray<Server>
  readonly missing: ReadonlyArray<{ readonly name: ServerName; readonly why: string }>
}

/** The path of a program, where it is installed. Debian's come first: their versions are known. */
export const programPath = (name: string): string | undefined =>
  ["/usr/bin", ...(process.env["PATH"] ?? "").split(":")].map((folder) => `${folder}/${name}`).find(existsSync)

const install = "see `bun scripts/servers/install.ts`"

/** How each is started, and why it cannot be. */
const known: { readonly [name in ServerName]: { why: () => string | undefined; start: () => Promise<Server> } } = {
  ceph: {
    why: () => {
      const program = Ceph.programs.find((name) => programPath(name) === undefined)
      return program && `there is no ${program}; ${install}`
    },
    start: () => Ceph.start(process.env["HOLDFAST_SOAK"] === "1" ? "bluestore" : "memstore"),
  },
  r2: { why: () => undefined, start: R2.start },
  versitygw: {
    why: () => Versitygw.installed() ? undefined : `it has not been built; ${install}`,
    start: Versitygw.start,
  },
}

/** The names of all servers. */
export const serverNames: ReadonlyArray<ServerName> = Object.keys(known) as Array<ServerName>

/** Starts servers, all by default, at the same time. Each is up within about a minute or `missing`. */
export const startServers = async (wanted: ReadonlyArray<ServerName> = serverNames): Promise<Started> => {
  const results = await Promise.all(wanted.map(async (name) => {
    const why = known[name].why()
    if (why !== undefined) return { name, why }
    return await known[name].start().catch((error: Error) => ({ name, why: `it did not start: ${error.message}` }))
  }))
  return {
    servers: results.filter((result) => "endpoint" in result),
    missing: results.filter((result) => "why" in result),
  }
}
