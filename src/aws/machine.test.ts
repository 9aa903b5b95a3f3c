import { expect, test } from "bun:test"
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readSettled, thisMachine } from "./machine.ts"

test("fault 128: a file that is being rewritten is read again until it is the same twice", async () => {
  const seen = ["", "", "key = ol", "key = new\nsec", "key = new\nsecret = new", "key = new\nsecret = new", "later"]
  let pauses = 0
  const text = await readSettled(
    () => Promise.resolve({ text: seen.shift()!, age: 10 }),
    () => {
      pauses++
      return Promise.resolve()
    },
  )
  expect([text, pauses]).toEqual(["key = new\nsecret = new", 5])
})

test("a file that has been left alone is read once, and one that never settles does not hold us for ever", async () => {
  let reads = 0
  const read = (age: number) => () => Promise.resolve({ text: String(++reads), age })
  expect(await readSettled(read(5000), () => Promise.reject(new Error("no pause is needed")))).toBe("1")
  reads = 0
  await readSettled(read(0), () => Promise.resolve())
  expect(reads).toBe(51)
})

test("this machine reads files, finds none, runs programs and tells how they end", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-aws-"))
  try {
    const path = join(folder, "old file")
    await writeFile(path, "text")
    await utimes(path, 1, 1)
    expect(await thisMachine.readText(path)).toBe("text")
    await writeFile(path, "fresh")
    expect(await thisMachine.readText(path)).toBe("fresh")
    expect(await thisMachine.readText(join(folder, "none"))).toBeUndefined()
    expect(await thisMachine.readText(join(path, "below a file"))).toBeUndefined()
    const unreadable = await thisMachine.readText(folder).then(() => "read", (error) => error.reason)
    expect(unreadable).toBe("Config")
    expect(await thisMachine.run("/bin/sh", ["-c", "echo out; echo err >&2; exit 3"], 10_000)).toEqual({
      code: 3,
      output: "out\n",
    })
    expect(await thisMachine.run("/bin/echo", ["$HOME; x", "a b"], 10_000)).toEqual({
      code: 0,
      output: "$HOME; x a b\n",
    })
    expect((await thisMachine.run(join(folder, "none"), [], 10_000)).code).toBeUndefined()
    expect((await thisMachine.run("/bin/sleep", ["30"], 50)).code).toBeUndefined()
  } finally {
    await rm(folder, { recursive: true })
  }
  expect(thisMachine.variable("PATH")).not.toBe("")
  expect(thisMachine.variable("HOLDFAST_IS_NOT_SET")).toBeUndefined()
})
