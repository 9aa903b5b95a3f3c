/** The Promise face: what a URL may be, and what opening does and does not do. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import { open } from "./open.ts"
import { openBackend } from "./store.ts"

const within = async (body: (folder: string) => Promise<void>): Promise<void> => {
  const folder = await mkdtemp(`${tmpdir()}/holdfast-open-`)
  try {
    await body(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const failure = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(() => {
    throw new Error("opened what it should have refused")
  }, (error) => {
    if (StoreError.is(error)) return error
    throw error
  })

const wrong: ReadonlyArray<readonly [url: string | undefined, message: RegExp, hint: RegExp]> = [
  [undefined, /HOLDFAST_STORE is not set/, /file:\.\/data/],
  ["", /empty/, /file:\.\/data/],
  ["./data", /no scheme/, /file:\.\/data/],
  ["s3", /no scheme/, /file:s3/],
  ["ftp://host/x", /"ftp:"/, /file:PATH/],
  ["mem:shared", /nothing after the colon/, /mem:/],
  ["file:", /no folder/, /file:\.\/data/],
  ["file://host/x", /host "host"/, /file:\/\/\//],
  ["file:///x?shards=2", /no options.*\?shards=2/, /percent-encode/],
  ["file:///x#y", /no options/, /percent-encode/],
  ["file:///a%zz", /percent-encoded/, /%25/],
  ["file:a\0b", /NUL/, /path of a folder/],
]

for (const [url, message, hint] of wrong) {
  test(`fault 142: open(${JSON.stringify(url)}) is refused as Config, with what to write instead`, async () => {
    const error = await failure(open(url, { env: {} }))
    expect(error.reason).toBe("Config")
    expect(error.message).toMatch(message)
    expect(error.hint).toMatch(hint)
  })
}

test("fault 142: a root that is a file is refused as Config", () =>
  within(async (folder) => {
    await writeFile(`${folder}/file`, "")
    for (const root of [`${folder}/file`, `${folder}/file/below`]) {
      expect((await failure(open(`file:${root}`))).reason).toBe("Config")
    }
  }))

test("opening, reading and listing create nothing", () =>
  within(async (folder) => {
    const root = `${folder}/not/yet`
    await using store = await open(`file:${root}`)
    expect(await store.exists("k")).toBe(false)
    for await (const _ of store.list()) throw new Error("listed something")
    expect((await failure(store.load("k"))).reason).toBe("NotFound")
    await store.remove("k")
    expect(existsSync(`${folder}/not`)).toBe(false)
    await store.save("k", "x")
    expect(existsSync(`${root}/k`)).toBe(true)
  }))

test("the environment names the store, and an explicit URL beats it", () =>
  within(async (folder) => {
    const env = { HOLDFAST_STORE: `file:${folder}/env` }
    await using store = await open(undefined, { env })
    expect(store.backend).toBe("disk")
    await using other = await open("mem:", { env })
    expect(other.backend).toBe("memory")
  }))

test("file: takes paths as they are, file:// percent-decodes them", () =>
  within(async (folder) => {
    await using plain = await open(`file:${folder}/a b%20c`)
    await plain.save("k", "plain")
    expect(existsSync(`${folder}/a b%20c/k`)).toBe(true)
    await using decoded = await open(new URL(`file://${folder}/a%20b%2520c`))
    expect(await (await decoded.load("k")).text()).toBe("plain")
  }))

test("mem: is a fresh store each time", async () => {
  await using one = await open("mem:")
  await using other = await open("mem:")
  await one.save("k", "x")
  expect(await other.exists("k")).toBe(false)
})

test("closing a store closes its backend, also when opening fails half way", async () => {
  let open = 0
  const backend = Effect.acquireRelease(
    Effect.tap(Memory.make(), () => Effect.sync(() => open++)),
    () => Effect.sync(() => open--),
  )
  {
    await using store = await openBackend(backend)
    expect(open).toBe(1)
    await store.save("k", "x")
  }
  expect(open).toBe(0)
  await failure(openBackend(backend, { policy: { concurrency: -1 } }))
  expect(open).toBe(0)
})
