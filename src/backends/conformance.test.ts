import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import type { Backend, WriteCondition } from "../backend.ts"
import { StoreError } from "../error.ts"
import { withPolicy } from "../policy.ts"
import { crc32 } from "../streams/crc32.ts"
import { delay, fail, faulty, truncate } from "../testing/faulty.ts"
import { bytes, collect, conformance, expectBytes, expectReason, expectSame, register } from "./conformance.ts"
import * as Disk from "./disk/mod.ts"
import * as Memory from "./memory.ts"

// Every backend of this repository that needs no server.
const wrapped = (rules: Parameters<typeof faulty>[1]) =>
  Effect.map(Memory.make(), (backend) => faulty(backend, rules).backend)

register(test, await conformance("memory", Memory.make))
register(test, await conformance("memory in faulty()", () => wrapped({})))
register(
  test,
  await conformance("memory with delays", () => wrapped({ seed: 1, rules: [{ probability: 0.2, fault: delay(1) }] })),
)

const tempFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(`${tmpdir()}/holdfast-conformance-`)),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true })),
)
const disk = () => Effect.flatMap(tempFolder, (root) => Disk.make({ root }))

register(test, await conformance("disk", disk))

// Behind the policy as in every store, on backends that fail now and then before they have done anything.
const unwell = (backend: Backend): Backend =>
  withPolicy(faulty(backend, { seed: 3, rules: [{ probability: 0.1, fault: fail() }] }).backend, {
    retry: Schedule.spaced(1).pipe(Schedule.upTo({ times: 20 })),
    breaker: "none",
  })
register(test, await conformance("unwell memory behind policy", () => Effect.map(Memory.make(), unwell)))
register(test, await conformance("unwell disk behind policy", () => Effect.map(disk(), unwell)))

// A backend that can do little and says so: the cases for what it refuses, and parts of 70,000 bytes at least.
const refuse = (operation: string) =>
  Effect.fail(new StoreError({ reason: "Unsupported", operation, detail: "this backend has no such thing" }))
const conditional = (options?: WriteCondition) => options?.ifMatch !== undefined || options?.ifNoneMatch !== undefined

const modest = (b: Backend): Backend => ({
  ...b,
  capabilities: {
    ...b.capabilities,
    parts: { ...b.capabilities.parts!, minSize: 70_000, equalSize: true, sequential: true, concurrency: 1 },
    conditional: { create: false, replace: false, complete: false, copy: false, remove: false },
    enforcedChecksum: false,
    move: false,
  },
  put: (key, data, options) => conditional(options) ? refuse("put") : b.put(key, data, options),
  remove: (key, options) => conditional(options) ? refuse("remove") : b.remove(key, options),
  completeUpload: (upload, parts, options) =>
    conditional(options) ? refuse("completeUpload") : b.completeUpload(upload, parts, options),
  copy: (from, to, options) => conditional(options) ? refuse("copy") : b.copy!(from, to, options),
  move: undefined,
})

const withoutUploads = (b: Backend): Backend => ({
  ...b,
  capabilities: { ...b.capabilities, parts: undefined, maxPut: 100_000 },
  createUpload: () => refuse("createUpload"),
})

register(test, await conformance("modest memory", () => Effect.map(Memory.make(), modest)))
register(test, await conformance("memory without uploads", () => Effect.map(Memory.make(), withoutUploads)))

// The suite itself: a backend with one bug must fail the case that is about it.

type Bug = (backend: Backend) => Partial<Backend>

const mutants: ReadonlyArray<[bug: string, caughtBy: string, make: Bug]> = [
  ["keeps the caller's buffer for its answer", "put() copies: the caller may overwrite its buffer", (b) => {
    const buffers = new Map<string, Uint8Array>()
    return {
      put: (key, data, options) => {
        buffers.set(key, data)
        return b.put(key, data, options)
      },
      get: (key, options) =>
        Effect.map(b.get(key, options), (result) => ({
          ...result,
          body: new Blob([new Uint8Array(buffers.get(key)!)]).stream(),
        })),
    }
  }],
  ["hands out the bytes it stores", "get() hands out bytes and facts that cannot change", (b) => {
    const stored = new Map<string, Uint8Array>()
    return {
      put: (key, data, options) => {
        stored.set(key, data.slice())
        return b.put(key, data, options)
      },
      get: (key, options) =>
        Effect.map(b.get(key, options), (result) => ({
          ...result,
          body: new ReadableStream({
            start: (controller) => {
              controller.enqueue(stored.get(key)!)
              controller.close()
            },
          }),
        })),
    }
  }],
  ["ends bodies early", "put() stores an object that stat, get and list agree on", (b) => ({
    get: faulty(b, { rules: [{ fault: truncate(99) }] }).backend.get,
  })],
  ["is off by one at the end of a range", "every boundary length and range", (b) => ({
    get: (key, options) =>
      b.get(key, { ...options, length: options?.length === undefined ? undefined : options.length + 1 }),
  })],
  ["ignores ifMatch on get", "get() with ifMatch", (b) => ({
    get: (key, options) => b.get(key, { ...options, ifMatch: undefined }),
  })],
  ["ignores ifMatch on put", "put() with ifMatch loses no update", (b) => ({
    put: (key, data, options) => b.put(key, data, { ...options, ifMatch: undefined }),
  })],
  ["checks ifNoneMatch before the write, not with it", "exactly one of 16 writers", (b) => ({
    put: (key, data, { ifNoneMatch, ...options }) =>
      ifNoneMatch === undefined
        ? b.put(key, data, options)
        : Effect.matchEffect(Effect.andThen(Effect.yieldNow, b.stat(key)), {
          onSuccess: () => b.put(key, data, { ...options, ifNoneMatch }),
          onFailure: () => Effect.andThen(Effect.yieldNow, b.put(key, data, options)),
        }),
  })],
  ["makes etags of contents", "gives every write its own etag", (b) => ({
    put: (key, data, options) => Effect.map(b.put(key, data, options), (info) => ({ ...info, etag: `${info.crc32}` })),
    stat: (key) => Effect.map(b.stat(key), (info) => ({ ...info, etag: `${info.crc32}` })),
  })],
  ["does not check the CRC-32", "put() refuses bytes that do not match", (b) => ({
    put: (key, data, options) =>
      Effect.catch(b.put(key, data, options), () => b.put(key, data, { ...options, crc32: crc32(data) })),
  })],
  ["loses metadata that is empty", "put() keeps metadata", (b) => ({
    put: (key, data, options) =>
      b.put(key, data, {
        ...options,
        metadata: Object.fromEntries(Object.entries(options.metadata ?? {}).filter(([, value]) => value !== "")),
      }),
  })],
  ["lists in the order of JavaScript", "list() orders keys by their UTF-8 bytes", (b) => ({
    list: (options) =>
      Effect.map(b.list(options), (page) => ({
        ...page,
        objects: page.objects.toSorted((x, y) => (x.key < y.key ? -1 : 1)),
      })),
  })],
  ["takes a prefix for a folder", "list() takes a prefix as text", (b) => ({
    list: (options) => b.list({ ...options, prefix: options?.prefix?.replace(/[^/]*$/, "") }),
  })],
  ["treats NFC and NFD as one key", "keys that look alike", (b) => ({
    put: (key, data, options) => b.put(key.normalize("NFC"), data, options),
    stat: (key) => b.stat(key.normalize("NFC")),
    get: (key, options) => b.get(key.normalize("NFC"), options),
  })],
  ["decodes percent signs in keys", "a key comes back as it was given", (b) => ({
    put: (key, data, options) => b.put(key.replaceAll("%25", "%"), data, options),
  })],
  ["shows an upload before it completes", "cannot be seen before it completes", (b) => ({
    putPart: (upload, part, data) =>
      Effect.tap(b.putPart(upload, part, data), () => b.put(upload.key, data, { writeId: "early", crc32: part.crc32 })),
  })],
  ["joins parts in the order they came", "takes its parts in reverse order", (b) => {
    const come = new Map<string, Array<{ number: number; data: Uint8Array<ArrayBuffer> }>>()
    return {
      putPart: (upload, part, data) => {
        come.set(upload.id, [...come.get(upload.id) ?? [], { number: part.number, data: new Uint8Array(data) }])
        return b.putPart(upload, part, data)
      },
      get: (key, options) =>
        Effect.gen(function* () {
          const result = yield* b.get(key, options)
          const parts = [...come.values()].find((all) =>
            all.reduce((sum, { data }) => sum + data.length, 0) === result.info.size && all.length > 1
          )
          if (parts === undefined || options !== undefined) return result
          return { ...result, body: new Blob(parts.map(({ data }) => data)).stream() }
        }),
    }
  }],
  ["moves by copying and removing the source first", "move() is atomic", (b) => ({
    move: (from, to, options) =>
      Effect.gen(function* () {
        const { body } = yield* b.get(from)
        const data = yield* Effect.promise(() => collect(body))
        yield* b.remove(from)
        yield* Effect.yieldNow
        yield* Effect.yieldNow
        return yield* b.put(to, data, { ...options, crc32: crc32(data) })
      }),
  })],
]

test.each(mutants)("conformance() catches a backend that %s", async (_, caughtBy, bug) => {
  const cases = await conformance("mutant", () => Effect.map(Memory.make(), (b) => ({ ...b, ...bug(b) })))
  const chosen = cases.filter(({ name }) => name.includes(caughtBy))
  expect(chosen.length).toBe(1)
  expect(await chosen[0]!.run().then(() => "passed", () => "failed")).toBe("failed")
})

test("conformance() lists a case that does not apply, with the reason", async () => {
  const poor = Effect.map(Memory.make(), (b): Backend => ({
    ...b,
    capabilities: { ...b.capabilities, move: false, enforcedChecksum: false },
    move: undefined,
  }))
  const cases = await conformance("poor", () => poor)
  const skipped = cases.filter((each) => each.skipped !== undefined)
  expect(cases.length).toBe((await conformance("memory", Memory.make)).length)
  expect(skipped.find(({ name }) => name.includes("move() is atomic"))?.skipped).toBe("the backend has no move")
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length)
  for (const each of skipped) await each.run()
})

test("register() hands cases that do not apply to skip or ignore, or else registers them with the reason", () => {
  const run = () => Promise.resolve()
  const cases = [{ name: "a", run }, { name: "b", run, skipped: "why" }]
  for (const way of ["skip", "ignore", undefined] as const) {
    const names: Array<string> = []
    const note = (kind: string) => (name: string) => void names.push(`${kind} ${name}`)
    register(Object.assign(note("test"), way === undefined ? {} : { [way]: note(way) }), cases)
    expect(names).toEqual(["test a", `${way ?? "test"} b (skipped: why)`])
  }
})

test("bytes() is the same for the same seed, and other for another", () => {
  expect(bytes(1, 5)).toEqual(bytes(1, 5))
  expect(bytes(1, 5)).toEqual(bytes(1, 9).slice(0, 5))
  expect(bytes(1, 500)).not.toEqual(bytes(2, 500))
  for (const seed of [0, 1, 2, 3]) expect(new Set(bytes(seed, 4096)).size).toBe(256)
})

test("expectBytes() says where two byte strings differ", () => {
  expectBytes(bytes(1, 3), bytes(1, 3), "x")
  expect(() => expectBytes(new Uint8Array([1, 2]), new Uint8Array([1, 3]), "x")).toThrow(
    "x: byte 1 of 2 is 2, expected 3",
  )
  expect(() => expectBytes(bytes(1, 3), bytes(1, 4), "x")).toThrow("x: 3 bytes, expected 4; the first 3 are right")
})

test("expectSame() compares data, whatever the order of its fields", () => {
  expectSame({ a: 1, b: [undefined] }, { b: [undefined], a: 1 }, "x")
  expect(() => expectSame({ a: 1 }, { a: undefined }, "x")).toThrow('x: got {"a":1}, expected {"a":"(undefined)"}')
})

test("expectReason() passes on the error, and throws for success and other reasons", async () => {
  const backend = await Effect.runPromise(Memory.make())
  const error = await Effect.runPromise(expectReason(backend.stat("a"), "NotFound"))
  expect(error.reason).toBe("NotFound")
  expect(Effect.runPromise(expectReason(backend.stat("a"), "Conflict"))).rejects.toThrow("expected Conflict")
  expect(Effect.runPromise(expectReason(backend.list(), "Conflict"))).rejects.toThrow("succeeded with")
})
