/** The import directions of docs/architecture.md, as a test. */
import { expect, test } from "bun:test"
import { readdir, readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Which rooms each room may import from, besides itself. */
const mayImport: Readonly<Record<string, ReadonlyArray<string>>> = {
  streams: [],
  core: ["streams"],
  backends: ["core", "streams", "aws"],
  aws: ["core", "streams"],
  stores: ["core", "streams"],
  open: ["core", "streams", "backends", "aws", "stores"],
  compat: ["core", "streams", "backends", "aws", "stores", "open"],
  http: ["core", "streams", "backends", "aws", "stores", "open"],
  cli: ["core", "streams", "backends", "aws", "stores", "open", "compat", "http", "testing"],
  testing: ["core", "streams", "backends", "aws", "stores", "open"],
  mod: ["core", "streams", "open"],
}

const roomOf = (file: string): string => {
  if (file === "mod.ts") return "mod"
  if (file === "src/open.ts") return "open"
  const folder = /^src\/([^/]+)\//.exec(file)?.[1]
  return folder ?? "core"
}

/** Tests, and what only they share. */
const forTests = (file: string): boolean => file.endsWith(".test.ts") || /[/-]testing(-worker)?\.ts$/.test(file)

const sources = async (): Promise<ReadonlyArray<string>> => {
  const files = await readdir(`${root}src`, { recursive: true })
  return ["mod.ts", ...files.map((file) => `src/${file}`)].filter((file) => file.endsWith(".ts") && !forTests(file))
}

const importsOf = async (file: string): Promise<ReadonlyArray<string>> => {
  // Examples in comments import the package by its name; they are not imports of this file.
  const text = (await readFile(root + file, "utf8")).replaceAll(/^\s*\*.*$/gm, "")
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1]!)
}

/** `./b.ts` as seen from `src/a.ts`. */
const resolve = (from: string, specifier: string): string => new URL(specifier, `file:///${from}`).pathname.slice(1)

/** Entries that must load where there is no `node:`: everything but the disk, the command and the test tools. */
const portable = (file: string): boolean =>
  !file.startsWith("src/backends/disk/") && !file.startsWith("src/cli/") && !file.startsWith("src/testing/")

test("every import goes in a direction that the architecture allows", async () => {
  const wrong: Array<string> = []
  for (const file of await sources()) {
    const room = roomOf(file)
    for (const specifier of await importsOf(file)) {
      if (!specifier.startsWith(".")) continue
      const target = roomOf(resolve(file, specifier))
      if (target !== room && !mayImport[room]!.includes(target)) {
        wrong.push(`${file} (${room}) → ${specifier} (${target})`)
      }
    }
  }
  expect(wrong).toEqual([])
})

test("backends never import each other", async () => {
  const place = (file: string): string => /^src\/backends\/([^/.]+)/.exec(file)![1]!
  const wrong: Array<string> = []
  for (const file of (await sources()).filter((name) => name.startsWith("src/backends/"))) {
    for (const specifier of await importsOf(file)) {
      if (!specifier.startsWith(".")) continue
      const target = resolve(file, specifier)
      if (target.startsWith("src/backends/") && place(target) !== place(file)) wrong.push(`${file} → ${specifier}`)
    }
  }
  expect(wrong).toEqual([])
})

test("nothing that a Worker imports reaches node:", async () => {
  const wrong: Array<string> = []
  for (const file of (await sources()).filter(portable)) {
    for (const specifier of await importsOf(file)) {
      if (specifier.startsWith("node:")) wrong.push(`${file} → ${specifier}`)
    }
  }
  expect(wrong).toEqual([])
})

test("only the command uses more of Effect than its stable modules", async () => {
  const stable = new Set(
    ("Cause Clock Config ConfigProvider Context Data Deferred Duration Effect Exit Fiber Layer ManagedRuntime Metric " +
      "Option Random Redacted Result Schedule Schema Scope Semaphore StandardSchema Stream Tracer").split(" "),
  )
  const wrong: Array<string> = []
  for (const file of (await sources()).filter((name) => !name.startsWith("src/cli/"))) {
    for (const specifier of await importsOf(file)) {
      if (!specifier.startsWith("effect")) continue
      const module = specifier.slice("effect/".length)
      if (!stable.has(module)) wrong.push(`${file} → ${specifier}`)
    }
  }
  expect(wrong).toEqual([])
})

test("fault 88: no stream is teed, since the slower branch would hold everything", async () => {
  const wrong: Array<string> = []
  for (const file of await sources()) if (/\.tee\(/.test(await readFile(root + file, "utf8"))) wrong.push(file)
  expect(wrong).toEqual([])
})

test("the rooms test sees imports at all", async () => {
  expect(await importsOf("src/save.ts")).toContain("./backend.ts")
  expect(resolve("src/backends/disk/mod.ts", "../../error.ts")).toBe("src/error.ts")
})
