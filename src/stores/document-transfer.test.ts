import { expect, test } from "bun:test"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Disk from "../backends/disk/mod.ts"
import { StoreError } from "../error.ts"
import { openBackend } from "../store.ts"
import { fail, faulty } from "../testing/faulty.ts"
import {
  allVerify,
  attachments,
  bytesOf,
  dying,
  header,
  keysOf,
  makeMemory,
  makeParties,
  openOn,
  reasonOf,
  streamOf,
} from "./document-helpers-testing.ts"
import { type Document, DocumentStore } from "./documents.ts"

const call = promisify(execFile)

test("row 227: a move of documents that dies between any of its writes is finished by doing it again", async () => {
  await using from = await openOn(await makeMemory())
  const parties = await makeParties()
  const source = new DocumentStore(from, parties)
  await source.agents.create({ name: "scribe" })
  const first = await source.create({ n: 1 }, { attachments })
  await source.update(first.jacsId, (current) => ({ ...current, n: 2 }))
  await source.remove((await source.create({ n: 3 })).jacsId)
  const before = await Array.fromAsync(from.list())
  for (const resign of [false, true]) {
    for (let writes = 0;; writes++) {
      const backend = await makeMemory()
      await using mortal = await openOn(dying(backend, writes))
      const report = await new DocumentStore(mortal, parties).copyFrom(source, { resign }).catch(() => undefined)
      await using store = await openOn(backend)
      const target = new DocumentStore(store, parties)
      await allVerify(target)
      const again = await target.copyFrom(source, { resign })
      expect(again.failed).toEqual([])
      expect(await keysOf(store)).toEqual(await keysOf(from))
      await allVerify(target)
      if (report === undefined) continue
      // Two files, one removed document, an agent, two versions.
      expect(writes).toBe(6)
      break
    }
  }
  expect(await Array.fromAsync(from.list())).toEqual(before)
})

test("a move leaves out what is damaged and says so; another document in its place is never replaced", async () => {
  await using from = await openOn(await makeMemory())
  await using to = await openOn(await makeMemory())
  const [source, target] = [new DocumentStore(from), new DocumentStore(to)]
  const made = (await source.createMany([{ n: 1 }, { n: 2 }, { n: 3 }])).map(({ document }) => document!)
  const key = (document: Document) => `documents/${document.jacsId}/${document.jacsVersion}.json`
  await from.save(key(made[0]!), "damaged", { compression: "none" })
  const { jacsSha256: _, ...rest } = made[1]!
  const other = await target.create({ ...rest, n: 7 })
  await from.save("public_keys/x.pem", "source's", { compression: "none" })
  await to.save("public_keys/x.pem", "target's own", { compression: "none" })
  for (const resign of [false, true]) {
    const report = await target.copyFrom(source, { resign })
    expect(Object.fromEntries(report.failed.map((one) => [one.key, one.error.reason]))).toEqual({
      [key(made[0]!)]: "Corrupt",
      [key(made[1]!)]: "AlreadyExists",
      "public_keys/x.pem": "AlreadyExists",
    })
  }
  expect(await target.get(`${other.jacsId}:${other.jacsVersion}`)).toEqual(other)
  expect((await target.get(`${made[2]!.jacsId}:${made[2]!.jacsVersion}`))["n"]).toBe(3)
})

test("what lies in the place of an archived document is compared by its bytes, not by its length", async () => {
  await using from = await openOn(await makeMemory())
  await using to = await openOn(await makeMemory())
  const key = "archive/documents/a/b.json"
  await from.save(key, "one")
  await to.save(key, "two")
  for (const again of [false, true]) {
    const report = again
      ? await new DocumentStore(to).importTar(new DocumentStore(from).exportTar())
      : await new DocumentStore(to).copyFrom(new DocumentStore(from))
    expect(report.failed.map(({ key, error }) => [key, error.reason])).toEqual([[key, "AlreadyExists"]])
    expect(await (await to.load(key)).text()).toBe("two")
  }
  await to.save(key, "one")
  expect((await new DocumentStore(to).copyFrom(new DocumentStore(from))).others).toEqual({ copied: 0, present: 1 })
})

test("an archive that is cut or damaged fails; what came before is stored, and the whole one finishes it", async () => {
  await using from = await openOn(await makeMemory())
  const source = new DocumentStore(from)
  const made = await source.createMany(Array.from({ length: 30 }, (_, n) => ({ n, text: crypto.randomUUID() })))
  const archive = new Uint8Array(await bytesOf(source.exportTar()))
  await using to = await openOn(await makeMemory())
  const target = new DocumentStore(to)
  const flipped = archive.slice()
  flipped[archive.length >> 1]! ^= 1
  for (const bad of [archive.slice(0, archive.length >> 1), archive.slice(0, -8), flipped, new Uint8Array([1, 2, 3])]) {
    expect(await reasonOf(target.importTar(streamOf(bad)))).toBe("Corrupt")
    await allVerify(target)
  }
  const report = await target.importTar(streamOf(archive))
  expect(report.documents.copied + report.documents.present).toBe(made.length)
  expect(await keysOf(to)).toEqual(await keysOf(from))
})

test("members of an archive that are not what their names say are told and not stored", async () => {
  const { packTar } = await import("modern-tar")
  await using store = await openOn(await makeMemory())
  const documents = new DocumentStore(store)
  const good = JSON.stringify(await documents.create({ n: 1 }, { save: false }))
  const { jacsId, jacsVersion } = JSON.parse(good) as Document
  const member = (name: string, body: string) => ({ header: { name, size: body.length }, body })
  const tar = await packTar([
    member(`./data/documents/${jacsId}/${jacsVersion}.json`, good),
    member(`./data/documents/${crypto.randomUUID()}/${jacsVersion}.json`, good),
    member(`data/documents/${jacsId}/0.json`, "{}"),
    member(`files/${"0".repeat(64)}`, "other bytes"),
    member("documents/../../etc/passwd", "root"),
    member(".holdfast/format.json", "{}"),
    member("readme.txt", "hello"),
    { header: { name: "documents/link", size: 0, type: "symlink", linkname: "/etc/passwd" } },
  ])
  const packed = streamOf(tar)
    .pipeThrough(new CompressionStream("gzip") as ReadableWritablePair<Uint8Array, Uint8Array>)
  const report = await documents.importTar(packed)
  expect(report.documents).toEqual({ copied: 1, present: 0 })
  expect(report.failed.map(({ error }) => error.reason).toSorted()).toEqual([
    "Corrupt",
    "Corrupt",
    "Corrupt",
    "InvalidKey",
  ])
  expect(report.ignored).toBe(2)
  expect(await keysOf(store)).toEqual([`documents/${jacsId}/${jacsVersion}.json`])
})

test("rows 38, 228, 229: tar and rsync of a folder make stores that verify, and tar unpacks an export", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-documents-"))
  try {
    const data = join(folder, "jacs_data")
    await using disk = await openBackend(Disk.make({ root: data }))
    const source = new DocumentStore(disk)
    const id = "x".repeat(200)
    const moved = { ...header, jacsId: id }
    await source.create(moved, { attachments })
    await source.agents.create({ name: "scribe" })
    await source.update(id, { n: 1 })
    await call("tar", ["-czf", join(folder, "backup.tar.gz"), "-C", folder, "./jacs_data"])
    const packed = new Uint8Array(await readFile(join(folder, "backup.tar.gz")))
    await using imported = await openOn(await makeMemory())
    const report = await new DocumentStore(imported).importTar(streamOf(packed))
    expect([report.documents.copied, report.agents.copied, report.files.copied, report.failed]).toEqual([2, 1, 2, []])
    expect(await keysOf(imported)).toEqual(await keysOf(disk))

    // The same archive unpacked by tar, and a copy by rsync, are stores.
    const unpacked = join(folder, "new", "location")
    await mkdir(unpacked, { recursive: true })
    await call("tar", ["-xzf", join(folder, "backup.tar.gz"), "-C", unpacked])
    await mkdir(join(folder, "copy"))
    // What rsync -a does, where there is no rsync.
    await call("rsync", ["-a", `${data}/`, join(folder, "copy")])
      .catch(() => call("cp", ["-a", `${data}/.`, join(folder, "copy")]))
    for (const entry of await readdir(join(folder, "copy"), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const path = join(entry.parentPath, entry.name)
      expect(path).not.toMatch(/\.holdfast\/(?:tmp|uploads)\//)
      expect(await readFile(path, "latin1")).not.toContain(folder)
    }
    // An export has no temporary files and no absolute paths in it, and is opened by tar.
    await writeFile(join(folder, "export.tar.gz"), new Uint8Array(await bytesOf(source.exportTar())))
    await mkdir(join(folder, "exported"))
    await call("tar", ["-xzf", join(folder, "export.tar.gz"), "-C", join(folder, "exported")])
    const names = await readdir(join(folder, "exported"), { recursive: true })
    expect(names.filter((name) => !/^jacs_data(\/(documents|agents|files)|$)/.test(name))).toEqual([])
    for (const root of [join(unpacked, "jacs_data"), join(folder, "copy"), join(folder, "exported", "jacs_data")]) {
      await using copy = await openBackend(Disk.make({ root }))
      const documents = new DocumentStore(copy)
      await allVerify(documents)
      expect((await documents.getLatest(id))["n"]).toBe(1)
      expect((await Array.fromAsync(documents.list())).length).toBe(2)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test("an export whose store fails ends with that failure, and one that is cancelled reads no more", async () => {
  const memory = await makeMemory()
  await using store = await openOn(memory)
  const documents = new DocumentStore(store)
  await documents.createMany(Array.from({ length: 5 }, (_, n) => ({ n })))
  const error = new StoreError({ reason: "Forbidden", detail: "no" })
  await using broken = await openOn(faulty(memory, { rules: [{ on: "get", nth: 3, fault: fail(error) }] }).backend)
  expect(await reasonOf(bytesOf(new DocumentStore(broken).exportTar()))).toBe("Forbidden")
  await documents.exportTar().cancel()
})
