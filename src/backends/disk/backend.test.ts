// What is true of the disk backend alone; `conformance.test.ts` proves the contract.
import { afterAll, expect, test } from "bun:test"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Backend } from "../../backend.ts"
import { crc32 } from "../../streams/crc32.ts"
import { bytes, collect, conformance, expectBytes, putOptions, read, register } from "../conformance.ts"
import { make } from "./mod.ts"
import { filesIn, openFiles, reasonOf, run, tempFolder, withFolder, withFreshStore, withStore } from "./testing.ts"

const small = bytes(1, 100)
const save = (backend: Backend, key: string, data = small, more = {}) =>
  run(backend.put(key, data, putOptions(data, more)))

const suiteRoot = tempFolder()
afterAll(() => rmSync(suiteRoot, { recursive: true, force: true }))
register(test, await conformance("disk", () => make({ root: `${suiteRoot}/exact` })))

// The naming of file systems that fold names, on one that does not.
mkdirSync(`${suiteRoot}/portable/.holdfast`, { recursive: true })
const portable = { version: 1, shards: 64, shardHash: "sha256", names: "portable" }
writeFileSync(`${suiteRoot}/portable/.holdfast/format.json`, JSON.stringify(portable))
register(test, await conformance("disk, portable names", () => make({ root: `${suiteRoot}/portable` })))

test("make() and every kind of reading create nothing", () =>
  withFolder(async (folder) => {
    await withStore(`${folder}/not/there`, async (backend) => {
      expect(await reasonOf(backend.stat("a/b"))).toBe("NotFound")
      expect(await reasonOf(backend.get("a"))).toBe("NotFound")
      expect((await run(backend.list())).objects).toEqual([])
      await run(backend.remove("a/b"))
      expect(await reasonOf(backend.remove("a", { ifMatch: "x" }))).toBe("PreconditionFailed")
      expect(await reasonOf(backend.copy!("a", "b", { writeId: "w" }))).toBe("NotFound")
      expect(await reasonOf(backend.move!("a", "b", { writeId: "w" }))).toBe("NotFound")
    })
    expect(readdirSync(folder)).toEqual([])
  }))

test("make() refuses a root that is a file, or is below one", () =>
  withFolder(async (folder) => {
    writeFileSync(`${folder}/file`, "")
    for (const root of [`${folder}/file`, `${folder}/file/below`]) {
      expect(await reasonOf(Effect.scoped(make({ root })))).toBe("Config")
    }
  }))

test("a root is found again by whatever path leads to it, and closed by its last user", () =>
  withFolder(async (folder) => {
    const before = openFiles()
    await withStore(`${folder}/root`, async (one) => {
      await save(one, "a")
      const during = openFiles()
      await withStore(`${folder}/./other/../root`, async (two) => {
        await Promise.all([save(one, "b"), save(two, "b"), save(one, "b"), save(two, "b")])
      })
      expect(openFiles()).toBeLessThanOrEqual(during + 1)
      await save(one, "c")
    })
    expect(openFiles()).toBe(before)
    expect(readdirSync(`${folder}/root/.holdfast/tmp`)).toEqual([])
    expect(readdirSync(`${folder}/root/.holdfast/lock`).filter((name) => name.startsWith("owner"))).toEqual([])
  }))

test("no call leaves a file open, a temporary file, or an empty folder", () =>
  withFreshStore(async (backend, root) => {
    await save(backend, "warm/up")
    await run(backend.remove("warm/up"))
    const before = openFiles()
    const shards = () => readdirSync(`${root}/.holdfast/lock`).length
    const locked = shards()
    for (let i = 0; i < 20; i++) {
      await save(backend, "deep/er/key", bytes(i, 1000))
      await run(backend.stat("deep/er/key"))
      await run(read(backend, "deep/er/key"))
      const { body } = await run(backend.get("deep/er/key"))
      await body.cancel()
      expect(await reasonOf(backend.get("deep/er/key", { offset: 5000 }))).toBe("RangeNotSatisfiable")
      expect(await reasonOf(backend.put("deep/er/key/x", small, putOptions(small)))).toBe("Conflict")
      expect(await reasonOf(backend.put("new/folder/x", small, putOptions(small, { ifMatch: "y" })))).toBe(
        "PreconditionFailed",
      )
      await run(backend.copy!("deep/er/key", "other/key", { writeId: `${i}` }))
      await run(backend.move!("other/key", "third/key", { writeId: `${i}` }))
      const upload = await run(backend.createUpload("up/load", { writeId: `${i}` }))
      await run(backend.putPart(upload, { number: 1, offset: 0, crc32: crc32(small) }, small))
      await run(backend.abortUpload(upload))
      await run(backend.list())
      await run(backend.removeMany(["deep/er/key", "third/key", "none"]))
    }
    // One connection for each shard that has been used by now.
    expect(openFiles() - before).toBe(shards() - locked)
    expect(filesIn(`${root}/.holdfast/tmp`)).toEqual([])
    expect(filesIn(`${root}/.holdfast/meta`)).toEqual([])
    expect(readdirSync(root)).toEqual([".holdfast"])
  }))

test("put() that is interrupted, at any moment, has either happened or left nothing", () =>
  withFreshStore(async (backend, root) => {
    await save(backend, "warm")
    const before = openFiles()
    const data = bytes(2, 300_000)
    for (let i = 0; i < 40; i++) {
      const fiber = Effect.runFork(backend.put(`k${i}`, data, putOptions(data)))
      await new Promise((resolve) => setTimeout(resolve, i / 10))
      await Effect.runPromise(Fiber.interrupt(fiber))
      const reason = await reasonOf(backend.stat(`k${i}`))
      expect(["NotFound", "succeeded"]).toContain(reason)
      expect(filesIn(`${root}/.holdfast/tmp`)).toEqual([])
      // Settled: nothing of it goes on in the background.
      expect(await reasonOf(backend.stat(`k${i}`))).toBe(reason)
    }
    expect(openFiles() - before).toBeLessThanOrEqual(readdirSync(`${root}/.holdfast/lock`).length)
  }))

test("get() reads the version it opened to its end, whatever becomes of the key", () =>
  withFreshStore(async (backend) => {
    const old = bytes(3, 3_000_000)
    await save(backend, "a", old)
    const open = await run(backend.get("a"))
    await save(backend, "a", small)
    const again = await run(backend.get("a"))
    await run(backend.remove("a"))
    expectBytes(await collect(open.body), old, "the replaced version")
    expectBytes(await collect(again.body), small, "the removed version")
  }))

test("get() pulls no more than it is asked for, and cancel() waits for the read under way", () =>
  withFreshStore(async (backend) => {
    await save(backend, "a", bytes(4, 2_000_000))
    const before = openFiles()
    const { body } = await run(backend.get("a"))
    const reader = body.getReader()
    const reading = reader.read()
    await reader.cancel()
    await reading
    expect(openFiles()).toBe(before)
  }))

test("fault 75: a file that is shortened while it is read is Truncated, not padded or ended", () =>
  withFreshStore(async (backend, root) => {
    // Longer than a chunk and the one that is read ahead.
    await save(backend, "a", bytes(5, 8_000_000))
    const { body } = await run(backend.get("a"))
    const reader = body.getReader()
    await reader.read()
    truncateSync(`${root}/a`, 500_000)
    let error: { reason?: string; transient?: boolean } = {}
    try {
      while (!(await reader.read()).done);
    } catch (caught) {
      error = caught as typeof error
    }
    expect(error.reason).toBe("Truncated")
    expect(error.transient).toBe(false)
  }))

test("a file that something else changed is Corrupt until it is saved again", () =>
  withFreshStore(async (backend, root) => {
    const { etag } = await save(backend, "a")
    writeFileSync(`${root}/a`, "changed by an editor")
    expect(await reasonOf(backend.get("a"))).toBe("Corrupt")
    expect(await reasonOf(backend.stat("a"))).toBe("Corrupt")
    expect(await reasonOf(backend.put("a", small, putOptions(small, { ifMatch: etag })))).toBe("PreconditionFailed")
    expect(await reasonOf(backend.move!("a", "b", { writeId: "w" }))).toBe("Corrupt")
    await save(backend, "a")
    expectBytes((await run(read(backend, "a"))).data, small, "a")
  }))

test("a damaged sidecar is Corrupt, never someone's metadata", () =>
  withFreshStore(async (backend, root) => {
    await save(backend, "a", small, { metadata: { author: "zoe" } })
    const [name] = filesIn(`${root}/.holdfast/meta`)
    const path = `${root}/.holdfast/meta/${name}`
    writeFileSync(path, readFileSync(path, "utf8").replace("zoe", "joe"))
    expect(await reasonOf(backend.stat("a"))).toBe("Corrupt")
    await save(backend, "a")
    expect(await reasonOf(backend.stat("a"))).toBe("succeeded")
  }))

test("codec, length and SHA-256 come back from put, uploads, copy and move, and from no other write", () =>
  withFolder(async (root) => {
    const facts = { codec: "gzip", length: 12_345, sha256: "cd".repeat(32) }
    const none = { codec: undefined, length: undefined, sha256: undefined }
    const whole = { size: small.length, crc32: crc32(small), length: facts.length, sha256: facts.sha256 }
    const saved = await withStore(root, async (backend) => {
      const infos = [await save(backend, "put", small, facts)]
      for (const resumable of [true, false]) {
        const head = { writeId: `w${resumable}`, codec: facts.codec, resumable }
        const upload = await run(backend.createUpload(`upload ${resumable}`, head))
        const part = await run(backend.putPart(upload, { number: 1, offset: 0, crc32: crc32(small) }, small))
        infos.push(await run(backend.completeUpload(upload, [part], whole)))
      }
      infos.push(await run(backend.copy!("put", "copy", { writeId: "c" })))
      await save(backend, "source", small, facts)
      infos.push(await run(backend.move!("source", "move", { writeId: "m" })))
      await save(backend, "over", small, facts)
      await save(backend, "over")
      return infos
    })
    await withStore(root, async (backend) => {
      for (const info of saved) {
        expect(info).toMatchObject(facts)
        expect(await run(backend.stat(info.key))).toEqual(info)
        expect((await run(read(backend, info.key))).info).toEqual(info)
      }
      expect(await run(backend.stat("over"))).toMatchObject(none)
    })
  }))

test("a foreign file loads, is listed, copied, moved, replaced and removed, but guards nothing", () =>
  withFolder(async (root) => {
    mkdirSync(`${root}/sub`)
    writeFileSync(`${root}/sub/notes.txt`, small)
    await withStore(root, async (backend) => {
      const { info, data } = await run(read(backend, "sub/notes.txt"))
      expectBytes(data, small, "the foreign file")
      expect(info.etag).toMatch(/^W\//)
      expect(info.writeId).toBeUndefined()
      expect(info.crc32).toBeUndefined()
      expect(readdirSync(root)).toEqual(["sub"])
      const conditions = [{ ifMatch: info.etag }, { ifMatch: "strong" }] as const
      for (const [index, reason] of ["InvalidInput", "PreconditionFailed"].entries()) {
        expect(await reasonOf(backend.put("sub/notes.txt", small, putOptions(small, conditions[index])))).toBe(reason)
        expect(await reasonOf(backend.get("sub/notes.txt", conditions[index]))).toBe(reason)
        expect(await reasonOf(backend.remove("sub/notes.txt", conditions[index]))).toBe(reason)
      }
      expect(await reasonOf(backend.put("sub/notes.txt", small, putOptions(small, { ifNoneMatch: "*" })))).toBe(
        "AlreadyExists",
      )
      expect((await run(backend.copy!("sub/notes.txt", "copy", { writeId: "c" }))).crc32).toBe(crc32(small))
      const moved = await run(backend.move!("sub/notes.txt", "moved", { writeId: "m" }))
      expect([moved.etag, moved.crc32]).toEqual(["m", crc32(small)])
      expect((await run(backend.list())).objects.map(({ key }) => key)).toEqual(["copy", "moved"])
      writeFileSync(`${root}/other`, "x")
      await save(backend, "other")
      expectBytes((await run(read(backend, "other"))).data, small, "other")
      writeFileSync(`${root}/third`, "x")
      await run(backend.remove("third"))
      expect(existsSync(`${root}/third`)).toBe(false)
    })
  }))

test("fault 83: a rewrite of the same size in the same instant has another etag, and is not taken for the first", () =>
  withFreshStore(async (backend, root) => {
    const [one, two] = [bytes(6, 1000), bytes(7, 1000)]
    const first = await save(backend, "a", one)
    const { mtime, atime } = statSync(`${root}/a`)
    const second = await save(backend, "a", two)
    utimesSync(`${root}/a`, atime, mtime)
    expect(second.etag).not.toBe(first.etag)
    const { info, data } = await run(read(backend, "a"))
    expect(info.etag).toBe(second.etag)
    expectBytes(data, two, "a")
    expect(await reasonOf(backend.get("a", { ifMatch: first.etag }))).toBe("PreconditionFailed")
  }))

test("fault 82: keys that look like our own names are stored, listed and removed like others", () =>
  withFreshStore(async (backend, root) => {
    const keys = [".holdfast", "tmp/1", "meta/00/x.json", "a.tmp", ".holdfast.", "lock/1", "%~", "%_", "x%~00", ".nfs1"]
    for (const key of keys) await save(backend, key)
    const all = [...keys, ".holdfast2/format.json"].sort()
    await save(backend, ".holdfast2/format.json")
    expect((await run(backend.list())).objects.map(({ key }) => key)).toEqual(all)
    for (const key of all) expectBytes((await run(read(backend, key))).data, small, key)
    await run(backend.removeMany(all))
    expect(readdirSync(root)).toEqual([".holdfast"])
    // As a folder it is in nobody's way either.
    await save(backend, ".holdfast/format.json")
    expect(JSON.parse(readFileSync(`${root}/.holdfast/format.json`, "utf8")).version).toBe(1)
  }))

test("fault 77: the longest keys fit below the longest root, and a longer root is refused at once", () =>
  withFolder(async (folder) => {
    const root = (folder + `/${"r".repeat(100)}`.repeat(3) + "/").padEnd(440, "r")
    await withStore(root, async (backend) => {
      // Each grows threefold when it is escaped.
      for (const key of ["/".repeat(1024), "%".repeat(80) + "/%".repeat(472), "k/".repeat(511) + "k"]) {
        await save(backend, key)
        expectBytes((await run(read(backend, key))).data, small, key)
        expect((await run(backend.list())).objects.map((object) => object.key)).toEqual([key])
        await run(backend.remove(key))
      }
    })
    expect(await reasonOf(Effect.scoped(make({ root: `${root}r` })))).toBe("Config")
  }))

test("a newer format is Unsupported, and a damaged one Corrupt, before anything is touched", () =>
  withFolder(async (root) => {
    mkdirSync(`${root}/.holdfast`)
    for (const [text, reason] of [['{"version":2}', "Unsupported"], ["{", "Corrupt"]] as const) {
      writeFileSync(`${root}/.holdfast/format.json`, text)
      await withStore(root, async (backend) => {
        expect(await reasonOf(backend.put("a", small, putOptions(small)))).toBe(reason)
        expect(await reasonOf(backend.get("a"))).toBe(reason)
        expect(await reasonOf(backend.list())).toBe(reason)
      })
      expect(filesIn(root)).toEqual([".holdfast/format.json"])
    }
  }))

test("a root that is removed while it is open is made again by the next write", () =>
  withFreshStore(async (backend, root) => {
    await save(backend, "a")
    rmSync(root, { recursive: true })
    expect(await reasonOf(backend.get("a"))).toBe("NotFound")
    await Promise.all([save(backend, "b"), save(backend, "c")])
    expect((await run(backend.list())).objects.map(({ key }) => key)).toEqual(["b", "c"])
  }))

test("put() to an empty folder replaces it; one with an object in it is a Conflict", () =>
  withFreshStore(async (backend, root) => {
    mkdirSync(`${root}/a/b/c`, { recursive: true })
    await save(backend, "a")
    expectBytes((await run(read(backend, "a"))).data, small, "a")
    mkdirSync(`${root}/d/e`, { recursive: true })
    writeFileSync(`${root}/d/e/f`, "")
    const error = await run(backend.put("d", small, putOptions(small))).catch((error) => error)
    expect([error.reason, error.transient, error.ambiguous]).toEqual(["Conflict", false, false])
    expect(filesIn(`${root}/d`)).toEqual(["e/f"])
  }))

test("a save and a removal of its only neighbour at once lose nothing", () =>
  withFreshStore(async (backend) => {
    for (let i = 0; i < 60; i++) {
      await save(backend, "x/y/old")
      await Promise.all([run(backend.remove("x/y/old")), save(backend, "x/y/new", bytes(i, 50))])
      expectBytes((await run(read(backend, "x/y/new"))).data, bytes(i, 50), "x/y/new")
      await run(backend.remove("x/y/new"))
    }
  }))

test("copy() of bytes that rotted is Corrupt and leaves the target", () =>
  withFreshStore(async (backend, root) => {
    await save(backend, "a")
    const { atime, mtime } = statSync(`${root}/a`)
    const rotten = Uint8Array.from(small)
    rotten[50]! ^= 1
    writeFileSync(`${root}/a`, rotten)
    utimesSync(`${root}/a`, atime, mtime)
    const error = await run(backend.copy!("a", "b", { writeId: "w" })).catch((error) => error)
    expect([error.reason, error.key]).toEqual(["Corrupt", "a"])
    expect(await reasonOf(backend.stat("b"))).toBe("NotFound")
  }))

test("an orphan sidecar, as a removal that died leaves it, is in nobody's way", () =>
  withFreshStore(async (backend, root) => {
    await save(backend, "a")
    unlinkSync(`${root}/a`)
    expect(await reasonOf(backend.get("a"))).toBe("NotFound")
    expect((await run(backend.list())).objects).toEqual([])
    expect(await reasonOf(backend.put("a", small, putOptions(small, { ifNoneMatch: "*" })))).toBe("succeeded")
    unlinkSync(`${root}/a`)
    await run(backend.remove("a"))
    expect(filesIn(`${root}/.holdfast/meta`)).toEqual([])
  }))

test("a commit that died before its rename leaves the old object, and one after it the new", () =>
  withFreshStore(async (backend, root) => {
    const [one, two] = [bytes(8, 500), bytes(9, 600)]
    const first = await save(backend, "a", one)
    renameSync(`${root}/a`, `${root}/kept`)
    // The sidecar of a commit over the first, which never came to its rename.
    renameSync(`${root}/kept`, `${root}/a`)
    const second = await save(backend, "b", two)
    const sidecars = filesIn(`${root}/.holdfast/meta`).map((name) => `${root}/.holdfast/meta/${name}`)
    const texts = sidecars.map((path) => JSON.parse(readFileSync(path, "utf8")))
    const next = texts.find(({ key }) => key === "b").next
    const current = texts.find(({ key }) => key === "a").next
    const { formatSidecar } = await import("./sidecar.ts")
    const path = sidecars[texts.findIndex(({ key }) => key === "a")]!
    writeFileSync(path, formatSidecar({ key: "a", current, next }))
    expect((await run(read(backend, "a"))).info.etag).toBe(first.etag)
    renameSync(`${root}/b`, `${root}/a`)
    const { info, data } = await run(read(backend, "a"))
    expect(info.etag).toBe(second.etag)
    expectBytes(data, two, "a")
  }))

test("an upload whose parts do not cover it, or that is unknown, is refused and can still be completed", () =>
  withFreshStore(async (backend) => {
    const upload = await run(backend.createUpload("a", { writeId: "w" }))
    const part = (number: number, offset: number, data: Uint8Array) =>
      run(backend.putPart(upload, { number, offset, crc32: crc32(data) }, data))
    const [one, two] = [await part(1, 0, bytes(1, 100)), await part(2, 150, bytes(2, 100))]
    const whole = { size: 200, crc32: crc32(Uint8Array.from([...bytes(1, 100), ...bytes(2, 100)])) }
    expect(await reasonOf(backend.completeUpload(upload, [one, two], whole))).toBe("InvalidInput")
    expect(await reasonOf(backend.completeUpload(upload, [one], whole))).toBe("InvalidInput")
    const moved = await part(2, 100, bytes(2, 100))
    expect(await reasonOf(backend.completeUpload({ id: "other", key: "a" }, [one, moved], whole))).toBe("NotFound")
    // What part 2 left behind at its first place is cut off.
    const info = await run(backend.completeUpload(upload, [one, moved], whole))
    expect([info.size, info.writeId]).toEqual([200, "w"])
    expect((await run(read(backend, "a"))).data.length).toBe(200)
  }))

test("closing the store ends its uploads and removes what they had", () =>
  withFolder(async (root) => {
    await withStore(root, async (backend) => {
      const upload = await run(backend.createUpload("a", { writeId: "w" }))
      await run(backend.putPart(upload, { number: 1, offset: 0, crc32: crc32(small) }, small))
      expect(filesIn(`${root}/.holdfast/tmp`).length).toBe(1)
    })
    expect(readdirSync(`${root}/.holdfast/tmp`)).toEqual([])
  }))
