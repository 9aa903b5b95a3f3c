/**
 * One measurement of a served folder: `http.ts FOLDER VARIANT SIZE`. Prints one JSON line: processor time of the client
 * and the server together, and the peak memory of the larger of the two; on stderr both, each by itself.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { mkdir, rm } from "node:fs/promises"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type { Part } from "../../src/backend.ts"
import type { Store } from "../../src/store.ts"
import { crc32 } from "../../src/streams/crc32.ts"
import { chunk, drain, many, small, smallInFlight, sourceOf, warmDisk } from "./work.ts"

const [folder, variant, size] = process.argv.slice(2) as [string, string, string]
const total = Number(size)
const root = `${folder}/store`

/** Bytes of a part and parts in flight, as a served folder asks for them. */
const [partSize, partsInFlight] = [8 * 2 ** 20, 2]
const part = new Uint8Array(partSize).map((_, i) => chunk[i % chunk.length]!)

/** What a process has cost. */
interface Cost {
  readonly peak: number
  readonly cpu: number
}

/** A server in a process of its own. */
interface Server {
  readonly url: string
  readonly end: () => Promise<Cost>
}

const startServer = async (...args: ReadonlyArray<string>): Promise<Server> => {
  const script = fileURLToPath(new URL("http-server.ts", import.meta.url))
  const flags = process.versions["deno"] === undefined ? [] : ["run", "-A", "--no-check"]
  const child = spawn(process.execPath, [...flags, script, ...args], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    url: (await lines.next()).value as string,
    end: async () => {
      child.stdin.end()
      return JSON.parse((await lines.next()).value as string) as Cost
    },
  }
}

const openStore = async (url: string): Promise<Store> => {
  const checkout = process.env["HOLDFAST_CHECKOUT"] ?? "../../"
  const { open } = await import(`${checkout}mod.ts`) as typeof import("../../mod.ts")
  return await open(url, { compression: "none" })
}

/** What the server does for a save, without a server: an upload that survives a restart, part by part. */
const saveInParts = async (store: Store): Promise<void> => {
  const { calls } = store.service
  const crc = crc32(part)
  const head = { writeId: crypto.randomUUID(), resumable: true }
  const upload = await Effect.runPromise(calls.createUpload("snapshot", head))
  const parts: Array<Part> = []
  await many(total / partSize, partsInFlight, async (i) => {
    const place = { number: i + 1, offset: i * partSize, crc32: crc }
    parts[i] = await Effect.runPromise(calls.putPart(upload, place, part))
  })
  await Effect.runPromise(calls.completeUpload(upload, parts, { size: total }))
}

const verbs: Record<string, (store: Store) => Promise<unknown>> = {
  parts: saveInParts,
  save: (store) => store.save("snapshot", sourceOf(total)),
  load: async (store) => drain((await store.load("snapshot")).body, total),
  small: (store) => many(total, smallInFlight, (i) => store.save(`small/${i}`, small)),
}

/** The least that carries these bytes over the loopback. */
const bareVerbs: Record<string, (url: string) => Promise<unknown>> = {
  save: (url) =>
    many(total / partSize, partsInFlight, async () => (await fetch(url, { method: "PUT", body: part })).text()),
  load: async (url) => drain((await fetch(url)).body!, total),
}

await mkdir(folder, { recursive: true })
const [how, verb] = variant.split("-") as [string, string]
const server = how === "direct" ? undefined : await startServer(...(how === "bare" ? ["bare", size] : ["store", root]))
const store = how === "bare" ? undefined : await openStore(server?.url ?? `file:${root}`)
if (verb === "save" || verb === "parts") await warmDisk(folder, total)
const before = process.cpuUsage()
const start = performance.now()
await (store === undefined ? bareVerbs[verb]!(server!.url) : verbs[verb]!(store))
const ms = performance.now() - start
const { user, system } = process.cpuUsage(before)
const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
const client: Cost = { peak: Number(high![1]) * 1024, cpu: (user + system) / 1e6 }
const served = await server?.end() ?? { peak: 0, cpu: 0 }
if (verb === "small") await rm(root, { recursive: true, force: true })
if (server !== undefined) console.error(JSON.stringify({ variant, ms, client, server: served }))
const [peak, cpu] = [Math.max(client.peak, served.peak), client.cpu + served.cpu]
console.log(JSON.stringify({ ms, work: total, peak, cpu }))
process.exit(0)
