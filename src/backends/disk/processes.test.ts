// Several processes, on Bun and Deno, in one root.
import { expect, test } from "bun:test"
import { existsSync, readdirSync } from "node:fs"
import { bytes, collect, expectBytes, putOptions, read } from "../conformance.ts"
import { filesIn, run, runtimes, startWorker, withFolder, withFreshStore, withStore } from "./testing.ts"

const small = bytes(1, 100)
const runtimeOf = (index: number) => runtimes[index % runtimes.length]!

test(
  "fault 74: 4 processes create 64 objects at once, and each has exactly one creator",
  () =>
    withFolder(async (root) => {
      const workers = [0, 1, 2, 3].map((index) =>
        startWorker(runtimeOf(index), { does: "create", root, key: "k/", times: 64 })
      )
      const outcomes = await Promise.all(workers.map((worker) => worker.end()))
      for (let i = 0; i < 64; i++) {
        const said = outcomes.map(({ lines }) => lines[i])
        expect(said.sort()).toEqual(["AlreadyExists", "AlreadyExists", "AlreadyExists", "won"])
      }
      await withStore(root, async (backend) => {
        const pids = workers.map((worker) => String(worker.process.pid))
        for (let i = 0; i < 64; i++) {
          const { data } = await run(read(backend, `k/${i}`))
          expect(pids).toContain(new TextDecoder().decode(data))
        }
      })
    }),
  60_000,
)

test("8 processes add to one number, and not one addition is lost", () =>
  withFolder(async (root) => {
    const times = 15
    await withStore(root, async (backend) => {
      const zero = new TextEncoder().encode("0")
      await run(backend.put("n", zero, putOptions(zero)))
      const workers = Array.from({ length: 8 }, (_, index) =>
        startWorker(runtimeOf(index), { does: "increment", root, key: "n", times }))
      const outcomes = await Promise.all(workers.map((worker) =>
        worker.end()
      ))
      expect(outcomes.map(({ code }) => code)).toEqual(workers.map(() => 0))
      const { data } = await run(read(backend, "n"))
      expect(new TextDecoder().decode(data)).toBe(String(8 * times))
    })
  }), 60_000)

test(
  "fault 73, 75: readers of objects that others replace, and that die doing so, see whole versions only",
  () =>
    withFreshStore(async (backend, root) => {
      const keys = ["x", "y/z"]
      const size = 200_000
      const workers = [0, 1].map((index) => startWorker(runtimeOf(index), { does: "write", root, keys, size }))
      // Both keys are there, and each is at work before the first is killed.
      for (const worker of workers) for (const _ of keys) await worker.line()
      const until = Date.now() + 1500
      let reads = 0
      for (let i = 0; Date.now() < until; i++) {
        const { info, body } = await run(backend.get(keys[i % 2]!))
        const data = await collect(body)
        expect(data.length).toBe(size)
        expectBytes(data, new Uint8Array(size).fill(data[0]!), `version ${info.etag}`)
        reads++
      }
      for (const worker of workers) {
        await worker.kill()
        expect((await worker.end()).lines.length).toBeGreaterThan(0)
      }
      expect(reads).toBeGreaterThan(20)
      // What both left behind can be read, and is in nobody's way.
      for (const key of keys) {
        const { data } = await run(read(backend, key))
        expectBytes(data, new Uint8Array(size).fill(data[0]!), key)
        await run(backend.put(key, small, putOptions(small)))
      }
    }),
  60_000,
)

for (const runtime of runtimes) {
  test(
    `fault 65: what a killed process in ${runtime} left is swept by the next first write, what a live one has is not`,
    () =>
      withFolder(async (root) => {
        const [live, dead] = [0, 1].map(() => startWorker(runtime, { does: "upload", root, key: "a" }))
        try {
          expect(await live!.line()).toBe("begun")
          expect(await dead!.line()).toBe("begun")
          await dead!.kill()
          const folders = () => readdirSync(`${root}/.holdfast/tmp`)
          expect(folders().length).toBe(2)
          await withStore(root, async (backend) => {
            // Reading sweeps nothing.
            await run(backend.list())
            expect(folders().length).toBe(2)
            await run(backend.put("b", small, putOptions(small)))
            // The live one's, and ours.
            expect(folders().length).toBe(2)
          })
          const [left] = folders()
          expect(filesIn(`${root}/.holdfast/tmp`)).toEqual([`${left}/1`])
          const locks = readdirSync(`${root}/.holdfast/lock`).filter((name) => name.startsWith("owner-"))
          expect(locks).toEqual([`owner-${left}`])
          expect(existsSync(`${root}/a`)).toBe(false)
        } finally {
          await live!.kill()
          await dead!.kill()
        }
        await withStore(root, (backend) => run(backend.put("b", small, putOptions(small))))
        expect(readdirSync(`${root}/.holdfast/tmp`)).toEqual([])
      }),
    60_000,
  )
}
