// What is true of the memory backend alone; `conformance.test.ts` proves the contract.
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import type { Backend } from "../backend.ts"
import { compareKeys } from "../key.ts"
import { bytes, expectReason, listAll, putOptions } from "./conformance.ts"
import * as Memory from "./memory.ts"

const withMemory = <A>(use: (backend: Backend) => Effect.Effect<A, unknown>): Promise<A> =>
  Effect.runPromise(Effect.flatMap(Memory.make(), use))

test("make() gives each caller a store of its own", () =>
  withMemory((one) =>
    Effect.gen(function* () {
      const two = yield* Memory.make()
      yield* one.put("a", bytes(1, 1), putOptions(bytes(1, 1)))
      yield* expectReason(two.stat("a"), "NotFound")
    })
  ))

test("put() takes the time from Effect's clock", () =>
  withMemory((backend) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_123)
      const { modified } = yield* backend.put("a", bytes(1, 1), putOptions(bytes(1, 1)))
      expect(modified.getTime()).toBe(1_700_000_000_123)
    }).pipe(Effect.provide(TestClock.layer()))
  ))

test("put() copies a Node Buffer too, whose slice() shares its memory", () =>
  withMemory((backend) =>
    Effect.gen(function* () {
      const data = Buffer.from("before")
      yield* backend.put("a", data, putOptions(data))
      data.write("after!")
      const { body } = yield* backend.get("a")
      expect(yield* Effect.promise(() => new Response(body).text())).toBe("before")
    })
  ))

test("get() hands out at most 256 KiB at once, across the borders of parts", () =>
  withMemory((backend) =>
    Effect.gen(function* () {
      const data = bytes(2, 1_000_000)
      const upload = yield* backend.createUpload("a", { writeId: "w" })
      const parts = yield* Effect.forEach([0, 300_000, 300_000, 700_000], (offset, index) => {
        const piece = data.subarray(offset, [300_000, 300_000, 700_000, 1_000_000][index])
        const { crc32 } = putOptions(piece)
        return backend.putPart(upload, { number: index + 1, offset, crc32 }, piece)
      })
      const { crc32 } = putOptions(data)
      yield* backend.completeUpload(upload, parts, { size: data.length, crc32 })
      const { body } = yield* backend.get("a", { offset: 100_000 })
      const sizes: Array<number> = []
      yield* Effect.promise(async () => {
        for await (const chunk of body) sizes.push(chunk.length)
      })
      expect(sizes).toEqual([200_000, 262_144, 137_856, 262_144, 37_856])
    })
  ))

test("errors say what was there and what was asked for", () =>
  withMemory((backend) =>
    Effect.gen(function* () {
      const data = new TextEncoder().encode("123456789")
      yield* backend.put("a", data, putOptions(data, { writeId: "w1" }))
      const message = (call: Effect.Effect<unknown, { readonly message: string }>) =>
        Effect.map(Effect.flip(call), (error) => error.message)
      expect(yield* message(backend.stat("b"))).toBe('Cannot stat "b": there is no such object')
      expect(yield* message(backend.get("a", { ifMatch: "w0" }))).toBe(
        'Cannot get "a": its etag is "w1", ifMatch asks for "w0"',
      )
      expect(yield* message(backend.get("a", { offset: 10 }))).toBe(
        'Cannot get "a": the object has 9 bytes, the range starts at 10',
      )
      expect(yield* message(backend.put("a", data, putOptions(data, { crc32: 1 })))).toBe(
        'Cannot put "a": the bytes have the CRC-32 cbf43926, 00000001 was announced',
      )
    })
  ))

test("list() refuses a cursor of another list", () =>
  withMemory((backend) =>
    Effect.gen(function* () {
      for (const cursor of ["", "x", "oother/key", "p"]) {
        yield* expectReason(backend.list({ prefix: "runs/", cursor }), "InvalidInput")
      }
    })
  ))

test("list() agrees with a filter over all keys, for any keys, prefix, delimiter and page size", async () => {
  const name = fc.string({ unit: fc.constantFrom("a", "b", "/", ".", "\uff5e", "\u{1f600}"), maxLength: 6 })
  const key = name.filter((text) => text !== "")
  const property = fc.asyncProperty(
    fc.uniqueArray(key, { maxLength: 40 }),
    fc.array(key, { maxLength: 10 }),
    name,
    fc.boolean(),
    fc.integer({ min: 1, max: 7 }),
    (keys, removed, prefix, fold, limit) =>
      withMemory((backend) =>
        Effect.gen(function* () {
          const data = bytes(0, 0)
          for (const each of [...keys, ...removed]) yield* backend.put(each, data, putOptions(data))
          yield* backend.removeMany(removed)
          const found = yield* listAll(backend, { prefix, delimiter: fold ? "/" : undefined, limit })
          const left = keys.filter((each) => !removed.includes(each) && each.startsWith(prefix)).sort(compareKeys)
          const borders = left.map((each) => fold ? each.indexOf("/", prefix.length) : -1)
          const prefixes = left.map((each, index) => each.slice(0, borders[index]! + 1)).filter((each) => each !== "")
          expect(found.objects.map((object) => object.key)).toEqual(left.filter((_, index) => borders[index]! < 0))
          expect(found.prefixes).toEqual([...new Set(prefixes)])
        })
      ),
  )
  // A failure prints its seed and the smallest keys that show it.
  await fc.assert(property, { numRuns: 300 })
})
