/**
 * Cases of bodies: readers at once, cancelled and interrupted ones.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { StoreError } from "../../error.ts"
import { bytes, collect, expectBytes, expectSame, read } from "./tools.ts"
import { caseList, type Definition } from "./trial.ts"

const { add, definitions } = caseList()

add("get() serves two readers of one object at once", function* ({ backend, prefix, put }) {
  const data = bytes(8, 700_001)
  yield* put(`${prefix}a`, data)
  const results = yield* Effect.all([read(backend, `${prefix}a`), read(backend, `${prefix}a`, { offset: 17 })], {
    concurrency: "unbounded",
  })
  expectBytes(results[0].data, data, "the first reader")
  expectBytes(results[1].data, data.slice(17), "the second reader")
})

add(
  "get() lets its body be cancelled before, within and after its bytes",
  function* ({ backend, prefix, put, holds }) {
    const data = bytes(9, 600_000)
    yield* put(`${prefix}a`, data)
    for (const after of [0, 1, 300_000, 600_000]) {
      const { body } = yield* backend.get(`${prefix}a`)
      const reader = body.getReader()
      yield* Effect.promise(async () => {
        for (let seen = 0; seen < after;) {
          const { done, value } = await reader.read()
          if (done) throw new Error(`the body ended after ${seen} of ${data.length} bytes`)
          expectBytes(value, data.subarray(seen, seen + value.length), `the chunk at ${seen}`)
          seen += value.length
        }
        await reader.cancel(new Error("enough"))
      })
    }
    yield* holds(`${prefix}a`, data)
  },
)

add(
  "get() with an open body keeps no writer waiting, and its bytes stay those of one version",
  function* (t) {
    const key = `${t.prefix}a`
    const data = bytes(10, 900_000)
    yield* t.put(key, data)
    const { body } = yield* t.backend.get(key)
    const reader = body.getReader()
    const first = yield* Effect.promise(() => reader.read())
    yield* t.put(key, bytes(11, 900_000))
    yield* t.backend.remove(key)
    yield* t.put(key, bytes(12, 5))
    reader.releaseLock()
    // A remote body may break here, but it may not go on with other bytes.
    const rest = yield* Effect.result(Effect.tryPromise({ try: () => collect(body), catch: (error) => error }))
    if (Result.isSuccess(rest)) {
      const all = new Uint8Array(first.value!.length + rest.success.length)
      all.set(first.value!)
      all.set(rest.success, first.value!.length)
      expectBytes(all, data, "the version that was opened")
    } else if (!StoreError.is(rest.failure)) throw new Error(`the body failed with ${rest.failure}, no StoreError`)
    yield* t.holds(key, bytes(12, 5))
  },
)

add(
  "get() sees the old or the new object, never a mix, while it is overwritten",
  function* ({ backend, prefix, put }) {
    const key = `${prefix}a`
    const rounds = 20
    const content = (version: number) => bytes(version, 50_000 + version * 1000)
    const write = (version: number) => put(key, content(version), { metadata: { version: String(version) } })
    yield* write(0)
    const writer = yield* Effect.forkChild(Effect.gen(function* () {
      for (let version = 1; version <= rounds; version++) {
        yield* write(version)
        yield* Effect.yieldNow
      }
    }))
    const reader = Effect.gen(function* () {
      for (let seen = 0; seen < rounds;) {
        const { info, data } = yield* read(backend, key)
        const version = Number(info.metadata["version"])
        if (version < seen) throw new Error(`version ${version} was read after version ${seen}`)
        expectBytes(data, content(version), `the bytes beside the metadata of version ${version}`)
        seen = version
        yield* Effect.yieldNow
      }
    })
    yield* Effect.all([reader, reader, Fiber.join(writer)], { concurrency: "unbounded" })
  },
)

add("put() that is interrupted leaves the whole object or none", function* ({ backend, prefix, put }) {
  for (let turns = 0; turns < 8; turns++) {
    const key = `${prefix}${turns}`
    const data = bytes(turns, 300_000)
    const fiber = yield* Effect.forkChild(put(key, data))
    for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
    yield* Fiber.interrupt(fiber)
    const found = yield* Effect.result(read(backend, key))
    if (Result.isSuccess(found)) expectBytes(found.success.data, data, "the bytes of an interrupted put")
    else expectSame(found.failure.reason, "NotFound", "the reason after an interrupted put")
  }
})

/** These cases. */
export const bodiesCases: ReadonlyArray<Definition> = definitions
