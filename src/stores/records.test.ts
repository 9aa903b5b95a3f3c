import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Backend } from "../backend.ts"
import * as Memory from "../backends/memory.ts"
import { StoreError } from "../error.ts"
import { makeObjectStore, type ObjectStoreService } from "../object-store.ts"
import { workersRunning } from "../streams/codec-workers.ts"
import {
  findRecord,
  idFlaw,
  maxRecordBytes,
  parseJson,
  readRecord,
  readRecords,
  type RecordFormat,
  updateRecord,
  writeRecord,
} from "./records.ts"

interface Counter {
  readonly count: number
}

const format: RecordFormat<Counter> = {
  what: "counter",
  encode: (value) => JSON.stringify(value),
  decode: (bytes) => {
    const value = parseJson(bytes)
    if (typeof (value as Counter | null)?.count !== "number") throw new Error("it has no count")
    return value as Counter
  },
}

const open = (change: (backend: Backend) => Backend = (backend) => backend): Promise<ObjectStoreService> =>
  Effect.runPromise(Effect.flatMap(Memory.make(), (backend) => makeObjectStore(change(backend))))

const failure = (effect: Effect.Effect<unknown, StoreError>): Promise<StoreError> =>
  Effect.runPromise(Effect.flip(effect))

test("an id that would leave its place in the tree is refused with what is wrong with it", () => {
  const bad = ["", ".", "..", "a/b", "../x", "a\\b", "a\0b", "a\nb", "\ud800", "x".repeat(1025), 7, null, undefined]
  for (const id of bad) expect(idFlaw("jobId", id)).toMatch(/^jobId /)
  for (const id of ["a", "a.b", "..a", "job:1|x", "ü", "x".repeat(255)]) expect(idFlaw("jobId", id)).toBeUndefined()
})

test("a record comes back with the etag of its write; a missing one is NotFound, or undefined where that is fine", async () => {
  const store = await open()
  const written = await Effect.runPromise(writeRecord(store, "a", format, { count: 1 }))
  const read = await Effect.runPromise(readRecord(store, "a", format))
  expect(read.value).toEqual({ count: 1 })
  expect(read.etag).toBe(written.etag)
  expect((await failure(readRecord(store, "b", format))).reason).toBe("NotFound")
  expect(await Effect.runPromise(findRecord(store, "b", format))).toBeUndefined()
})

test("what is no such record is Corrupt and names its key: not JSON, not UTF-8, another shape", async () => {
  const store = await open()
  for (const bytes of ["{", new Uint8Array([0x22, 0xff, 0x22]), "{}", ""]) {
    await Effect.runPromise(store.save("bad", bytes))
    const error = await failure(readRecord(store, "bad", format))
    expect([error.reason, error.key]).toEqual(["Corrupt", "bad"])
    expect(error.message).toContain("this is no counter")
  }
})

test("a value that JSON cannot hold is refused and what was there stays", async () => {
  const store = await open()
  await Effect.runPromise(writeRecord(store, "a", format, { count: 1 }))
  const endless: { count: number; self?: unknown } = { count: 2 }
  endless.self = endless
  expect((await failure(writeRecord(store, "a", format, endless))).reason).toBe("InvalidInput")
  expect((await Effect.runPromise(readRecord(store, "a", format))).value).toEqual({ count: 1 })
})

test("an object too large to hold in memory is TooLarge, also one that is small as it is stored", async () => {
  const store = await open()
  for (const compression of ["none", "gzip"] as const) {
    await Effect.runPromise(store.save("large", new Uint8Array(maxRecordBytes + 1), { compression }))
    expect((await failure(readRecord(store, "large", format))).reason).toBe("TooLarge")
  }
  // Deno encodes large objects on workers, which stay for a moment.
  while (workersRunning()) await new Promise((resolve) => setTimeout(resolve, 20))
})

test("8 writers of 200 changes each lose none", async () => {
  const store = await open()
  const change = updateRecord(
    store,
    "a",
    format,
    (current) => Effect.succeed({ count: (current?.value.count ?? 0) + 1 }),
  )
  await Effect.runPromise(
    Effect.all(Array.from({ length: 8 }, () => Effect.repeat(change, { times: 199 })), { concurrency: "unbounded" }),
  )
  expect((await Effect.runPromise(readRecord(store, "a", format))).value.count).toBe(1600)
}, 60_000)

test("a change that returns what it was given writes nothing; one that fails changes nothing", async () => {
  const store = await open()
  const { etag } = await Effect.runPromise(writeRecord(store, "a", format, { count: 1 }))
  const same = await Effect.runPromise(updateRecord(store, "a", format, (current) => Effect.succeed(current!.value)))
  expect(same.etag).toBe(etag)
  const refused = await Effect.runPromise(Effect.flip(updateRecord(store, "a", format, () => Effect.fail("no"))))
  expect(refused).toBe("no")
  expect((await Effect.runPromise(readRecord(store, "a", format))).etag).toBe(etag)
})

test("a conflict that lasts is told at once; one that passes starts the change again", async () => {
  for (const [transient, puts] of [[false, 1], [true, 3]] as const) {
    let tried = 0
    const conflict = new StoreError({ reason: "Conflict", detail: "in the way", transient })
    const store = await Effect.runPromise(Effect.flatMap(Memory.make(), (backend) =>
      makeObjectStore({
        ...backend,
        put: (key, bytes, options) =>
          Effect.suspend(() => ++tried < 3 ? Effect.fail(conflict) : backend.put(key, bytes, options)),
      }, { policy: { retry: "none" } })))
    const result = await Effect.runPromise(
      Effect.result(updateRecord(store, "a", format, () => Effect.succeed({ count: 1 }))),
    )
    expect([Result.isSuccess(result), tried]).toEqual([transient, puts])
  }
})

test("a store without conditions refuses exact changes, unless there is one writer", async () => {
  const store = await open((backend) => ({
    ...backend,
    capabilities: {
      ...backend.capabilities,
      conditional: { create: false, replace: false, complete: false, copy: false, remove: false },
    },
  }))
  const change = (soleWriter: boolean) =>
    updateRecord(store, "a", format, (current) => Effect.succeed({ count: (current?.value.count ?? 0) + 1 }), {
      soleWriter,
    })
  expect((await failure(change(false))).reason).toBe("Unsupported")
  await Effect.runPromise(change(true))
  expect((await Effect.runPromise(change(true))).value.count).toBe(2)
})

test("a listing reads each record once and in order; a bad one is its own error, one gone meanwhile is left out", async () => {
  const store = await open()
  for (const name of ["r/1", "r/3", "r/4"]) await Effect.runPromise(writeRecord(store, name, format, { count: 1 }))
  await Effect.runPromise(store.save("r/2", "not a record"))
  const entries = Stream.tap(store.list({ prefix: "r/" }), ({ key }) => key === "r/4" ? store.remove(key) : Effect.void)
  const listed = await Effect.runPromise(Stream.runCollect(readRecords(store, entries, format)))
  expect(listed.map((one) => Result.isSuccess(one) ? one.success.key : `${one.failure.reason} ${one.failure.key}`))
    .toEqual(["r/1", "Corrupt r/2", "r/3"])
})
