/** Migrations: what is copied, what stays, and what happens when one is killed in the middle. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Backend } from "./backend.ts"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import { migrate, type Migrated, type MigrateOptions, MigrateTally } from "./migrate.ts"
import { makeObjectStore, type ObjectStoreService } from "./object-store.ts"

const open = (change: (backend: Backend) => Backend = (backend) => backend): Promise<ObjectStoreService> =>
  Effect.runPromise(
    Effect.flatMap(Memory.make(), (backend) => makeObjectStore(change(backend), { policy: { retry: "none" } })),
  )

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

const outcomes = async (
  from: ObjectStoreService,
  to: ObjectStoreService,
  options?: MigrateOptions,
): Promise<Record<string, Migrated["outcome"]>> => {
  const all = await run(Stream.runCollect(migrate(from, to, options)))
  return Object.fromEntries(all.map(({ key, outcome }) => [key, outcome]))
}

const textOf = async (store: ObjectStoreService, key: string): Promise<string> =>
  await (await run(store.load(key))).text()

test("every object goes over with its metadata, as it is stored; a second run finds all of it", async () => {
  const [from, to] = [await open(), await open()]
  await run(from.save("a/1", "one", { metadata: { by: "me" }, contentType: "text/plain" }))
  await run(from.save("a/2", "two".repeat(1000), { compression: "zstd" }))
  await run(from.save("b", "three", { compression: "none" }))
  expect(await outcomes(from, to, { verify: true })).toEqual({ "a/1": "copied", "a/2": "copied", b: "copied" })
  for (const key of ["a/1", "a/2", "b"]) {
    const [here, there] = [await run(from.stat(key)), await run(to.stat(key))]
    const { size, crc32, codec, metadata, contentType, length } = here
    expect(there).toMatchObject({ size, crc32, metadata, contentType, length })
    expect(there.codec).toBe(codec)
    expect(await textOf(to, key)).toBe(await textOf(from, key))
  }
  expect(await outcomes(from, to)).toEqual({ "a/1": "present", "a/2": "present", b: "present" })
})

test("what is there with other bytes stays unless it is to be replaced; a dry run changes nothing", async () => {
  const [from, to] = [await open(), await open()]
  await run(from.save("new", "n"))
  await run(from.save("same", "s"))
  await run(from.save("other", "mine", { compression: "none" }))
  await run(to.save("same", "s"))
  await run(to.save("other", "hers", { compression: "none" }))
  expect(await outcomes(from, to, { dryRun: true, replace: true }))
    .toEqual({ new: "missing", other: "different", same: "present" })
  expect(await run(to.exists("new"))).toBe(false)
  expect(await outcomes(from, to)).toEqual({ new: "copied", other: "different", same: "present" })
  expect(await textOf(to, "other")).toBe("hers")
  expect(await outcomes(from, to, { replace: true })).toEqual({ new: "present", other: "copied", same: "present" })
  expect(await textOf(to, "other")).toBe("mine")
})

test("objects whose digests are not known are compared by their bytes", async () => {
  const unknown = (backend: Backend): Backend => ({
    ...backend,
    stat: (key, options) =>
      Effect.map(backend.stat(key, options), (info) => ({ ...info, crc32: undefined, sha256: undefined })),
  })
  const [from, to] = [await open(unknown), await open(unknown)]
  const large = new Uint8Array(300_000).map((_, i) => i)
  const flipped = large.with(299_999, 1)
  for (const [key, there] of [["same", large], ["flipped", flipped], ["shorter", large.subarray(1)]] as const) {
    await run(from.save(key, large, { compression: "none" }))
    await run(to.save(key, there, { compression: "none" }))
  }
  expect(await outcomes(from, to)).toEqual({ same: "present", flipped: "different", shorter: "different" })
})

test("a migration that dies goes on where it stopped, wherever that was", async () => {
  const keys = Array.from({ length: 12 }, (_, i) => `k/${i}`)
  const from = await open()
  for (const key of keys) await run(from.save(key, `the bytes of ${key}`))
  for (let survives = 0; survives <= keys.length; survives++) {
    let left = survives
    const dead = new StoreError({ reason: "Unavailable", detail: "the store has died", transient: false })
    let dying = true
    const to = await open((backend) => ({
      ...backend,
      put: (key, bytes, options) =>
        Effect.suspend(() => dying && left-- <= 0 ? Effect.fail(dead) : backend.put(key, bytes, options)),
    }))
    const first = await run(Effect.result(Stream.runCollect(migrate(from, to))))
    expect(first._tag).toBe(survives < keys.length ? "Failure" : "Success")
    dying = false
    const copied = (await run(Stream.runCollect(to.list()))).length
    expect(copied).toBe(survives)
    const second = await outcomes(from, to)
    expect(Object.values(second).filter((outcome) => outcome === "present").length).toBe(copied)
    expect(Object.keys(second).toSorted()).toEqual(keys.toSorted())
    for (const key of keys) expect(await textOf(to, key)).toBe(`the bytes of ${key}`)
  }
})

test("one object that cannot be copied does not keep the others; the tally says that it is not complete", async () => {
  const from = await open((backend) => ({
    ...backend,
    get: (key, options) =>
      key === "bad"
        ? Effect.fail(new StoreError({ reason: "Corrupt", detail: "damaged", key, operation: "get" }))
        : backend.get(key, options),
  }))
  const to = await open()
  for (const key of ["a", "bad", "c"]) await run(from.save(key, key))
  const tally = new MigrateTally()
  const all = await run(Stream.runCollect(migrate(from, to)))
  for (const one of all) tally.add(one)
  expect(all.find(({ key }) => key === "bad")?.error?.reason).toBe("Corrupt")
  expect(tally.complete).toBe(false)
  expect([tally.report.copied.objects, tally.report.failed.objects]).toEqual([2, 1])
  expect(await run(to.exists("bad"))).toBe(false)
})

test("a writer who is faster than the migration keeps what he wrote", async () => {
  const from = await open()
  await run(from.save("k", "old"))
  const raced = await open((backend) => ({
    ...backend,
    put: (key, bytes, options) =>
      options.ifNoneMatch === undefined ? backend.put(key, bytes, options) : Effect.andThen(
        backend.put(key, new TextEncoder().encode("faster"), { writeId: crypto.randomUUID(), crc32: 0x47ce5315 }),
        backend.put(key, bytes, options),
      ),
  }))
  const [only] = await run(Stream.runCollect(migrate(from, raced)))
  expect([only?.outcome, only?.error?.reason]).toEqual(["failed", "AlreadyExists"])
  expect(await textOf(raced, "k")).toBe("faster")
})
