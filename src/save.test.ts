/** What a save does when the backend under it fails, loses replies, or has limits. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { Backend, PartRules } from "./backend.ts"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import type { SaveOptions } from "./options.ts"
import { openBackend, type Store } from "./store.ts"
import type { PolicyOptions } from "./policy.ts"
import { partSizeOf } from "./save.ts"
import { fail, failAfter, type Faulty, faulty, flip, hang, hangAfter, type Rule } from "./testing/faulty.ts"

const quick: PolicyOptions = { retry: "none", attemptTimeout: 40 }

const storeWith = async (
  rules: ReadonlyArray<Rule>,
  policy: PolicyOptions = {},
  change: (backend: Backend) => Backend = (backend) => backend,
): Promise<{ store: Store; faults: Faulty; inner: Backend }> => {
  const inner = await Effect.runPromise(Memory.make())
  const faults = faulty(change(inner), { rules, seed: 1 })
  return { faults, inner, store: await openBackend(Effect.succeed(faults.backend), { policy, compression: "none" }) }
}

const failure = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(() => {
    throw new Error("succeeded where it should have failed")
  }, (error) => {
    if (StoreError.is(error)) return error
    throw error
  })

/** A source of `count` chunks of `size` bytes. */
async function* chunks(count: number, size = 100): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield new Uint8Array(size).fill(i)
}

const parts: SaveOptions = { partSize: 100, concurrency: 2 }

const broken = new StoreError({ reason: "Unavailable", detail: "the folder could not be flushed", transient: false })

test("fault 29: a create whose reply is lost and whose retry meets itself has succeeded", async () => {
  const { store, faults } = await storeWith([{ on: "put", nth: 1, fault: failAfter() }])
  const info = await store.save("k", "mine", { ifNoneMatch: "*" })
  expect(faults.calls("put")).toBe(2)
  expect(info.writeId).toBeDefined()
  expect(await (await store.load("k")).text()).toBe("mine")
})

test("fault 27: a complete whose reply is lost and whose retry finds no upload has succeeded", async () => {
  const { store, faults } = await storeWith([{ on: "completeUpload", nth: 1, fault: failAfter() }])
  const info = await store.save("k", chunks(5), parts)
  expect(faults.calls("completeUpload")).toBe(2)
  expect(info.size).toBe(500)
})

test("fault 27: a complete that is never answered is settled by its write id", async () => {
  const { store } = await storeWith([{ on: "completeUpload", fault: hangAfter() }], quick)
  expect((await store.save("k", chunks(5), parts)).size).toBe(500)
})

test("fault 28: a complete whose object was replaced since is CommitUnknown, never success", async () => {
  const { store, inner } = await storeWith([
    { on: "completeUpload", nth: 1, fault: failAfter() },
    { on: "stat", nth: 1, fault: { kind: "delay", millis: 30 } },
  ], { retry: "none" })
  const saving = failure(store.save("k", chunks(5), parts))
  const other = (): Promise<unknown> =>
    Effect.runPromise(
      Effect.delay(
        Effect.flatMap(
          inner.stat("k"),
          () => inner.put("k", new Uint8Array(1), { writeId: "other", crc32: 0xd202ef8d }),
        ),
        5,
      ).pipe(Effect.retry({ times: 20 })),
    )
  await other()
  expect((await saving).reason).toBe("CommitUnknown")
  expect((await store.stat("k")).writeId).toBe("other")
})

test("fault 28: a conditional put that met another object after a lost reply is CommitUnknown", async () => {
  const { store, inner } = await storeWith([{ on: "put", nth: 1, fault: fail() }])
  await Effect.runPromise(inner.put("k", new Uint8Array(1), { writeId: "other", crc32: 0xd202ef8d }))
  const error = await failure(store.save("k", "mine", { ifNoneMatch: "*" }))
  expect(error.reason).toBe("CommitUnknown")
  expect((error.cause as StoreError).reason).toBe("AlreadyExists")
})

test("a refusal on the first attempt is just that", async () => {
  const { store } = await storeWith([])
  await store.save("k", "theirs")
  expect((await failure(store.save("k", "mine", { ifNoneMatch: "*" }))).reason).toBe("AlreadyExists")
})

test("an unconditional put that never got through stays what it was: transient", async () => {
  const { store } = await storeWith([{ on: "put", fault: hang() }], quick)
  const error = await failure(store.save("k", "mine"))
  expect([error.reason, error.ambiguous, error.transient]).toEqual(["Timeout", true, true])
})

test("fault 29: copy and move are settled by their write id as well", async () => {
  const { store, faults } = await storeWith([
    { on: "copy", nth: 1, fault: failAfter() },
    { on: "move", nth: 1, fault: failAfter() },
  ])
  await store.save("a", "hello")
  await store.copy("a", "b", { ifNoneMatch: "*" })
  const moved = await store.move("a", "c")
  expect(faults.calls("move")).toBe(2)
  expect(await store.exists("a")).toBe(false)
  expect((await store.stat("c")).etag).toBe(moved.etag)
})

test("fault 68: a write that is in sight but could not be made safe is no success", async () => {
  const { store } = await storeWith([{ on: "put", fault: failAfter(broken.with({ ambiguous: true })) }])
  const error = await failure(store.save("k", "x"))
  expect([error.reason, error.ambiguous]).toEqual(["Unavailable", true])
})

test("a remove with a condition whose reply is lost is CommitUnknown", async () => {
  const { store } = await storeWith([{ on: "remove", nth: 1, fault: failAfter() }])
  const { etag } = await store.save("k", "x")
  expect((await failure(store.remove("k", { ifMatch: etag }))).reason).toBe("CommitUnknown")
})

test("fault 33: when a part fails for good the others settle, the upload is aborted, and the first error wins", async () => {
  const forbidden = new StoreError({ reason: "Forbidden", detail: "no" })
  const { store, faults } = await storeWith([
    { on: "putPart", nth: 3, fault: fail(forbidden) },
    { on: "abortUpload", fault: failAfter(broken) },
  ])
  let returned = false
  const source = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks(1000)
    } finally {
      returned = true
    }
  }
  await store.save("k", "old")
  const error = await failure(store.save("k", source(), parts))
  expect(error.reason).toBe("Forbidden")
  expect(returned).toBe(true)
  expect(faults.calls("abortUpload")).toBe(1)
  expect(faults.calls("completeUpload")).toBe(0)
  expect(faults.calls("putPart")).toBeLessThan(8)
  expect(await (await store.load("k")).text()).toBe("old")
})

test("fault 36: an upload that cannot be completed is aborted", async () => {
  const { store, faults } = await storeWith([
    { on: "completeUpload", fault: fail(new StoreError({ reason: "Conflict", detail: "busy" })) },
  ])
  expect((await failure(store.save("k", chunks(3), parts))).reason).toBe("Conflict")
  expect(faults.calls("abortUpload")).toBe(1)
})

test("fault 90: interruption in each phase aborts the upload and leaves nothing under the key", async () => {
  for (const on of ["createUpload", "putPart", "completeUpload"] as const) {
    const { store, faults } = await storeWith([{ on, fault: hang() }])
    const controller = new AbortController()
    const saving = failure(store.save("k", chunks(5), { ...parts, signal: controller.signal }))
    while (faults.calls(on) === 0) await Promise.resolve().then(() => new Promise((r) => setTimeout(r, 1)))
    controller.abort()
    expect((await saving).reason).toBe("Aborted")
    expect(faults.calls("abortUpload")).toBe(on === "createUpload" ? 0 : 1)
    expect(await store.exists("k")).toBe(false)
  }
})

test("fault 106: a bit flipped on the way up is refused where the place checks, and sent again", async () => {
  const { store } = await storeWith([{ on: ["put", "putPart"], fault: flip(3) }])
  expect((await failure(store.save("k", "hello"))).reason).toBe("Corrupt")
  expect((await failure(store.save("k", chunks(5), parts))).reason).toBe("Corrupt")
  expect(await store.exists("k")).toBe(false)
})

test("fault 108: parts that arrive late and out of order still make the object", async () => {
  const { store } = await storeWith([
    { on: "putPart", nth: [1, 4], fault: { kind: "delay", millis: 20 } },
    { on: "putPart", nth: [2], fault: fail() },
    { on: "putPart", nth: [6], fault: failAfter() },
  ])
  await store.save("k", chunks(9, 77), { partSize: 100, concurrency: 4 })
  const loaded = await (await store.load("k")).bytes()
  expect(loaded.length).toBe(9 * 77)
  for (let i = 0; i < loaded.length; i++) expect(loaded[i]).toBe(Math.floor(i / 77))
})

test("a save never has more parts in flight than asked for, and one more being filled", async () => {
  let inFlight = 0
  let most = 0
  let ahead = 0
  let pulled = 0
  let stored = 0
  const { store } = await storeWith([], {}, (inner) => ({
    ...inner,
    putPart: (upload, part, bytes) =>
      Effect.suspend(() => {
        most = Math.max(most, ++inFlight)
        return Effect.andThen(Effect.sleep(2), inner.putPart(upload, part, bytes))
      }).pipe(Effect.ensuring(Effect.sync(() => {
        inFlight--
        stored++
      }))),
  }))
  const source = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks(30)) {
      ahead = Math.max(ahead, ++pulled - stored)
      yield chunk
    }
  }
  await store.save("k", source(), { partSize: 100, concurrency: 3 })
  expect(most).toBe(3)
  // Three in flight, one filled and waiting, one chunk looked ahead.
  expect(ahead).toBeLessThanOrEqual(5)
})

const limited = (rules: Partial<PartRules> | undefined, maxPut = 1000) => (inner: Backend): Backend => ({
  ...inner,
  capabilities: { ...inner.capabilities, maxPut, parts: rules && { ...inner.capabilities.parts!, ...rules } },
})

test("fault 38: an object that cannot fit is TooLarge before anything is sent, with the limit", async () => {
  const rules = { minSize: 10, maxSize: 100, recommendedSize: 50, maxCount: 4, equalSize: true }
  const { store, faults } = await storeWith([], {}, limited(rules))
  const known = await failure(store.save("k", chunks(10), { expectedSize: 1000 }))
  expect(known.reason).toBe("TooLarge")
  expect(known.message).toContain("400 in 4 parts")
  expect(faults.calls("createUpload")).toBe(0)
  const unknown = await failure(store.save("k", chunks(10)))
  expect(unknown.reason).toBe("TooLarge")
  expect(unknown.message).toContain("4 parts")
  expect(faults.calls("abortUpload")).toBe(1)
  expect((await store.save("k", chunks(4), { expectedSize: 400 })).size).toBe(400)
  for (const partSize of [9, 101]) {
    expect((await failure(store.save("k", "x", { partSize }))).message).toContain("from 10 to 100")
  }
})

test("a backend without uploads takes what one put holds, and says TooLarge beyond", async () => {
  const { store, faults } = await storeWith([], {}, limited(undefined, 250))
  expect((await store.save("k", chunks(2))).size).toBe(200)
  expect((await store.save("k", new Uint8Array(250))).size).toBe(250)
  expect((await failure(store.save("k", chunks(3)))).reason).toBe("TooLarge")
  expect((await failure(store.save("k", new Uint8Array(251)))).reason).toBe("TooLarge")
  expect(faults.calls("createUpload")).toBe(0)
})

test("a condition that the backend cannot check is Unsupported before any I/O", async () => {
  const none = { create: false, replace: false, complete: false, copy: false, remove: false }
  const { store, faults } = await storeWith([], {}, (inner) => ({
    ...inner,
    capabilities: { ...inner.capabilities, conditional: none },
  }))
  const refused = [
    store.save("k", "x", { ifNoneMatch: "*" }),
    store.save("k", "x", { ifMatch: "e" }),
    store.remove("k", { ifMatch: "e" }),
    store.copy("k", "l", { ifNoneMatch: "*" }),
  ]
  for (const promise of refused) expect((await failure(promise)).reason).toBe("Unsupported")
  for (const operation of ["put", "remove", "copy", "stat"] as const) expect(faults.calls(operation)).toBe(0)

  const onlyPut = await storeWith([], {}, (inner) => ({
    ...inner,
    capabilities: { ...inner.capabilities, conditional: { ...inner.capabilities.conditional, complete: false } },
  }))
  expect((await onlyPut.store.save("k", "x", { ifNoneMatch: "*" })).size).toBe(1)
  const error = await failure(onlyPut.store.save("l", chunks(3), { ...parts, ifNoneMatch: "*" }))
  expect(error.reason).toBe("Unsupported")
  expect(error.hint).toContain("partSize")
  expect(onlyPut.faults.calls("createUpload")).toBe(0)
})

test("copy and move go through this program where the backend cannot do them", async () => {
  const { store, faults } = await storeWith([], { concurrency: 1 }, (inner) => ({
    ...inner,
    copy: undefined,
    move: undefined,
    capabilities: { ...inner.capabilities, copy: false, move: false },
  }))
  await store.save("a", chunks(10), { ...parts, metadata: { k: "v" }, contentType: "text/plain", digest: "sha256" })
  const copied = await store.copy("a", "b")
  expect(copied.metadata).toEqual({ k: "v" })
  expect(copied.sha256).toBe((await store.stat("a")).sha256!)
  await store.move("b", "c")
  expect(await store.exists("b")).toBe(false)
  expect((await store.stat("c")).size).toBe(1000)
  expect(faults.bodies().open).toBe(0)
})

test("partSizeOf() grows where parts are counted, so that 5 TiB fit, and nowhere else", () => {
  const MiB = 2 ** 20
  const s3: PartRules = {
    minSize: 5 * MiB,
    maxSize: 5 * 1024 * MiB,
    recommendedSize: 8 * MiB,
    maxCount: 10_000,
    equalSize: false,
    sequential: false,
    concurrency: 4,
  }
  let total = 0
  for (let n = 1; n <= s3.maxCount; n++) total += partSizeOf(s3, 8 * MiB, n)
  expect(total).toBeGreaterThan(5 * 2 ** 40)
  expect(partSizeOf(s3, 8 * MiB, 1000)).toBe(8 * MiB)
  expect(partSizeOf({ ...s3, equalSize: true }, 8 * MiB, 9999)).toBe(8 * MiB)
  expect(partSizeOf({ ...s3, maxCount: Infinity }, 8 * MiB, 99_999)).toBe(8 * MiB)
})
