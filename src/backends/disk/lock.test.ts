import { expect, test } from "bun:test"
import { mkdirSync, renameSync, writeFileSync } from "node:fs"
import { FileLock, Locks } from "./lock.ts"
import { runtimes, startWorker, withFolder } from "./testing.ts"

const never = new AbortController().signal

for (const runtime of runtimes) {
  test(`lock: a process in ${runtime} keeps others out, and kill -9 gives its lock back`, () =>
    withFolder(async (folder) => {
      const path = `${folder}/1`
      const worker = startWorker(runtime, { does: "lock", path })
      const lock = new FileLock(path)
      try {
        expect(await worker.line()).toBe("locked")
        expect(lock.tryLock()).toBe(false)
        await worker.kill()
        expect(lock.tryLock()).toBe(true)
        const second = startWorker(runtime, { does: "lock", path })
        expect(await second.line()).toBe("busy")
        await second.kill()
      } finally {
        lock.close()
        await worker.kill()
      }
    }))
}

test("lock: a lock on a file that was replaced counts for nothing", () =>
  withFolder(async (folder) => {
    const [one, two] = [new FileLock(`${folder}/1`), new FileLock(`${folder}/1`)]
    try {
      expect(one.tryLock()).toBe(true)
      one.unlock()
      renameSync(`${folder}/1`, `${folder}/old`)
      expect(two.tryLock()).toBe(true)
      // Its connection is to the old file, which it could lock.
      expect(one.tryLock()).toBe(false)
      two.unlock()
      expect(one.tryLock()).toBe(true)
    } finally {
      one.close()
      two.close()
    }
    await Promise.resolve()
  }))

test("Locks.hold() lets callers in one by one, in the order they came", () =>
  withFolder(async (folder) => {
    const locks = new Locks(folder)
    const log: Array<string> = []
    let inside = 0
    const enter = (name: string) =>
      locks.hold([3], never, async () => {
        expect(++inside).toBe(1)
        log.push(name)
        await new Promise((resolve) => setTimeout(resolve, 1))
        inside--
      })
    await Promise.all(["a", "b", "c", "d", "e"].map(enter))
    expect(log).toEqual(["a", "b", "c", "d", "e"])
    locks.close()
  }))

test("Locks.hold() of two shards in opposite orders ends", () =>
  withFolder(async (folder) => {
    const locks = new Locks(folder)
    let count = 0
    const both = (shards: ReadonlyArray<number>) => locks.hold(shards, never, () => Promise.resolve(count++))
    await Promise.all(Array.from({ length: 50 }, (_, i) => both(i % 2 ? [1, 2] : [2, 1])))
    await both([1, 1])
    expect(count).toBe(51)
    locks.close()
  }))

test("Locks.hold() that is aborted while it waits is out of the queue, wherever it waits", () =>
  withFolder(async (folder) => {
    const locks = new Locks(folder)
    const other = new FileLock(`${folder}/7`)
    expect(other.tryLock()).toBe(true)
    const [first, second] = [new AbortController(), new AbortController()]
    const ran: Array<string> = []
    // One waits for the file, one for its turn.
    const waits = [first, second].map(({ signal }) =>
      locks.hold([7], signal, () => Promise.resolve(ran.push("aborted"))).catch(() => "gave up")
    )
    second.abort()
    expect(await waits[1]).toBe("gave up")
    first.abort()
    expect(await waits[0]).toBe("gave up")
    other.unlock()
    await locks.hold([7], never, () => Promise.resolve(ran.push("later")))
    expect(ran).toEqual(["later"])
    locks.close()
    other.close()
  }))

test("Locks.hold() gives the lock back when its body fails", () =>
  withFolder(async (folder) => {
    const locks = new Locks(folder)
    const failed = await locks.hold([1, 2], never, () => Promise.reject(new Error("no"))).catch((error) =>
      error.message
    )
    expect(failed).toBe("no")
    expect(await locks.hold([2, 1], never, () => Promise.resolve("yes"))).toBe("yes")
    locks.close()
  }))

test("lock: a lock file whose mode shuts us out is opened all the same", () =>
  withFolder(async (folder) => {
    mkdirSync(`${folder}/x`)
    writeFileSync(`${folder}/x/1`, "", { mode: 0 })
    const lock = new FileLock(`${folder}/x/1`)
    expect(lock.tryLock()).toBe(true)
    lock.close()
    await Promise.resolve()
  }))

test("Locks.tryHold() runs its body only if nobody has the lock, here or in another process", () =>
  withFolder(async (folder) => {
    const locks = new Locks(folder, "upload-")
    const ran: Array<string> = []
    const attempt = (name: string) => locks.tryHold(5, () => Promise.resolve(void ran.push(name)))
    await locks.hold([5], never, () => attempt("held here"))
    const other = new FileLock(`${folder}/upload-5`)
    expect(other.tryLock()).toBe(true)
    await attempt("held elsewhere")
    expect(ran).toEqual([])
    other.close()
    await attempt("free")
    // It is given back, also by a body that fails.
    expect(await locks.tryHold(5, () => Promise.reject(new Error("no"))).catch((error) => error.message)).toBe("no")
    await locks.hold([5], never, () => Promise.resolve(ran.push("later")))
    expect(ran).toEqual(["free", "later"])
    locks.close()
  }))
