import { expect, test } from "bun:test"
import { existsSync, mkdirSync, readdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs"
import { crc32 } from "../../streams/crc32.ts"
import { bytes, expectBytes, putOptions, read } from "../conformance.ts"
import { acquire, release, type Root } from "./root.ts"
import { sweep } from "./sweep.ts"
import { filesIn, reasonOf, run, startWorker, withFolder, withFreshStore, withStore } from "./testing.ts"

const small = bytes(1, 100)
const hour = 60 * 60 * 1000
const hence = (hours: number): number => Date.now() + hours * hour

/** The root that the store on it uses. */
const withRoot = async (path: string, use: (root: Root) => Promise<void>): Promise<void> => {
  const root = await acquire(path)
  await use(root).finally(() => release(root))
}

const uploadsIn = (path: string) => readdirSync(`${path}/.holdfast/uploads`)
const sidecarsIn = (path: string) => filesIn(`${path}/.holdfast/meta`)

test("sweep() removes uploads in which nothing has changed for a day, and no others", () =>
  withFreshStore((backend, path) =>
    withRoot(path, async (root) => {
      const [sound, damaged] = [
        await run(backend.createUpload("a", { writeId: "w", resumable: true })),
        crypto.randomUUID(),
      ]
      await run(backend.putPart(sound, { number: 1, offset: 0, crc32: crc32(small) }, small))
      mkdirSync(`${path}/.holdfast/uploads/${damaged}`)
      writeFileSync(`${path}/.holdfast/uploads/${damaged}/data`, "")
      writeFileSync(`${path}/.holdfast/uploads/notes.txt`, "not ours")
      for (const hours of [0, 23.9]) {
        await sweep(root, hence(hours))
        expect(uploadsIn(path).sort()).toEqual([damaged, "notes.txt", sound.id].sort())
      }
      expect((await run(backend.listParts!(sound))).length).toBe(1)
      await sweep(root, hence(24.1))
      expect(uploadsIn(path)).toEqual(["notes.txt"])
      expect(await reasonOf(backend.listParts!(sound))).toBe("NotFound")
    })
  ))

test("sweep() removes what is left of an upload that is over at once, but not of one that is being begun", () =>
  withFreshStore((backend, path) =>
    withRoot(path, async (root) => {
      const { id } = await run(backend.createUpload("a", { writeId: "w", resumable: true }))
      unlinkSync(`${path}/.holdfast/uploads/${id}/data`)
      await root.uploadLocks.hold([await root.shard(id)], new AbortController().signal, async () => {
        await sweep(root, hence(0))
        expect(uploadsIn(path)).toEqual([id])
      })
      await sweep(root, hence(0))
      expect(uploadsIn(path)).toEqual([])
    })
  ))

test("sweep() does not touch an upload that another process is at work in, however old", () =>
  withFolder((path) =>
    withRoot(path, async (root) => {
      await root.writable()
      const { id } = await withStore(
        path,
        (backend) => run(backend.createUpload("a", { writeId: "w", resumable: true })),
      )
      const lock = `${path}/.holdfast/lock/upload-${await root.shard(id)}`
      root.uploadLocks.close()
      const worker = startWorker("deno", { does: "lock", path: lock })
      expect(await worker.line()).toBe("locked")
      await sweep(root, hence(100))
      expect(uploadsIn(path)).toEqual([id])
      await worker.kill()
      await sweep(root, hence(100))
      expect(uploadsIn(path)).toEqual([])
    })
  ))

test("sweep() removes sidecars without an object after a day, and keeps all others", () =>
  withFreshStore((backend, path) =>
    withRoot(path, async (root) => {
      for (const key of ["kept", "gone", "folder/gone", "folder/kept"]) {
        await run(backend.put(key, small, putOptions(small)))
      }
      rmSync(`${path}/gone`)
      rmSync(`${path}/folder/gone`)
      writeFileSync(`${path}/.holdfast/meta/notes.txt`, "not ours")
      writeFileSync(`${path}/.holdfast/meta/${readdirSync(`${path}/.holdfast/meta`)[0]}/ab.json`, "damaged")
      for (const hours of [0, 23.9]) {
        await sweep(root, hence(hours))
        expect(sidecarsIn(path).length).toBe(6)
      }
      await sweep(root, hence(24.1))
      expect(sidecarsIn(path).length).toBe(4)
      for (const key of ["kept", "folder/kept"]) {
        const { info, data } = await run(read(backend, key))
        expectBytes(data, small, key)
        expect(info.writeId).toBeDefined()
      }
    })
  ))

test("sweep() leaves a sidecar alone whose lock a writer holds: its object may be on the way", () =>
  withFreshStore((backend, path) =>
    withRoot(path, async (root) => {
      await run(backend.put("a", small, putOptions(small)))
      rmSync(`${path}/a`)
      await root.locks.hold([await root.shard("a")], new AbortController().signal, async () => {
        await sweep(root, hence(25))
        expect(sidecarsIn(path).length).toBe(1)
      })
      await sweep(root, hence(25))
      expect(sidecarsIn(path)).toEqual([])
    })
  ))

test("sweep() looks at 8 sidecars, each time at others", () =>
  withFreshStore((backend, path) =>
    withRoot(path, async (root) => {
      for (let i = 0; i < 20; i++) await run(backend.put(`k${i}`, small, putOptions(small)))
      for (let i = 0; i < 20; i++) rmSync(`${path}/k${i}`)
      const left: Array<number> = []
      while (sidecarsIn(path).length > 0) {
        await sweep(root, hence(25))
        left.push(sidecarsIn(path).length)
      }
      expect(left).toEqual([12, 4, 0])
    })
  ))

test("what is left is swept by the first write of a process, not by reading", () =>
  withFolder(async (path) => {
    await withStore(path, async (backend) => {
      await run(backend.createUpload("a", { writeId: "w", resumable: true }))
      await run(backend.put("b", small, putOptions(small)))
    })
    rmSync(`${path}/b`)
    const { now } = Date
    Date.now = () => now() + 25 * hour
    try {
      await withStore(path, async (backend) => {
        await run(backend.list())
        expect((await run(backend.listUploads!())).uploads.length).toBe(1)
        await run(backend.remove("not/there"))
        expect(uploadsIn(path)).toEqual([])
        expect(existsSync(`${path}/b`)).toBe(false)
        expect(sidecarsIn(path)).toEqual([])
      })
    } finally {
      Date.now = now
    }
  }))
