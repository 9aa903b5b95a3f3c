/** Large objects on stores where several ranges at once are faster than one body. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Backend } from "./backend.ts"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import { openBackend, type Store } from "./store.ts"
import type { StoreOptions } from "./options.ts"
import { pieceSize } from "./ranges.ts"
import { workersRunning } from "./streams/codec-workers.ts"
import { cut, delay, fail, type Faulty, faulty, flip, type Rule, stall, truncate } from "./testing/faulty.ts"

const MiB = 2 ** 20
const size = 3 * pieceSize + 12_345

/** Bytes whose place shows in each of them. */
const bytes = new Uint8Array(size)
for (let i = 0, x = 1; i < size; i++) {
  x = (Math.imul(x, 1103515245) + 12345) >>> 0
  bytes[i] = x >>> 16
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && Buffer.compare(a, b) === 0

const soon = Schedule.spaced(1).pipe(Schedule.upTo({ times: 3 }))

const storeWith = async (
  rules: ReadonlyArray<Rule>,
  options: StoreOptions = {},
  change: (backend: Backend) => Backend = (backend) => backend,
): Promise<{ store: Store; faults: Faulty; inner: Backend }> => {
  const memory = await Effect.runPromise(Memory.make())
  const inner = { ...memory, capabilities: { ...memory.capabilities, parallelRanges: true } }
  const faults = faulty(change(inner), { rules, seed: 1 })
  const store = await openBackend(Effect.succeed(faults.backend), {
    compression: "none",
    policy: { retry: soon },
    ...options,
  })
  await store.save("k", bytes)
  return { store, faults, inner }
}

const failure = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(() => {
    throw new Error("succeeded where it should have failed")
  }, (error) => {
    if (StoreError.is(error)) return error
    throw error
  })

test("a large object comes in pieces, in order, whole and in ranges", async () => {
  const { store, faults } = await storeWith([])
  const loaded = await store.load("k")
  expect([loaded.offset, loaded.length]).toEqual([0, size])
  expect(sameBytes(await loaded.bytes(), bytes)).toBe(true)
  expect(faults.calls("get")).toBe(4)
  for (const [offset, length] of [[1, size - 1], [pieceSize - 1, pieceSize + 2], [5, 10], [size - 1, 1]] as const) {
    const range = await store.load("k", { offset, length })
    expect([range.offset, range.length]).toEqual([offset, length])
    expect(sameBytes(await range.bytes(), bytes.subarray(offset, offset + length))).toBe(true)
  }
  expect(faults.bodies().open).toBe(0)
})

test("objects of one piece take one request, empty ones a second", async () => {
  const { store, faults } = await storeWith([])
  await store.save("small", bytes.subarray(0, pieceSize))
  await store.save("empty", "")
  const before = faults.calls("get")
  expect((await (await store.load("small")).bytes()).length).toBe(pieceSize)
  expect(faults.calls("get")).toBe(before + 1)
  expect((await (await store.load("empty")).bytes()).length).toBe(0)
  expect(faults.calls("get")).toBe(before + 3)
  expect((await failure(store.load("empty", { offset: 1 }))).reason).toBe("RangeNotSatisfiable")
})

test("no more pieces are in flight than asked for, and none before the first read", async () => {
  let inFlight = 0
  let most = 0
  const { store, faults } = await storeWith([], {}, (inner) => ({
    ...inner,
    get: (key, options) =>
      Effect.suspend(() => {
        most = Math.max(most, ++inFlight)
        return Effect.ensuring(
          Effect.andThen(Effect.sleep(5), inner.get(key, options)),
          Effect.sync(() => inFlight--),
        )
      }),
  }))
  const loaded = await store.load("k", { concurrency: 2 })
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(faults.calls("get")).toBe(1)
  const reader = loaded.body.getReader()
  await reader.read()
  await new Promise((resolve) => setTimeout(resolve, 50))
  // The first piece and one more; a reader who stops here keeps the rest from coming.
  expect(faults.calls("get")).toBe(2)
  await reader.cancel()
  expect(faults.bodies().open).toBe(0)
  expect((await (await store.load("k", { concurrency: 3 })).bytes()).length).toBe(size)
  expect(most).toBeLessThanOrEqual(3)
})

test("pieces are read ahead of their turn while the network is the slower one, and only then", async () => {
  /** Chunks read of each piece; the first one gives its second chunk when it is let go. */
  const read = [0, 0, 0, 0]
  let goOn = Promise.withResolvers<void>()
  const { store } = await storeWith([], {}, (inner) => ({
    ...inner,
    get: (key, options) =>
      Effect.map(inner.get(key, options), (got) => {
        const piece = got.offset / pieceSize
        const source = got.body.getReader()
        const body = new ReadableStream<Uint8Array>({
          async pull(controller) {
            if (piece === 0 && read[0] === 1) await goOn.promise
            const { done, value } = await source.read()
            if (done) return controller.close()
            read[piece]!++
            controller.enqueue(value)
          },
          cancel: (reason) => source.cancel(reason),
        }, { highWaterMark: 0 })
        return { ...got, body }
      }),
  }))
  goOn.resolve()
  const quick = (await store.load("k")).body.getReader()
  await quick.read()
  expect(read.slice(1)).toEqual([0, 0, 0])
  await quick.cancel()

  read.fill(0)
  goOn = Promise.withResolvers<void>()
  const slow = await store.load("k")
  const whole = slow.bytes()
  while (read[3] === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  expect(read[0]).toBe(1)
  expect(read.slice(1).every((chunks) => chunks > 0)).toBe(true)
  goOn.resolve()
  expect(sameBytes(await whole, bytes)).toBe(true)
})

test("pieces that come late, broken, short or never are healed, and out comes what was saved", async () => {
  const rules: ReadonlyArray<Rule> = [
    { on: "get", nth: 2, fault: delay(30) },
    { on: "get", nth: 3, fault: cut(100_000) },
    { on: "get", nth: 4, fault: truncate(10) },
    { on: "get", nth: 5, fault: stall(5000) },
    { on: "get", nth: 6, fault: fail() },
  ]
  const { store, faults } = await storeWith(rules, { idleTimeout: 60 })
  expect(sameBytes(await (await store.load("k")).bytes(), bytes)).toBe(true)
  expect(faults.injected.length).toBeGreaterThanOrEqual(4)
  expect(faults.bodies().open).toBe(0)
})

test("fault 109: an object replaced between two pieces is Changed", async () => {
  const { store, inner, faults } = await storeWith([])
  const loaded = await store.load("k", { concurrency: 1 })
  await Effect.runPromise(inner.remove("k"))
  expect((await failure(loaded.bytes())).reason).toBe("Changed")
  await store.save("k", bytes)
  const again = await store.load("k", { concurrency: 1 })
  await store.save("k", bytes.slice().fill(1))
  expect((await failure(again.bytes())).reason).toBe("Changed")
  expect(faults.bodies().open).toBe(0)
})

test("fault 106, 107: a bit flipped in any piece is found, though no piece has the checksum of the whole", async () => {
  for (const nth of [1, 2, 4]) {
    const { store } = await storeWith([{ on: "get", nth, fault: flip(777) }], {}, (inner) => ({
      ...inner,
      // As S3 does: the checksum of the whole comes with the facts, not with a range.
      get: (key, options) =>
        Effect.map(inner.get(key, options), (got) => ({ ...got, info: { ...got.info, crc32: undefined } })),
    }))
    expect((await failure((await store.load("k")).bytes())).reason).toBe("Corrupt")
  }
})

test("whoever stops reading, or whose signal does, leaves nothing open", async () => {
  const { store, faults } = await storeWith([])
  await (await store.load("k")).cancel()
  expect(faults.bodies().open).toBe(0)
  for (const reads of [0, 1, 20]) {
    const controller = new AbortController()
    const reader = (await store.load("k", { signal: controller.signal })).body.getReader()
    for (let i = 0; i < reads; i++) await reader.read()
    controller.abort("stop")
    const error = await reader.read().catch((error) => error)
    expect([error.reason, error.cause]).toEqual(["Aborted", "stop"])
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(faults.bodies().open).toBe(0)
  }
})

test("compressed objects come in pieces as well", async () => {
  for (const compression of ["zstd", "gzip"] as const) {
    const { store, faults } = await storeWith([], { compression })
    const { size: stored } = await store.save("k", bytes)
    expect(stored).toBeGreaterThan(2 * pieceSize)
    const before = faults.calls("get")
    expect(sameBytes(await (await store.load("k")).bytes(), bytes)).toBe(true)
    expect(faults.calls("get")).toBe(before + Math.ceil(stored / pieceSize))
    const range = await (await store.load("k", { offset: 10 * MiB, length: 9 * MiB })).bytes()
    expect(sameBytes(range, bytes.subarray(10 * MiB, 19 * MiB))).toBe(true)
    expect(faults.bodies().open).toBe(0)
  }
  // Deno encodes large objects on workers, which stay for a moment.
  while (workersRunning()) await new Promise((resolve) => setTimeout(resolve, 20))
})
