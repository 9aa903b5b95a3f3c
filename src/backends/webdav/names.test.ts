import { expect, test } from "bun:test"
import { decodeSegment, namesOf, pathFlaw, recordPath, urlPath } from "./names.ts"

test("every key has names of its own, and they lead back to it", () => {
  const keys = ["a", "a/b", "a//b", "/a", "a/", "/", "//", "%", "%25", "%2Eholdfast", ".holdfast", ".holdfast/tmp/x"]
  keys.push("a/.holdfast", "100%", "ü/世界/😀", "...", " ", "%/%%/", "%2Ea", "%2E%2E", ".25", ".%", "a%2fb")
  const seen = new Set<string>()
  for (const key of keys) {
    const names = namesOf(key)
    seen.add(names.join("/"))
    expect(names).not.toContain("")
    // Names with a dot in front are left out of lists by some servers.
    expect(names.filter((name) => name.startsWith("."))).toEqual([])
    expect(names.map(decodeSegment).join("/")).toBe(key)
  }
  expect(seen.size).toBe(keys.length)
})

test("names that no key has stand for none", () => {
  for (const name of ["", "%2", "a%", "%20", "%%", "a%2E", "%2e", ".holdfast", ".a"]) {
    expect([name, decodeSegment(name)]).toEqual([name, undefined])
  }
})

test("a path is escaped once more as a URL, and a name of more than 255 bytes has none", () => {
  expect(urlPath(namesOf("a b/%/ü?#"))).toBe("/a%20b/%2525/%C3%BC%3F%23")
  expect(pathFlaw("x".repeat(255))).toBeUndefined()
  expect(pathFlaw(`a/${"x".repeat(256)}`)).toContain("256 bytes")
  expect(pathFlaw("ü".repeat(128))).toContain("256 bytes")
})

test("a record has a path for each key and etag", async () => {
  const paths = await Promise.all([
    recordPath("a", "1"),
    recordPath("a", "2"),
    recordPath("a1", ""),
    recordPath("b", "1"),
  ])
  expect(new Set(paths).size).toBe(4)
  expect(paths[0]).toMatch(/^\/\.holdfast\/meta\/[0-9a-f]{2}\/[0-9a-f]{62}\.json$/)
  expect(await recordPath("a", "1")).toBe(paths[0]!)
})
