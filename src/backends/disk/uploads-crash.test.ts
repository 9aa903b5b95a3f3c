// Processes that die or meet failures in the middle of resumable uploads, and others that go on with these.
import { expect, test } from "bun:test"
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs"
import type { Backend, Part, Upload } from "../../backend.ts"
import { combineCrc32, crc32 } from "../../streams/crc32.ts"
import { bytes, expectBytes, read } from "../conformance.ts"
import { reasonOf, run, runtimes, startWorker, withFolder, withStore, type Worker } from "./testing.ts"
import { cutPower, failing, onLoop, traced, unmount } from "./testing-faults.ts"
import { chance } from "./testing-worker.ts"

const soak = process.env["HOLDFAST_SOAK"] === "1"
const seed = Number(process.env["HOLDFAST_SEED"] ?? 1)
const kills = soak ? 100 : 10

/** Kills a worker `delay` milliseconds after it has said `first`, after `strike`, and says what it has said. */
const killAfter = async (
  worker: Worker,
  first: string,
  delay: number,
  strike?: () => Promise<void>,
): Promise<ReadonlyArray<string>> => {
  const said: Array<string> = []
  for (let line = await worker.line(); line !== undefined; line = await worker.line()) {
    said.push(line)
    if (line.startsWith(first)) break
  }
  await new Promise((resolve) => setTimeout(resolve, delay))
  await strike?.()
  await worker.kill()
  return [...said, ...(await worker.end()).lines]
}

/** What a process has said of parts: for each number the CRC-32 that was stored last, and the one begun since. */
class Said {
  readonly stored = new Map<number, number>()
  readonly begun = new Map<number, number>()

  add(lines: ReadonlyArray<string>): void {
    for (const line of lines) {
      const [word, number, crc] = line.split(" ")
      if (word === "begin") this.begun.set(Number(number), Number(crc))
      if (word !== "stored") continue
      this.stored.set(Number(number), Number(crc))
      this.begun.delete(Number(number))
    }
  }

  /**
   * Fails unless all that was stored is there, and what was under way is whole or absent, as a listing and the
   * bytes on the disk say.
   */
  check(parts: ReadonlyArray<Part>, data: Uint8Array, about: string): void {
    for (const { number, offset, size, crc32: crc } of parts) {
      if (crc32(data.subarray(offset, offset + size)) !== crc) throw new Error(`${about}: part ${number} is torn`)
      if (crc !== this.stored.get(number) && crc !== this.begun.get(number)) {
        throw new Error(`${about}: part ${number} is not what was stored`)
      }
    }
    const there = new Set(parts.map(({ number }) => number))
    for (const number of this.stored.keys()) {
      if (!there.has(number) && !this.begun.has(number)) throw new Error(`${about}: part ${number} is lost`)
    }
    // From here on it is known what became of what was under way.
    this.begun.clear()
    this.stored.clear()
    for (const { number, crc32: crc } of parts) this.stored.set(number, crc!)
  }
}

const finish = async (backend: Backend, upload: Upload): Promise<Uint8Array> => {
  const size = 60_000
  const parts = new Map((await run(backend.listParts!(upload))).map((part) => [part.number, part]))
  for (let number = 1; number <= 8; number++) {
    if (parts.has(number)) continue
    const data = bytes(number, size)
    const part = { number, offset: (number - 1) * size, crc32: crc32(data) }
    parts.set(number, await run(backend.putPart(upload, part, data)))
  }
  const all = Array.from(parts.values()).sort((a, b) => a.number - b.number)
  const whole = { size: 8 * size, crc32: all.reduce((crc, part) => combineCrc32(crc, part.crc32!, part.size), 0) }
  await run(backend.completeUpload(upload, all, whole))
  return (await run(read(backend, upload.key))).data
}

test(
  `fault 65: kill -9 at ${kills} points of an upload leaves each part whole or absent, and others complete it`,
  () =>
    withFolder(async (root) => {
      const random = chance(seed)
      let upload: Upload | undefined
      let said = new Said()
      for (let i = 0; i < kills; i++) {
        const delay = random() * 60
        const about = `seed ${seed}, kill ${i} after ${delay.toFixed(1)} ms`
        const job = { does: "parts", root, key: "a/b", id: upload?.id, seed: i, times: 100_000 } as const
        const [id, ...lines] = await killAfter(startWorker(runtimes[i % 2]!, job), "begin", delay)
        upload ??= { id: id!, key: "a/b" }
        said.add(lines)
        await withStore(root, async (backend) => {
          const { uploads } = await run(backend.listUploads!())
          expect(uploads.map((entry) => entry.id)).toEqual([upload!.id])
          const data = readFileSync(`${root}/.holdfast/uploads/${upload!.id}/data`)
          said.check(await run(backend.listParts!(upload!)), data, about)
          // Some go on to the end, the others through more kills.
          if (i % 4 !== 3 && i !== kills - 1) return
          const stored = new Map(said.stored)
          const whole = await finish(backend, upload!)
          for (let number = 1; number <= 8; number++) {
            const piece = whole.subarray((number - 1) * 60_000, number * 60_000)
            expect(crc32(piece)).toBe(stored.get(number) ?? crc32(bytes(number, 60_000)))
          }
          expect((await run(backend.listUploads!())).uploads).toEqual([])
          upload = undefined
          said = new Said()
        })
      }
    }),
  1_800_000,
)

test(
  `fault 65: kill -9 at ${kills} points of completions and abortions leaves the upload, or its end, and never both`,
  () =>
    withFolder(async (root) => {
      const random = chance(seed)
      for (let i = 0; i < kills; i++) {
        const delay = random() * 40
        const about = `seed ${seed}, kill ${i} after ${delay.toFixed(1)} ms`
        const lines = await killAfter(startWorker(runtimes[i % 2]!, { does: "ends", root, key: "a" }), "{", delay)
        const steps = lines.map((line) => JSON.parse(line) as { upload: Upload; part: Part; ends: string })
        await withStore(root, async (backend) => {
          const live = (await run(backend.listUploads!())).uploads.map(({ id }) => id)
          const last = steps.at(-1)!
          const isOver = !live.includes(last.upload.id)
          // Each step but the last was over before the next was begun.
          const completed = steps.findLastIndex((step) => step.ends === "complete" && (step !== last || isOver))
          const found = await run(backend.stat("a")).catch(() => undefined)
          expect([about, found?.writeId]).toEqual([about, completed < 0 ? undefined : `${completed}`])
          for (const { upload, part } of steps) {
            const outcome = await reasonOf(backend.completeUpload(upload, [part], part))
            expect([about, outcome]).toEqual([about, upload === last.upload && !isOver ? "succeeded" : "NotFound"])
          }
          const now = isOver ? completed : steps.length - 1
          if (now >= 0) {
            const { info, data } = await run(read(backend, "a"))
            expect([about, info.writeId]).toEqual([about, `${now}`])
            expectBytes(data, new Uint8Array(60_000).fill(now), about)
          }
          await run(backend.remove("a"))
          // What is left of those that are over is swept; one that was being begun may stay for a day.
          for (const id of readdirSync(`${root}/.holdfast/uploads`)) {
            expect(existsSync(`${root}/.holdfast/uploads/${id}/data`)).toBe(true)
            await run(backend.abortUpload({ id, key: "a" }))
          }
        })
      }
    }),
  1_800_000,
)

const cuts = soak ? 100 : 10

onLoop(
  `faults 62, 63: ${cuts} power cuts during an upload lose no part that was stored, and tear none`,
  () =>
    withFolder(async (folder) => {
      const [image, mount, root] = [`${folder}/image`, `${folder}/mount`, `${folder}/mount/root`]
      mkdirSync(mount)
      execFileSync("truncate", ["-s", "64M", image])
      execFileSync("mkfs.ext4", ["-q", image])
      const random = chance(seed)
      let upload: Upload | undefined
      let said = new Said()
      for (let i = 0; i < cuts; i++) {
        const delay = random() * 60
        const about = `seed ${seed}, cut ${i} after ${delay.toFixed(1)} ms`
        execFileSync("mount", ["-o", "loop", image, mount])
        const job = { does: "parts", root, key: "a/b", id: upload?.id, seed: i, times: 100_000 } as const
        const worker = startWorker("bun", job)
        try {
          const [id, ...lines] = await killAfter(worker, "begin", delay, () => {
            // It may no longer say "stored" for what the cut has lost.
            worker.process.kill("SIGSTOP")
            return cutPower(mount)
          })
          upload ??= { id: id!, key: "a/b" }
          said.add(lines)
        } finally {
          await worker.kill()
          await unmount(mount)
        }
        execFileSync("mount", ["-o", "loop", image, mount])
        try {
          await withStore(root, async (backend) => {
            const data = readFileSync(`${root}/.holdfast/uploads/${upload!.id}/data`)
            said.check(await run(backend.listParts!(upload!)), data, about)
            if (i % 4 !== 3) return
            await finish(backend, upload!)
            upload = undefined
            said = new Said()
          })
        } finally {
          await unmount(mount)
        }
      }
    }),
  1_800_000,
)

const failures: ReadonlyArray<readonly [string, string, string, string]> = [
  ["fault 68: EIO", "fsync,fdatasync", "error=EIO", "Unavailable"],
  ["fault 67: ENOSPC", "fsync,fdatasync", "error=ENOSPC", "NoSpace"],
  ["fault 67: ENOSPC", "pwrite64", "error=ENOSPC", "NoSpace"],
]

for (const [name, calls, inject, reason] of failures) {
  traced(
    `${name}, at each ${calls} of a part that is stored again: the old one, the new one or none, and another try`,
    () =>
      withFolder(async (root) => {
        const [old, next] = [bytes(1, 100_000), new Uint8Array(100_000).fill(1)]
        const place = (data: Uint8Array) => ({ number: 1, offset: 0, crc32: crc32(data) })
        const outcomes = new Set<string>()
        for (let nth = 1; nth <= 10; nth++) {
          const key = `k${nth}`
          const upload = await withStore(root, async (backend) => {
            const upload = await run(backend.createUpload(key, { writeId: key, resumable: true }))
            await run(backend.putPart(upload, place(old), old))
            return upload
          })
          const job = { does: "part", root, key, number: 1, id: upload.id } as const
          const { lines } = await startWorker("bun", job, { wrap: failing(calls, inject, nth) }).end()
          const outcome = lines[1]!
          expect([nth, outcome]).toEqual([nth, outcome === "won" ? outcome : reason])
          await withStore(root, async (backend) => {
            const data = readFileSync(`${root}/.holdfast/uploads/${upload.id}/data`)
            const parts = await run(backend.listParts!(upload))
            const crcs = outcome === "won" ? [crc32(next)] : [crc32(old), crc32(next)]
            for (const part of parts) {
              expect(crcs).toContain(part.crc32!)
              expect(crc32(data.subarray(0, 100_000))).toBe(part.crc32!)
            }
            outcomes.add(`${outcome} ${parts.length}`)
            const part = await run(backend.putPart(upload, place(next), next))
            await run(backend.completeUpload(upload, [part], part))
            expectBytes((await run(read(backend, key))).data, next, key)
          })
        }
        expect(outcomes).toContain("won 1")
        expect(outcomes).not.toContain("won 0")
        // Threads count for themselves, so which calls fail differs; some do.
        expect([...outcomes].join()).toContain(reason)
      }),
    300_000,
  )
}
