/**
 * One measurement on the local disk: `disk.ts FOLDER VARIANT SIZE`. Prints one JSON line.
 *
 * The plain variants do by hand what a careful program does without a library: write beside the target, fsync,
 * rename, fsync the folder; no checksum, no metadata, no lock.
 *
 * @module
 */
import { createReadStream, readFileSync } from "node:fs"
import { mkdir, open, rename, rm } from "node:fs/promises"
import { dirname } from "node:path"
import process from "node:process"
import { drain, many, small, smallInFlight, sourceOf, warmDisk } from "./work.ts"

const [folder, variant, size] = process.argv.slice(2) as [string, string, string]
const total = Number(size)
const syncFolder = async (path: string): Promise<void> => {
  const handle = await open(path, "r")
  await handle.sync()
  await handle.close()
}

const plainSave = async (path: string, bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> => {
  const handle = await open(`${path}.tmp`, "w")
  for await (const piece of bytes) await handle.write(piece)
  await handle.sync()
  await handle.close()
  await rename(`${path}.tmp`, path)
  await syncFolder(dirname(path))
}

const store = async () => {
  const { open } = await import(
    `${process.env["HOLDFAST_CHECKOUT"] ?? "../../"}mod.ts`
  ) as typeof import("../../mod.ts")
  return await open(`file:${folder}/store`, { compression: "none" })
}

await mkdir(folder, { recursive: true })
const variants: Record<string, () => Promise<() => Promise<unknown>>> = {
  "plain-save": () => Promise.resolve(() => plainSave(`${folder}/snapshot`, sourceOf(total))),
  "holdfast-save": async () => {
    const holdfast = await store()
    return () => holdfast.save("snapshot", sourceOf(total))
  },
  "plain-load": () =>
    Promise.resolve(() => drain(createReadStream(`${folder}/snapshot`, { highWaterMark: 256 * 1024 }), total)),
  "holdfast-load": async () => {
    const holdfast = await store()
    return async () => drain((await holdfast.load("snapshot")).body, total)
  },
  "plain-small": async () => {
    await mkdir(`${folder}/small`)
    return () => many(total, smallInFlight, (i) => plainSave(`${folder}/small/${i}`, [small]))
  },
  "holdfast-small": async () => {
    const holdfast = await store()
    return () => many(total, smallInFlight, (i) => holdfast.save(`small/${i}`, small))
  },
}

const work = await variants[variant]!()
if (variant.endsWith("-save")) await warmDisk(folder, total)
const before = process.cpuUsage()
const start = performance.now()
await work()
const ms = performance.now() - start
const { user, system } = process.cpuUsage(before)
const high = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))
// Every round creates its small objects afresh.
if (variant.endsWith("-small")) {
  for (const name of ["small", "store"]) await rm(`${folder}/${name}`, { recursive: true, force: true })
}
console.log(JSON.stringify({ ms, work: total, peak: Number(high![1]) * 1024, cpu: (user + system) / 1e6 }))
process.exit(0)
