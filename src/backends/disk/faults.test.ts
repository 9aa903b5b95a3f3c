// File systems that refuse, trick and run out.
import { expect, test } from "bun:test"
import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { createServer } from "node:net"
import type { Backend } from "../../backend.ts"
import { crc32 } from "../../streams/crc32.ts"
import { bytes, expectBytes, putOptions, read } from "../conformance.ts"
import { filesIn, reasonOf, run, runtimes, startWorker, withFolder, withFreshStore, withStore } from "./testing.ts"

const small = bytes(1, 100)
const save = (backend: Backend, key: string, data = small) => run(backend.put(key, data, putOptions(data)))
const putReason = (backend: Backend, key: string) => reasonOf(backend.put(key, small, putOptions(small)))

const mounted = async (options: ReadonlyArray<string>, at: string, use: () => Promise<void>): Promise<void> => {
  execFileSync("mount", [...options, at])
  try {
    await use()
  } finally {
    execFileSync("umount", ["-l", at])
  }
}

const whyNoMount = ((): string | undefined => {
  if (process.platform !== "linux") return "needs Linux"
  if (process.getuid?.() !== 0) return "needs root"
  return spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0
    ? undefined
    : "mount is refused"
})()

const mountTest = (name: string, body: () => Promise<void>): void =>
  whyNoMount === undefined ? void test(name, body) : void test.skip(`${name} (skipped: ${whyNoMount})`, body)

mountTest(
  "fault 66: a full disk is NoSpace, the old object stays, and nothing is left over",
  () =>
    withFolder((folder) =>
      mounted(["-t", "tmpfs", "-o", "size=4m", "tmpfs"], folder, () =>
        withStore(`${folder}/root`, async (backend) => {
          const old = bytes(2, 1_000_000)
          await save(backend, "a", old)
          const large = bytes(3, 5_000_000)
          const error = await run(backend.put("a", large, putOptions(large))).catch((error) => error)
          expect([error.reason, error.transient, error.ambiguous]).toEqual(["NoSpace", false, false])
          const upload = await run(backend.createUpload("a", { writeId: "w" }))
          const part = backend.putPart(upload, { number: 1, offset: 0, crc32: crc32(large) }, large)
          expect(await reasonOf(part)).toBe("NoSpace")
          await run(backend.abortUpload(upload))
          expect(filesIn(`${folder}/root/.holdfast/tmp`)).toEqual([])
          expectBytes((await run(read(backend, "a"))).data, old, "a")
          await save(backend, "a", bytes(4, 2_000_000))
        }))
    ),
)

mountTest(
  "fault 70: a root that is mounted read-only is Forbidden to writers, and readers do not mind",
  () =>
    withFolder(async (folder) => {
      const root = `${folder}/root`
      await withStore(root, (backend) => save(backend, "a"))
      execFileSync("mount", ["--bind", folder, folder])
      await mounted(["-o", "remount,bind,ro"], folder, () =>
        withStore(root, async (backend) => {
          expectBytes((await run(read(backend, "a"))).data, small, "a")
          const error = await run(backend.put("a", small, putOptions(small))).catch((error) => error)
          expect([error.reason, error.transient, error.ambiguous]).toEqual(["Forbidden", false, false])
          expect(await reasonOf(backend.remove("a"))).toBe("Forbidden")
        }))
    }),
)

mountTest(
  "fault 72: a mount point inside the root is a Config error for writes below it",
  () =>
    withFreshStore(async (backend, root) => {
      await save(backend, "a")
      mkdirSync(`${root}/inner`)
      await mounted(["-t", "tmpfs", "tmpfs"], `${root}/inner`, async () => {
        const error = await run(backend.put("inner/a", small, putOptions(small))).catch((error) => error)
        expect([error.reason, error.transient, error.ambiguous]).toEqual(["Config", false, false])
        expect(await reasonOf(backend.move!("a", "inner/a", { writeId: "w" }))).toBe("Config")
        expect(readdirSync(`${root}/inner`)).toEqual([])
        // Other programs' files there can be read like any.
        writeFileSync(`${root}/inner/foreign`, small)
        expectBytes((await run(read(backend, "inner/foreign"))).data, small, "inner/foreign")
      })
      expect(filesIn(`${root}/.holdfast/tmp`)).toEqual([])
      expectBytes((await run(read(backend, "a"))).data, small, "a")
    }),
)

test("fault 78: a symbolic link at a key, or on the way to it, is Forbidden and leads nowhere", () =>
  withFolder(async (folder) => {
    const root = `${folder}/root`
    mkdirSync(`${folder}/outside/inner`, { recursive: true })
    writeFileSync(`${folder}/outside/secret`, "secret")
    await withStore(root, async (backend) => {
      await save(backend, "real/key")
      symlinkSync(`${folder}/outside/secret`, `${root}/file`)
      symlinkSync(`${folder}/outside/nothing`, `${root}/dangling`)
      symlinkSync(`${folder}/outside`, `${root}/folder`)
      // A link that stays inside is no exception: it would make two keys of one object.
      symlinkSync("real", `${root}/alias`)
      const keys = ["file", "dangling", "folder/secret", "folder/inner/x", "folder/new/x", "alias/key", "folder"]
      for (const key of keys) {
        expect([key, await reasonOf(backend.get(key))]).toEqual([key, "Forbidden"])
        expect([key, await reasonOf(backend.stat(key))]).toEqual([key, "Forbidden"])
        expect([key, await putReason(backend, key)]).toEqual([key, "Forbidden"])
        expect([key, await reasonOf(backend.remove(key))]).toEqual([key, "Forbidden"])
        expect(await reasonOf(backend.copy!(key, "copy", { writeId: "c" }))).toBe("Forbidden")
        expect(await reasonOf(backend.copy!("real/key", key, { writeId: "c" }))).toBe("Forbidden")
        expect(await reasonOf(backend.move!(key, "moved", { writeId: "m" }))).toBe("Forbidden")
        expect(await reasonOf(backend.move!("real/key", key, { writeId: "m" }))).toBe("Forbidden")
      }
      expect((await run(backend.list())).objects.map(({ key }) => key)).toEqual(["real/key"])
      expect((await run(backend.list({ prefix: "folder/" }))).objects).toEqual([])
    })
    expect(filesIn(`${folder}/outside`)).toEqual(["secret"])
    expect(readFileSync(`${folder}/outside/secret`, "utf8")).toBe("secret")
  }))

test("fault 78: links in place of our own folders are not followed either", () =>
  withFolder(async (folder) => {
    for (const name of [".holdfast", ".holdfast/meta", ".holdfast/tmp", ".holdfast/lock", ".holdfast/uploads"]) {
      const root = `${folder}/root`
      mkdirSync(`${folder}/outside`)
      mkdirSync(`${root}/.holdfast`, { recursive: true })
      if (name === ".holdfast") rmSync(`${root}/${name}`, { recursive: true })
      symlinkSync(`${folder}/outside`, `${root}/${name}`)
      await withStore(root, async (backend) => {
        const upload = backend.createUpload("a", { writeId: "w", resumable: true })
        // A link does harm only to what would be put there.
        if (!name.endsWith("meta")) expect([name, await reasonOf(upload)]).toEqual([name, "Forbidden"])
        if (!name.endsWith("uploads")) expect([name, await putReason(backend, "a")]).toEqual([name, "Forbidden"])
      })
      expect(readdirSync(`${folder}/outside`)).toEqual([])
      expect(existsSync(`${root}/a`)).toBe(false)
      rmSync(root, { recursive: true })
      rmSync(`${folder}/outside`, { recursive: true })
    }
  }))

test("fault 78: Deno without permission to ask the kernel finds standing links too", () =>
  withFolder(async (folder) => {
    const root = `${folder}/root`
    mkdirSync(`${folder}/outside`)
    writeFileSync(`${folder}/outside/secret`, "secret")
    await withStore(root, (backend) => save(backend, "real/key"))
    symlinkSync(`${folder}/outside`, `${root}/folder`)
    symlinkSync(`${folder}/outside/secret`, `${root}/file`)
    symlinkSync("real", `${root}/alias`)
    const keys = ["real/key", "file", "folder/secret", "folder/new", "alias/key"]
    const allowed = [`--allow-read=${folder}`, `--allow-write=${folder}`]
    const { lines } = await startWorker("deno", { does: "try", root, keys }, { allowed }).end()
    expect(lines).toEqual(["won won", ...Array(4).fill("Forbidden Forbidden")])
    expect(filesIn(`${folder}/outside`)).toEqual(["secret"])
    // Nor is a refused permission taken for anything else.
    const less = await startWorker("deno", { does: "try", root, keys: ["a"] }, { allowed: allowed.slice(0, 1) }).end()
    expect(less.lines).toEqual(["NotFound Forbidden"])
  }))

test(
  "fault 79: a folder that is swapped for a link and back during 2,000 calls lets nothing out or in",
  () =>
    withFolder(async (folder) => {
      const root = `${folder}/root`
      const outside = `${folder}/outside`
      mkdirSync(outside)
      writeFileSync(`${outside}/key0`, "outside")
      await withStore(root, async (backend) => {
        for (let i = 0; i < 5; i++) await save(backend, `d/key${i}`)
        symlinkSync(outside, `${folder}/link`)
        let swapping = true
        let swaps = 0
        const swap = (): void => {
          renameSync(`${root}/d`, `${folder}/kept`)
          // A writer may have made the folder anew in between: then that one stays.
          if (existsSync(`${root}/d`)) return rmSync(`${folder}/kept`, { recursive: true })
          renameSync(`${folder}/link`, `${root}/d`)
          swaps++
        }
        const swapBack = (): void => {
          renameSync(`${root}/d`, `${folder}/link`)
          renameSync(`${folder}/kept`, `${root}/d`)
        }
        const swapper = (async () => {
          while (swapping) {
            try {
              if (existsSync(`${folder}/kept`)) swapBack()
              else swap()
            } catch {
              // A folder was made or removed between two steps; what is left is put right the next time.
              if (!existsSync(`${folder}/link`) && !lstatSync(`${root}/d`).isSymbolicLink()) {
                throw new Error("link lost")
              }
              if (existsSync(`${folder}/link`)) rmSync(`${folder}/kept`, { recursive: true, force: true })
            }
            await new Promise((resolve) => setImmediate(resolve))
          }
        })()
        const reasons = new Set<string>()
        const attempt = async (i: number): Promise<void> => {
          const key = `d/key${i % 5}`
          if (i % 3 === 0) {
            const found = await run(read(backend, key)).catch((error) => void reasons.add(error.reason))
            if (found !== undefined) expect(new TextDecoder().decode(found.data)).not.toBe("outside")
          } else if (i % 3 === 1) reasons.add(await putReason(backend, key))
          else reasons.add(await reasonOf(backend.remove(key)))
        }
        for (let i = 0; i < 2000; i += 4) await Promise.all([0, 1, 2, 3].map((more) => attempt(i + more)))
        swapping = false
        await swapper
        expect(swaps).toBeGreaterThan(100)
        expect(reasons).toContain("succeeded")
        expect(reasons).toContain("Forbidden")
      })
      expect(readdirSync(outside)).toEqual(["key0"])
      expect(readFileSync(`${outside}/key0`, "utf8")).toBe("outside")
    }),
  60_000,
)

test("fault 80: a FIFO, a socket or a device at a key is Unsupported at once, and stays", () =>
  withFreshStore(async (backend, root) => {
    await save(backend, "a")
    execFileSync("mkfifo", [`${root}/fifo`])
    const kinds = ["fifo", "socket"]
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(`${root}/socket`, resolve))
    if (process.getuid?.() === 0 && spawnSync("mknod", [`${root}/device`, "c", "1", "5"]).status === 0) {
      kinds.push("device")
    }
    for (const key of kinds) {
      expect([key, await reasonOf(backend.get(key))]).toEqual([key, "Unsupported"])
      expect([key, await putReason(backend, key)]).toEqual([key, "Unsupported"])
      expect([key, await reasonOf(backend.remove(key))]).toEqual([key, "Unsupported"])
      expect([key, await reasonOf(backend.move!("a", key, { writeId: "w" }))]).toEqual([key, "Unsupported"])
      expect(existsSync(`${root}/${key}`)).toBe(true)
    }
    expect((await run(backend.list())).objects.map(({ key }) => key)).toEqual(["a"])
    await new Promise((resolve) => server.close(resolve))
  }))

for (const [index, umask] of [0o777, 0o277, 0].entries()) {
  test(`modes are 0700 and 0600 under umask ${umask.toString(8).padStart(4, "0")}`, () =>
    withFolder(async (folder) => {
      const root = `${folder}/root`
      const worker = startWorker(runtimes[index % 2]!, { does: "put", root, key: "new/key", umask })
      expect(await worker.end()).toEqual({ lines: ["won"], code: 0 })
      for (const name of filesIn(root)) {
        const shown = (path: string) => `${path} ${(statSync(`${root}/${path}`).mode & 0o7777).toString(8)}`
        expect(shown(name)).toBe(`${name} 600`)
        for (let above = name; above.includes("/");) {
          above = above.slice(0, above.lastIndexOf("/"))
          expect(shown(above)).toBe(`${above} 700`)
        }
      }
      expect(statSync(root).mode & 0o7777).toBe(0o700)
    }))
}

test("the mode of a root that was there is left alone", () =>
  withFolder(async (root) => {
    chmodSync(root, 0o755)
    await withStore(root, (backend) => save(backend, "a"))
    expect(statSync(root).mode & 0o7777).toBe(0o755)
  }))

const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
const whyNotNobody = process.getuid?.() !== 0
  ? "needs root"
  : spawnSync(asNobody[0]!, [...asNobody.slice(1), "true"]).status === 0
  ? undefined
  : "needs setpriv"

const nobodyTest = (name: string, body: () => Promise<void>): void =>
  whyNotNobody === undefined ? void test(name, body) : void test.skip(`${name} (skipped: ${whyNotNobody})`, body)

nobodyTest("fault 70: a root of another user is Forbidden", () =>
  withFolder(async (folder) => {
    chmodSync(folder, 0o755)
    mkdirSync(`${folder}/root`, { mode: 0o755 })
    const worker = startWorker("bun", { does: "put", root: `${folder}/root`, key: "a" }, { wrap: asNobody })
    expect((await worker.end()).lines).toEqual(["Forbidden"])
  }))

nobodyTest(
  "a user whom the umask shuts out of his own new folders can save all the same",
  () =>
    withFolder(async (folder) => {
      chmodSync(folder, 0o777)
      const job = { does: "put", root: `${folder}/root`, key: "new/key", umask: 0o777 } as const
      for (const runtime of ["bun", "bun"] as const) {
        expect((await startWorker(runtime, job, { wrap: asNobody }).end()).lines).toEqual(["won"])
      }
    }),
)

for (const runtime of runtimes) {
  test(`fault 71: ${runtime} out of file descriptors fails for a while, and goes on when there are some again`, () =>
    withFolder(async (root) => {
      await withStore(root, (backend) => save(backend, "a"))
      const wrap = ["sh", "-c", 'ulimit -n 80 && exec "$@"', "sh"]
      const { lines, code } = await startWorker(runtime, { does: "hoard", root, key: "a" }, { wrap }).end()
      expect({ lines, code }).toEqual({ lines: ["Unavailable", "won"], code: 0 })
    }))
}
