import { expect, test } from "bun:test"
import { openBucket, patience, Workplace } from "./testing.ts"

test("migrate copies a folder into a bucket, says what it found, and proves it in a second run", async () => {
  await using bucket = await openBucket()
  await using work = await Workplace.make({ ...bucket.env, HOLDFAST_STORE: "file:./state" })
  for (const key of ["a/1", "a/2", "b"]) await work.feed(`bytes of ${key}`, "save", key)
  const migrate = (...flags: ReadonlyArray<string>) => work.run("migrate", "file:./state", bucket.store, ...flags)
  expect(await migrate("--dry-run")).toMatchObject({ code: 0, out: expect.stringMatching(/^3 to be copied \(.*\)\n$/) })
  expect(await migrate("--prefix", "a/")).toMatchObject({ code: 0, out: expect.stringMatching(/^2 copied/), err: "" })
  expect((await migrate("--verify")).out).toMatch(/^1 copied .*, 2 there already/)
  expect((await migrate()).out).toMatch(/^3 there already/)
  expect((await work.run("load", "b", "--store", bucket.store)).out).toBe("bytes of b")

  await work.feed("another", "save", "b", "--store", bucket.store)
  const differs = await migrate()
  expect({ code: differs.code, out: differs.out }).toMatchObject({ code: 5 })
  expect(differs.err).toMatch(/^different\tb\nholdfast: DST does not have all of SRC\nhint: .*--replace/)
  expect((await work.run("load", "b", "--store", bucket.store)).out).toBe("another")
  const replaced = await migrate("--replace", "--json")
  const lines = replaced.out.trim().split("\n").map((line) => JSON.parse(line))
  expect(lines.filter(({ outcome }) => outcome === "copied").map(({ key }) => key)).toEqual(["b"])
  expect(lines.at(-1)).toMatchObject({ complete: true, report: { copied: { objects: 1 }, present: { objects: 2 } } })
  expect((await work.run("load", "b", "--store", bucket.store)).out).toBe("bytes of b")
}, patience)

test("migrate within one store is refused, and an empty source is said to be empty", async () => {
  await using work = await Workplace.make({})
  expect(await work.run("migrate", "file:./a", "file:./a")).toMatchObject({ code: 2, out: "" })
  expect(await work.run("migrate", "file:./a", "file:./b")).toMatchObject({
    code: 0,
    out: "nothing to copy: SRC has no such object\n",
  })
}, patience)
