import { expect, test } from "bun:test"
import { readdir, readFile, truncate, writeFile } from "node:fs/promises"
import { onSignal } from "./exit.ts"
import { outcome, patience, until, Workplace } from "./testing.ts"

const MiB = 2 ** 20

/** Every file below a folder but locks, which stay. */
const filesBelow = async (path: string): Promise<Array<string>> => {
  const found = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => [])
  return found.filter((entry) => entry.isFile() && !entry.parentPath.includes(".holdfast/lock")).map(({ name }) => name)
}

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
  test(`fault 154: ${signal} in the middle of a save leaves nothing behind and exits with ${code}`, async () => {
    await using work = await Workplace.make()
    const child = work.start("save", "k", "--compression", "none")
    const done = outcome(child)
    // More than fits into the first part, and then silence.
    child.stdin.write(new Uint8Array(24 * MiB))
    await until("the upload has begun", async () => (await filesBelow(work.at("holdfast-data/.holdfast"))).length > 1)
    child.kill(signal)
    expect(await done).toMatchObject({ code, out: "", err: `holdfast: Stopped by ${signal}\n` })
    child.stdin.destroy()
    expect(await filesBelow(work.at("holdfast-data"))).toEqual(["format.json"])
  }, patience)
}

test("fault 154: SIGINT in the middle of a load leaves no file behind", async () => {
  await using work = await Workplace.make()
  await writeFile(work.at("big"), "")
  await truncate(work.at("big"), 192 * MiB)
  expect((await work.run("save", "big", "big", "--compression", "none")).code).toBe(0)
  await writeFile(work.at("target"), "before")
  const before = (await readdir(work.path)).toSorted()
  const child = work.start("load", "big", "target")
  const done = outcome(child)
  await until("the file is being written", async () => (await readdir(work.path)).length > before.length)
  child.kill("SIGINT")
  expect(await done).toMatchObject({ code: 130, out: "" })
  expect((await readdir(work.path)).toSorted()).toEqual(before)
  expect(await readFile(work.at("target"), "utf8")).toBe("before")
}, patience)

test("fault 154: SIGTERM ends a load whose reader has stopped reading", async () => {
  await using work = await Workplace.make()
  expect((await work.feed(new Uint8Array(8 * MiB), "save", "k", "--compression", "none")).code).toBe(0)
  const child = work.start("load", "k")
  await new Promise((resolve) => child.stdout.once("readable", resolve))
  child.kill("SIGTERM")
  // It says so while its output is still stuck; only then is the pipe let go.
  await new Promise((resolve) => child.stderr.once("readable", resolve))
  const done = outcome(child)
  expect(await done).toMatchObject({ code: 143, err: "holdfast: Stopped by SIGTERM\n" })
}, patience)

test("fault 154: the first signal stops the work, the second ends the process at once", () => {
  const told: Array<string | number> = []
  const handle = onSignal((signal) => told.push(signal), (code) => told.push(code))
  handle("SIGTERM")
  handle("SIGINT")
  expect(told).toEqual(["SIGTERM", 130])
})

test("fault 155: kill -9 in the middle of a save leaves the object as it was", async () => {
  await using work = await Workplace.make()
  expect((await work.feed("before", "save", "k")).code).toBe(0)
  const child = work.start("save", "k", "--compression", "none")
  const done = outcome(child)
  const files = (await filesBelow(work.at("holdfast-data/.holdfast"))).length
  child.stdin.write(new Uint8Array(24 * MiB))
  await until("the upload has begun", async () => (await filesBelow(work.at("holdfast-data/.holdfast"))).length > files)
  child.kill("SIGKILL")
  expect((await done).code).toBe(137)
  child.stdin.destroy()
  expect((await work.run("load", "k")).out).toBe("before")
  expect((await work.feed("after", "save", "k")).code).toBe(0)
  expect((await work.run("load", "k")).out).toBe("after")
}, patience)
