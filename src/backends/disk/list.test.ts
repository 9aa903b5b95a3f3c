import { expect, test } from "bun:test"
import { mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import * as fc from "fast-check"
import { compareKeys, keyFlaw } from "../../key.ts"
import type { Backend } from "../../backend.ts"
import { bytes, listAll, putOptions } from "../conformance.ts"
import { run, withFreshStore, withStore } from "./testing.ts"

const small = bytes(1, 3)
const save = (backend: Backend, key: string) => run(backend.put(key, small, putOptions(small)))
const keysOf = async (backend: Backend, options = {}) => {
  const { objects, prefixes } = await run(listAll(backend, options))
  return [...objects.map(({ key }) => key), ...prefixes]
}

test("list() agrees with a sorted array, for any keys, prefix, delimiter and page size", () =>
  withFreshStore(async (backend) => {
    const names = fc.constantFrom("a", "b", "a b", "a.", "a!", "%", "\uff5e", "\u{1f600}", "", "z".repeat(260))
    const keys = fc.array(names, { minLength: 1, maxLength: 3 }).map((segments) => segments.join("/")).filter((key) =>
      keyFlaw(key) === undefined
    )
    const sample = fc.sample(keys, { seed: 11, numRuns: 150 })
    const stored: Array<string> = []
    for (const key of new Set(sample)) {
      const nested = stored.some((other) => key.startsWith(`${other}/`) || other.startsWith(`${key}/`))
      if (!nested) {
        await save(backend, key)
        stored.push(key)
      }
    }
    stored.sort(compareKeys)
    expect(stored.length).toBeGreaterThan(20)
    const prefixes = ["", ...stored.flatMap((key) => [key.slice(0, 1), key.slice(0, -1), key, `${key}/`])]
    for (const prefix of new Set(prefixes)) {
      if (/[\ud800-\udbff]$/.test(prefix)) continue
      const under = stored.filter((key) => key.startsWith(prefix))
      expect(await keysOf(backend, { prefix, limit: 7 })).toEqual(under)
      const folded = under.map((key) => {
        const cut = key.indexOf("/", prefix.length)
        return cut < 0 ? key : key.slice(0, cut + 1)
      })
      const found = await keysOf(backend, { prefix, delimiter: "/", limit: 3 })
      expect(found.sort(compareKeys)).toEqual([...new Set(folded)].sort(compareKeys))
    }
  }))

test("list() shows regular files that a key can name, and nothing else", () =>
  withFreshStore(async (backend, root) => {
    await save(backend, "kept")
    for (const name of ["%41", "%2eholdfast", "back\\slash", "new\nline", `${"x".repeat(100)}%~${"0".repeat(64)}`]) {
      writeFileSync(`${root}/${name}`, "foreign")
    }
    symlinkSync("kept", `${root}/link`)
    symlinkSync("/etc", `${root}/folder-link`)
    mkdirSync(`${root}/empty/inner`, { recursive: true })
    expect(await keysOf(backend)).toEqual([".holdfast", "kept"])
    expect(await keysOf(backend, { delimiter: "/" })).toEqual([".holdfast", "kept"])
  }))

test("list() goes on from a cursor of another process", () =>
  withFreshStore(async (backend, root) => {
    for (const key of ["a/1", "a/2", "b", "c/1"]) await save(backend, key)
    const first = await run(backend.list({ limit: 2 }))
    const rest = await withStore(root, (other) => run(other.list({ cursor: first.cursor })))
    expect(rest.objects.map(({ key }) => key)).toEqual(["b", "c/1"])
    expect(rest.cursor).toBeUndefined()
  }))

test("list() reads a folder once for all pages, as long as it does not change", () =>
  withFreshStore(async (backend, root) => {
    for (const key of ["b", "c", "d", "e"]) await save(backend, key)
    const long = new Date(Date.now() - 60_000)
    utimesSync(root, long, long)
    const first = await run(backend.list({ limit: 1 }))
    // Restoring the time hides a change of the folder, which shows that it was not read again.
    writeFileSync(`${root}/bb`, "")
    utimesSync(root, long, long)
    const second = await run(backend.list({ limit: 1, cursor: first.cursor }))
    expect(second.objects.map(({ key }) => key)).toEqual(["c"])
    // A change that can be seen is.
    writeFileSync(`${root}/cc`, "")
    const third = await run(backend.list({ limit: 1, cursor: second.cursor }))
    expect(third.objects.map(({ key }) => key)).toEqual(["cc"])
  }))

test("list() survives folders that go away between its pages", () =>
  withFreshStore(async (backend, root) => {
    for (const key of ["a/1", "a/2", "b/1", "c"]) await save(backend, key)
    const { cursor } = await run(backend.list({ limit: 1 }))
    for (const name of readdirSync(root)) if (/^[ab]$/.test(name)) rmSync(`${root}/${name}`, { recursive: true })
    const rest = await run(backend.list({ cursor }))
    expect(rest.objects.map(({ key }) => key)).toEqual(["c"])
  }))

test("list() refuses a cursor that is not its own", () =>
  withFreshStore(async (backend) => {
    const error = await run(backend.list({ cursor: "bogus" })).catch((error) => error)
    expect(error.reason).toBe("InvalidInput")
  }))
