// Uploads that another process can go on with; `uploads-crash.test.ts` kills processes in the middle of them.
import { expect, test } from "bun:test"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import type { Backend, Part, Upload } from "../../backend.ts"
import { combineCrc32, crc32 } from "../../streams/crc32.ts"
import { bytes, expectBytes, read } from "../conformance.ts"
import { filesIn, reasonOf, run, runtimes, startWorker, withFolder, withFreshStore, withStore } from "./testing.ts"

const size = 1000
const begin = (backend: Backend, key = "a", more = {}): Promise<Upload> =>
  run(backend.createUpload(key, { writeId: `write of ${key}`, resumable: true, ...more }))
const store = (backend: Backend, upload: Upload, number: number, data = bytes(number, size), offset?: number) =>
  run(backend.putPart(upload, { number, offset: offset ?? (number - 1) * size, crc32: crc32(data) }, data))
const listed = async (backend: Backend, prefix?: string): Promise<ReadonlyArray<string>> =>
  (await run(backend.listUploads!({ prefix }))).uploads.map(({ key }) => key)
const whole = (parts: ReadonlyArray<Part>) => ({
  size: parts.reduce((sum, part) => sum + part.size, 0),
  crc32: parts.reduce((crc, part) => combineCrc32(crc, part.crc32!, part.size), 0),
})
const complete = (backend: Backend, upload: Upload, parts: ReadonlyArray<Part>, more = {}) =>
  backend.completeUpload(upload, parts, { ...whole(parts), ...more })
const uploadsIn = (root: string) => readdirSync(`${root}/.holdfast/uploads`)

for (const first of runtimes) {
  for (const second of runtimes) {
    test(
      `an upload begun in ${first} and gone on with in ${second} is completed here`,
      () =>
        withFolder(async (root) => {
          const { lines } = await startWorker(first, { does: "part", root, key: "a/b", number: 2 }).end()
          const upload = { id: lines[0]!, key: "a/b" }
          const job = { does: "part", root, key: "a/b", number: 1, id: upload.id } as const
          expect((await startWorker(second, job).end()).lines).toEqual([upload.id, "won"])
          await withStore(root, async (backend) => {
            const [entry] = (await run(backend.listUploads!())).uploads
            expect(entry).toEqual({ ...upload, started: entry!.started })
            const parts = await run(backend.listParts!(upload))
            const data = [1, 2].map((number) => new Uint8Array(100_000).fill(number))
            expect(parts).toEqual(data.map((piece, i) => ({
              number: i + 1,
              offset: i * 100_000,
              size: 100_000,
              crc32: crc32(piece),
            })))
            const info = await run(complete(backend, upload, parts, { sha256: "ab", length: 7 }))
            expect(info).toEqual({ ...await run(backend.stat("a/b")) })
            expect(info).toMatchObject({ contentType: "text/plain", metadata: { by: first }, codec: "zstd" })
            expect(info).toMatchObject({ sha256: "ab", length: 7, writeId: "from a worker", size: 200_000 })
            expectBytes((await run(read(backend, "a/b"))).data, Buffer.concat(data), "a/b")
          })
          expect(uploadsIn(root)).toEqual([])
        }),
      60_000,
    )
  }
}

test("a resumable upload outlives its store; one that is not is gone, and is never listed", () =>
  withFolder(async (root) => {
    const [kept, lost] = await withStore(root, async (backend) => {
      const uploads = [await begin(backend), await begin(backend, "b", { resumable: false })] as const
      for (const upload of uploads) {
        await store(backend, upload, 1)
        expect((await run(backend.listParts!(upload))).map(({ number }) => number)).toEqual([1])
      }
      expect(await listed(backend)).toEqual(["a"])
      return uploads
    })
    await withStore(root, async (backend) => {
      expect(await listed(backend)).toEqual(["a"])
      expect(await reasonOf(backend.listParts!(lost))).toBe("NotFound")
      expect((await run(backend.listParts!(kept))).length).toBe(1)
      expect((await run(backend.list())).objects).toEqual([])
    })
  }))

test("listUploads() goes by key, then by start, and by prefix", () =>
  withFreshStore(async (backend) => {
    expect(await listed(backend)).toEqual([])
    const second = await begin(backend, "b/\u{1f600}")
    const ids: Array<string> = []
    for (const key of ["b/\uff5e", "b", "a", "b/"]) await begin(backend, key)
    for (let i = 0; i < 5; i++) {
      ids.push((await begin(backend, "c")).id)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    expect(await listed(backend)).toEqual(["a", "b", "b/", "b/\uff5e", "b/\u{1f600}", ...Array(5).fill("c")])
    expect(await listed(backend, "b/")).toEqual(["b/", "b/\uff5e", "b/\u{1f600}"])
    expect((await run(backend.listUploads!({ prefix: "c" }))).uploads.map(({ id }) => id)).toEqual(ids)
    await run(backend.abortUpload(second))
    expect(await listed(backend, "b/")).toEqual(["b/", "b/\uff5e"])
  }))

test("listUploads() hands out 1,000 at a time, and goes on behind one that is over by then", () =>
  withFreshStore(async (backend, root) => {
    const { id } = await begin(backend, "k")
    for (let i = 0; i < 1100; i++) {
      const copy = `${root}/.holdfast/uploads/${crypto.randomUUID()}`
      mkdirSync(copy)
      for (const name of ["data", "head.json"]) {
        writeFileSync(`${copy}/${name}`, readFileSync(`${root}/.holdfast/uploads/${id}/${name}`))
      }
    }
    const first = await run(backend.listUploads!())
    expect(first.uploads.length).toBe(1000)
    await run(backend.abortUpload(first.uploads.at(-1)!))
    const second = await run(backend.listUploads!({ cursor: first.cursor }))
    expect(second.uploads.length).toBe(101)
    expect(second.cursor).toBeUndefined()
    expect(new Set([...first.uploads, ...second.uploads].map((upload) => upload.id)).size).toBe(1101)
    for (const cursor of ["", "k", `>x ${id} k`, `>1 ../.. k`]) {
      expect(await reasonOf(backend.listUploads!({ cursor }))).toBe("InvalidInput")
    }
    expect(await reasonOf(backend.listUploads!({ cursor: first.cursor, prefix: "other" }))).toBe("InvalidInput")
  }))

test("an id from outside is checked before it becomes a path, and asking makes nothing", () =>
  withFreshStore(async (backend, root) => {
    const unknown = "00000000-0000-4000-8000-000000000000"
    const check = async (upload: Upload): Promise<void> => {
      expect(await reasonOf(backend.listParts!(upload))).toBe("NotFound")
      expect(await reasonOf(complete(backend, upload, []))).toBe("NotFound")
      const part = backend.putPart(upload, { number: 1, offset: 0, crc32: 0 }, new Uint8Array(0))
      expect(await reasonOf(part)).toBe("NotFound")
      expect(await reasonOf(backend.abortUpload(upload))).toBe("succeeded")
    }
    await check({ id: unknown, key: "a" })
    expect(existsSync(root)).toBe(false)
    const live = await begin(backend)
    await store(backend, live, 1)
    const outside = `${root}/${"x".repeat(36)}`
    renameSync(`${root}/.holdfast/uploads/${live.id}`, outside)
    const ids = [unknown, "", ".", "..", `../../${"x".repeat(36)}`, `${"-".repeat(35)}/`, `${unknown}\n`, `${unknown}/`]
    for (const id of ids) await check({ id, key: "a" })
    renameSync(outside, `${root}/.holdfast/uploads/${live.id}`)
    // Nor does an id lead to another key's upload.
    await check({ id: live.id, key: "b" })
    expect((await run(backend.listParts!(live))).length).toBe(1)
  }))

test("a part that is stored again is there whole or not at all; what it writes over is not there any more", () =>
  withFreshStore(async (backend, root) => {
    const upload = await begin(backend)
    const parts = async () => (await run(backend.listParts!(upload))).map(({ number }) => number)
    for (const number of [3, 1, 2]) await store(backend, upload, number)
    expect(await parts()).toEqual([1, 2, 3])
    const again = await store(backend, upload, 2, bytes(20, size))
    expect((await run(backend.listParts!(upload)))[1]).toEqual(again)
    // Over the end of 1 and the start of 2.
    await store(backend, upload, 7, bytes(7, size), size / 2)
    expect(await parts()).toEqual([3, 7])
    const wrong = backend.putPart(upload, { number: 3, offset: 0, crc32: 1 }, bytes(3, size))
    expect(await reasonOf(wrong)).toBe("Corrupt")
    expect(await parts()).toEqual([3, 7])
    const data = readFileSync(`${root}/.holdfast/uploads/${upload.id}/data`)
    for (const { offset, crc32: crc } of await run(backend.listParts!(upload))) {
      expect(crc32(data.subarray(offset, offset + size))).toBe(crc!)
    }
  }))

test("completeUpload() that is refused leaves the upload; what it has cut off is not there any more", () =>
  withFreshStore(async (backend) => {
    for (const resumable of [true, false]) {
      const upload = await begin(backend, "a", { resumable })
      const [one, two, three] = [1, 2, 3].map((number) => store(backend, upload, number))
      const parts = [await one!, await two!, await three!]
      expect(await reasonOf(complete(backend, upload, [parts[0]!, parts[2]!]))).toBe("InvalidInput")
      expect(await reasonOf(complete(backend, upload, parts, { crc32: 5 }))).toBe("Corrupt")
      expect(await run(backend.listParts!(upload))).toEqual(parts)
      expect(await reasonOf(complete(backend, upload, parts.slice(0, 2), { ifMatch: "x" }))).toBe("PreconditionFailed")
      expect(await run(backend.listParts!(upload))).toEqual(parts.slice(0, 2))
      expect(await reasonOf(complete(backend, upload, parts))).toBe("InvalidInput")
      await store(backend, upload, 3)
      await run(complete(backend, upload, parts, { ifNoneMatch: "*" }))
      const data = Buffer.concat([1, 2, 3].map((number) => bytes(number, size)))
      expectBytes((await run(read(backend, "a"))).data, data, "a")
      await run(backend.remove("a"))
    }
  }))

test("an object's time is that of its completion, not of its last part", () =>
  withFreshStore(async (backend, root) => {
    const upload = await begin(backend)
    const part = await store(backend, upload, 1)
    utimesSync(`${root}/.holdfast/uploads/${upload.id}/data`, 1000, 1000)
    const before = Date.now() - 2000
    const { modified } = await run(complete(backend, upload, [part]))
    expect(modified.getTime()).toBeGreaterThan(before)
    expect((await run(backend.stat("a"))).modified).toEqual(modified)
  }))

test("an upload that is over is unknown, and completing it again does not touch what came after", () =>
  withFreshStore(async (backend, root) => {
    const upload = await begin(backend)
    const part = await store(backend, upload, 1)
    const kept = `${root}/kept`
    mkdirSync(kept)
    for (const name of ["parts", "head.json"]) {
      writeFileSync(`${kept}/${name}`, readFileSync(`${root}/.holdfast/uploads/${upload.id}/${name}`))
    }
    await run(complete(backend, upload, [part]))
    expect(uploadsIn(root)).toEqual([])
    const later = bytes(9, 50)
    await run(backend.put("a", later, { writeId: "later", crc32: crc32(later) }))
    // As a process leaves it that dies between its rename and the removal of the folder.
    renameSync(kept, `${root}/.holdfast/uploads/${upload.id}`)
    expect(await listed(backend)).toEqual([])
    expect(await reasonOf(complete(backend, upload, [part]))).toBe("NotFound")
    expect(await reasonOf(backend.listParts!(upload))).toBe("NotFound")
    expect((await run(backend.stat("a"))).writeId).toBe("later")
    await run(backend.abortUpload(upload))
    expect(uploadsIn(root)).toEqual([])
    expectBytes((await run(read(backend, "a"))).data, later, "a")
  }))

test("completion, abortion and parts of one upload at once: one of them ends it, and it is whole or gone", () =>
  withFreshStore(async (backend, root) => {
    const outcomes = new Set<string>()
    for (let i = 0; i < 40; i++) {
      const upload = await begin(backend, `k${i}`)
      const part = await store(backend, upload, 1)
      const calls = [
        complete(backend, upload, [part]),
        complete(backend, upload, [part]),
        backend.putPart(upload, { number: 1, offset: 0, crc32: crc32(bytes(1, size)) }, bytes(1, size)),
        ...(i % 2 ? [backend.abortUpload(upload)] : []),
      ]
      // Another one begins each time, and has the lock first.
      const order = calls.map((_, at) => (at + i) % calls.length)
      const reasons = await Promise.all(order.map((at) => reasonOf(calls[at]!)))
      const [one, two] = [reasons[order.indexOf(0)], reasons[order.indexOf(1)]]
      const object = await reasonOf(backend.stat(upload.key))
      const won = [one, two].filter((reason) => reason === "succeeded").length
      expect(won).toBe(object === "succeeded" ? 1 : 0)
      for (const reason of reasons) expect(["succeeded", "NotFound"]).toContain(reason)
      if (won === 1) expectBytes((await run(read(backend, upload.key))).data, bytes(1, size), upload.key)
      else expect(i % 2).toBe(1)
      outcomes.add(`${object} ${reasons[order.indexOf(2)]}`)
    }
    expect(outcomes.size).toBeGreaterThan(1)
    expect(uploadsIn(root)).toEqual([])
    expect(await listed(backend)).toEqual([])
  }))

test(
  "fault 73: 4 processes store the same parts at once, and each part is one writer's, whole",
  () =>
    withFolder(async (root) => {
      await withStore(root, async (backend) => {
        const upload = await begin(backend)
        const workers = [0, 1, 2, 3].map((index) =>
          startWorker(runtimes[index % 2]!, { does: "parts", root, key: "a", id: upload.id, seed: index, times: 30 })
        )
        for (const worker of workers) expect((await worker.end()).code).toBe(0)
        const parts = await run(backend.listParts!(upload))
        expect(parts.length).toBe(8)
        await run(complete(backend, upload, parts))
        const { data } = await run(read(backend, "a"))
        for (const { offset, size, crc32: crc } of parts) expect(crc32(data.subarray(offset, offset + size))).toBe(crc!)
      })
    }),
  60_000,
)

test("a damaged upload is not listed and cannot be gone on with, but aborted", () =>
  withFreshStore(async (backend, root) => {
    const damages: ReadonlyArray<(folder: string) => void> = [
      (folder) =>
        writeFileSync(`${folder}/head.json`, readFileSync(`${folder}/head.json`, "utf8").replace('"a"', '"b"')),
      (folder) => truncateSync(`${folder}/head.json`, 0),
      (folder) => rmSync(`${folder}/head.json`),
      (folder) => rmSync(`${folder}/data`),
    ]
    for (const damage of damages) {
      const upload = await begin(backend)
      const part = await store(backend, upload, 1)
      damage(`${root}/.holdfast/uploads/${upload.id}`)
      expect(await listed(backend)).toEqual([])
      expect(await reasonOf(backend.listParts!(upload))).toBe("NotFound")
      expect(await reasonOf(complete(backend, upload, [part]))).toBe("NotFound")
      await run(backend.abortUpload(upload))
      expect(uploadsIn(root)).toEqual([])
    }
    writeFileSync(`${root}/.holdfast/uploads/notes.txt`, "not ours")
    writeFileSync(`${root}/.holdfast/uploads/${crypto.randomUUID()}`, "not a folder")
    expect(await listed(backend)).toEqual([])
  }))

test("fault 78: links among an upload's folders and files lead nowhere", () =>
  withFolder(async (folder) => {
    const root = `${folder}/root`
    const outside = `${folder}/outside`
    await withStore(root, async (backend) => {
      const upload = await begin(backend)
      const part = await store(backend, upload, 1)
      const own = `${root}/.holdfast/uploads/${upload.id}`
      const calls = () => [
        backend.putPart(upload, { number: 1, offset: 0, crc32: crc32(bytes(2, size)) }, bytes(2, size)),
        complete(backend, upload, [part]),
      ]
      for (const name of ["data", "parts"]) {
        renameSync(`${own}/${name}`, outside)
        symlinkSync(outside, `${own}/${name}`)
        const before = readFileSync(outside)
        for (const call of calls()) expect(await reasonOf(call)).toBe("Forbidden")
        expect(readFileSync(outside).equals(before)).toBe(true)
        rmSync(`${own}/${name}`)
        renameSync(outside, `${own}/${name}`)
      }
      renameSync(own, outside)
      symlinkSync(outside, own)
      for (const call of [...calls(), backend.listParts!(upload), backend.abortUpload(upload)]) {
        expect(await reasonOf(call)).toBe("Forbidden")
      }
      expect(await listed(backend)).toEqual([])
      expect(filesIn(outside)).toEqual(["data", "head.json", "parts"])
      rmSync(own)
      renameSync(outside, own)
      await run(complete(backend, upload, [part]))
    })
  }))
