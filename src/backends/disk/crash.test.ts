/**
 * What is on the disk after a process was killed, the power was cut, or a system call failed. The writers are
 * processes of their own (`scripts/workers/writer.ts`), on Bun and on Deno.
 */
import { expect, test } from "bun:test"
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { onlyOn } from "../../../scripts/only-on.ts"
import { key, versionBytes } from "../../../scripts/workers/versions.ts"
import { StoreError } from "../../error.ts"
import { open } from "../../open.ts"
import { cutPower, failing, onLoop, traced, unmount } from "./testing-faults.ts"

const project = fileURLToPath(new URL("../../..", import.meta.url))
const writer = `${project}scripts/workers/writer.ts`
const soak = process.env["HOLDFAST_SOAK"] === "1"
const here = onlyOn("bun", "it runs processes of both runtimes; once is enough")

const commands: ReadonlyArray<readonly [string, ...Array<string>]> = [
  [`${project}node_modules/.bin/bun`, writer],
  [`${project}node_modules/deno/deno`, "run", "-A", "--no-check", writer],
]

const start = (runtime: number, args: ReadonlyArray<string>): ChildProcess => {
  const [program, ...first] = commands[runtime % commands.length]!
  return spawn(program, [...first, ...args], { stdio: ["ignore", "pipe", "inherit"] })
}

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.exitCode !== null ? resolve(child.exitCode) : child.once("close", resolve))

/** A small seeded generator: a failing seed replays the same points in time. */
const chance = (seed: number) => (): number => {
  seed = (Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0
  return seed / 2 ** 32
}

const within = async (body: (folder: string) => Promise<void>): Promise<void> => {
  const folder = await mkdtemp(`${tmpdir()}/holdfast-crash-`)
  try {
    await body(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Which version the store holds. Throws if it is not one version, whole, with its own metadata. */
const versionIn = async (folder: string): Promise<number | undefined> => {
  await using store = await open(`file:${folder}`)
  try {
    const loaded = await store.load(key)
    const version = Number(loaded.info.metadata["version"])
    if (Buffer.compare(await loaded.bytes(), versionBytes(version)) !== 0) throw new Error(`version ${version} is torn`)
    return version
  } catch (error) {
    if (StoreError.is(error) && error.reason === "NotFound") return undefined
    throw error
  }
}

/** Starts a writer, calls `strike` some time after its first save, and says what the writer had said by then. */
const strikeAt = async (
  runtime: number,
  folder: string,
  from: number,
  delay: number,
  strike: (child: ChildProcess) => void,
): Promise<{ begun: number; saved: number }> => {
  const child = start(runtime, ["versions", `file:${folder}`, `${from}`])
  const said = { begun: from, saved: from - 1 }
  let timer: ReturnType<typeof setTimeout> | undefined
  let rest = ""
  child.stdout!.on("data", (chunk: Uint8Array) => {
    const lines = (rest + new TextDecoder().decode(chunk)).split("\n")
    rest = lines.pop()!
    for (const line of lines) {
      const [word, version] = line.split(" ") as [string, string]
      if (word === "begin") said.begun = Number(version)
      else said.saved = Number(version)
      // The first round pays for imports and folders; the point in time counts from then.
      if (word === "saved") timer ??= setTimeout(() => strike(child), delay)
    }
  })
  await ended(child)
  return said
}

const kills = soak ? 1000 : 100

here(
  `fault 65: kill -9 at ${kills} points leaves the old object or the new one, and nothing else`,
  () =>
    within(async (folder) => {
      const seed = Number(process.env["HOLDFAST_SEED"] ?? 1)
      const random = chance(seed)
      let next = 0
      for (let i = 0; i < kills; i++) {
        const delay = random() * 40
        const { begun, saved } = await strikeAt(i, folder, next, delay, (child) => child.kill("SIGKILL"))
        const version = await versionIn(folder)
        const about = `seed ${seed}, kill ${i} after ${
          delay.toFixed(1)
        } ms: begun ${begun}, saved ${saved}, found ${version}`
        if (version === undefined || version < saved || version > begun) throw new Error(about)
        next = begun + 1
      }
      // The next writer sweeps what the dead have left.
      {
        await using store = await open(`file:${folder}`)
        await store.save("last", "x")
        expect((await readdir(`${folder}/.holdfast/tmp`)).length).toBe(1)
        expect((await readdir(`${folder}/.holdfast/lock`)).filter((name) => name.startsWith("owner-")).length).toBe(1)
      }
      expect(await readdir(`${folder}/.holdfast/tmp`)).toEqual([])
      expect((await readdir(folder, { recursive: true })).filter((name) => !name.startsWith(".holdfast"))).toEqual(
        expect.arrayContaining(["last", "runs", "runs/current", key]),
      )
    }),
  1_800_000,
)

const increments = soak ? 1000 : 100

here(
  `fault 134: 8 processes on Bun and Deno increment one object ${increments} times each: the sum is exact`,
  () =>
    within(async (folder) => {
      {
        await using store = await open(`file:${folder}`)
        await store.save("counter", "0", { ifNoneMatch: "*" })
      }
      const children = Array.from({ length: 8 }, (_, i) => start(i, ["count", `file:${folder}`, `${increments}`]))
      expect(await Promise.all(children.map(ended))).toEqual(children.map(() => 0))
      await using store = await open(`file:${folder}`)
      expect(await (await store.load("counter")).text()).toBe(`${8 * increments}`)
    }),
  1_800_000,
)

// ---- power cuts ------------------------------------------------------------------------------------------

const cuts = soak ? 500 : 40
onLoop(
  `fault 62, 63, 64: ${cuts} power cuts lose nothing that was saved, and tear nothing`,
  () =>
    within(async (folder) => {
      const image = `${folder}/image`
      const mount = `${folder}/mount`
      await mkdir(mount)
      const seed = Number(process.env["HOLDFAST_SEED"] ?? 1)
      const random = chance(seed)
      let next = 0
      for (let i = 0; i < cuts; i++) {
        // A fresh file system now and then, so that the first object in new folders is cut as well.
        if (i % 8 === 0) {
          execFileSync("truncate", ["-s", "0", image])
          execFileSync("truncate", ["-s", "64M", image])
          execFileSync("mkfs.ext4", ["-q", "-F", image])
          next = 0
        }
        execFileSync("mount", ["-o", "loop", image, mount])
        const delay = i % 8 === 0 ? 0 : random() * 30
        let said: { begun: number; saved: number }
        try {
          said = await strikeAt(0, `${mount}/store`, next, delay, (child) => {
            // The writer may no longer say "saved" for what the cut has lost: stop it first.
            process.kill(child.pid!, "SIGSTOP")
            void cutPower(mount).finally(() => child.kill("SIGKILL"))
          })
        } finally {
          await unmount(mount)
        }
        execFileSync("mount", ["-o", "loop", image, mount])
        try {
          const version = await versionIn(`${mount}/store`)
          const about = `seed ${seed}, cut ${i} after ${delay.toFixed(1)} ms: ${JSON.stringify(said)}, found ${version}`
          if (version === undefined || version < said.saved || version > said.begun) throw new Error(about)
        } finally {
          execFileSync("umount", [mount])
        }
        next = said.begun + 1
      }
    }),
  1_800_000,
)

// ---- failing system calls --------------------------------------------------------------------------------

/** Saves version 2 over version 1 while the Nth call of `calls` fails; returns what the writer said. */
const saveFailing = (folder: string, calls: string, inject: string, nth: number): string => {
  const [strace, ...rest] = [...failing(calls, inject, nth), ...commands[0]!, "once", `file:${folder}`, "5"]
  const { stdout, stderr } = spawnSync(strace!, rest, { encoding: "utf8", timeout: 60_000 })
  const said = stdout.trim()
  if (said === "") throw new Error(`the writer died: ${stderr}`)
  return said
}

const sweeps: ReadonlyArray<readonly [string, string, string, ReadonlyArray<string>]> = [
  ["fault 68: EIO", "fsync,fdatasync", "error=EIO", ["Unavailable"]],
  ["fault 67: ENOSPC", "fsync,fdatasync", "error=ENOSPC", ["NoSpace"]],
  ["fault 67: ENOSPC", "pwrite64", "error=ENOSPC", ["NoSpace"]],
  ["fault 67: EDQUOT", "rename,renameat,renameat2", "error=EDQUOT", ["NoSpace"]],
  ["fault 70: EACCES", "rename,renameat,renameat2", "error=EACCES", ["Forbidden"]],
  ["fault 81: EOPNOTSUPP from a folder's fsync is tolerated", "fsync", "error=EOPNOTSUPP", [
    "Unsupported",
    "Unavailable",
  ]],
]

for (const [name, calls, inject, reasons] of sweeps) {
  traced(
    `${name}, at each ${calls} of a save: old or new, typed, and nothing left over`,
    () =>
      within(async (folder) => {
        let failures = 0
        // strace counts a thread's calls, and which thread makes which is chance: a dozen saves may meet none that matters.
        for (let round = 0; round < 12 || (failures === 0 && round < 48); round++) {
          const nth = round % 12 + 1
          await rm(folder, { recursive: true, force: true })
          await mkdir(folder)
          {
            await using store = await open(`file:${folder}`)
            await store.save(key, versionBytes(1), { metadata: { version: "1" } })
          }
          const said = saveFailing(folder, calls, inject, nth)
          const version = await versionIn(folder)
          if (said === "saved") expect(version).toBe(5)
          else {
            failures++
            expect(reasons).toContain(said)
            expect([1, 5]).toContain(version!)
          }
          {
            await using store = await open(`file:${folder}`)
            await store.save("after", "x")
            await store.save(key, versionBytes(3), { metadata: { version: "3" } })
          }
          expect(await versionIn(folder)).toBe(3)
          expect(await readdir(`${folder}/.holdfast/tmp`)).toEqual([])
        }
        expect(failures).toBeGreaterThan(0)
      }),
    300_000,
  )
}

traced("fault 69: a write that lies about its length is found, not believed", () =>
  within(async (folder) => {
    await using store = await open(`file:${folder}`)
    await store.save("warm", "x")
    // The second pwrite of the save claims to have written what it has not.
    const said = saveFailing(folder, "pwrite64", "retval=65536", 2)
    if (said === "saved") {
      const error = await (async () => (await store.load(key)).bytes())().catch((e) => e)
      expect(["Corrupt", "Truncated"]).toContain(error.reason)
    } else expect(said).not.toBe("")
  }), 60_000)

test("fault 107: a byte changed in a file behind our back is Corrupt, never handed out as good", () =>
  within(async (folder) => {
    await using store = await open(`file:${folder}`)
    await store.save("a/b", versionBytes(5))
    const bytes = versionBytes(5)
    bytes[150_000]! ^= 1
    await writeFile(`${folder}/a/b`, bytes)
    const error = await (async () => (await store.load("a/b")).bytes())().catch((e) => e)
    expect(error.reason).toBe("Corrupt")
  }))
