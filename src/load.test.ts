/** What a load does when the body under it breaks, stalls, lies or changes. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Backend } from "./backend.ts"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import type { LoadOptions, StoreOptions } from "./options.ts"
import { openBackend, type Store } from "./store.ts"
import { cut, fail, type Faulty, faulty, flip, type Rule, stall, truncate } from "./testing/faulty.ts"

const bytes = Uint8Array.from({ length: 1_000_000 }, (_, i) => (i * 2654435761) >>> 24)

const storeWith = async (
  rules: ReadonlyArray<Rule>,
  options: StoreOptions = {},
  change: (backend: Backend) => Backend = (backend) => backend,
): Promise<{ store: Store; faults: Faulty; inner: Backend }> => {
  const inner = await Effect.runPromise(Memory.make())
  const faults = faulty(change(inner), { rules, seed: 1 })
  const store = await openBackend(Effect.succeed(faults.backend), {
    policy: { retry: soon },
    compression: "none",
    ...options,
  })
  await store.save("k", bytes)
  return { store, faults, inner }
}

const soon = Schedule.spaced(1).pipe(Schedule.upTo({ times: 3 }))

/** Loads and says how it ended; what was handed out must be the right bytes in any case. */
const outcome = async (store: Store, options?: LoadOptions): Promise<string> => {
  const from = options?.offset ?? 0
  let delivered = from
  try {
    const loaded = await store.load("k", options)
    for await (const chunk of loaded.body) {
      if (Buffer.compare(chunk, bytes.subarray(delivered, delivered + chunk.length)) !== 0) return "wrong bytes"
      delivered += chunk.length
    }
    return delivered === from + loaded.length! ? "whole" : "short"
  } catch (error) {
    if (StoreError.is(error)) return error.reason
    throw error
  }
}

for (const [what, fault] of [["cut", cut], ["truncate", truncate]] as const) {
  test(`fault 1, 2, 3: a body that breaks (${what}) goes on at the exact byte`, async () => {
    for (const at of [0, 1, 100_000, 262_144, 999_999]) {
      const { store, faults } = await storeWith([{ on: "get", nth: 1, fault: fault(at) }])
      expect(await outcome(store)).toBe("whole")
      expect(faults.calls("get")).toBe(2)
      expect(faults.bodies().open).toBe(0)
    }
  })
}

test("a range that breaks goes on within the range", async () => {
  const { store } = await storeWith([{ on: "get", nth: [1, 2], fault: cut(70_000) }])
  expect(await outcome(store, { offset: 300_000, length: 400_000 })).toBe("whole")
})

test("a body that breaks again and again is given up after the retry schedule, not before", async () => {
  const { store, faults } = await storeWith([{ on: "get", fault: cut(0) }])
  expect(await outcome(store)).toBe("Unavailable")
  expect(faults.calls("get")).toBe(5)
  expect(faults.bodies().open).toBe(0)
  const progress = await storeWith([{ on: "get", fault: cut(100_000) }])
  expect(await outcome(progress.store)).toBe("whole")
})

test("a body that always ends early is Truncated, never a quiet end", async () => {
  const { store } = await storeWith([{ on: "get", fault: truncate(0) }])
  expect(await outcome(store)).toBe("Truncated")
})

test("retry: 'none' is taken at its word", async () => {
  const { store, faults } = await storeWith([{ on: "get", fault: cut(10) }])
  expect(await outcome(store, { retry: "none" })).toBe("Unavailable")
  expect(faults.calls("get")).toBe(1)
})

test("fault 6: a body that stalls is cancelled and asked for again", async () => {
  const { store, faults } = await storeWith([{ on: "get", nth: 1, fault: stall(300_000) }], { idleTimeout: 30 })
  expect(await outcome(store)).toBe("whole")
  expect(faults.bodies()).toEqual({ opened: 2, open: 0, cancelled: 2 })
})

test("fault 109: an object replaced in the middle of a load is Changed", async () => {
  const { store, inner } = await storeWith([{ on: "get", nth: 1, fault: cut(500_000) }])
  const loaded = await store.load("k")
  await Effect.runPromise(inner.put("k", new Uint8Array(1), { writeId: "other", crc32: 0xd202ef8d }))
  const error = await loaded.bytes().catch((e) => e)
  expect(error.reason).toBe("Changed")
})

test("fault 109: an object removed in the middle of a load is Changed when its body breaks", async () => {
  const { store, inner } = await storeWith([{ on: "get", nth: 1, fault: cut(500_000) }])
  const loaded = await store.load("k")
  await Effect.runPromise(inner.remove("k"))
  expect((await loaded.bytes().catch((e) => e)).reason).toBe("Changed")
})

test("fault 110: an answer for another range than was asked is not mixed in", async () => {
  let gets = 0
  const { store } = await storeWith([{ on: "get", nth: 1, fault: cut(500_000) }], {}, (inner) => ({
    ...inner,
    get: (key, options) => inner.get(key, ++gets > 1 ? { ...options, offset: 0, length: undefined } : options),
  }))
  expect(await outcome(store)).toBe("Changed")
})

test("fault 17: a body with more bytes than promised is an error", async () => {
  const { store } = await storeWith([], {}, (inner) => ({
    ...inner,
    get: (key, options) => Effect.map(inner.get(key, options), (got) => ({ ...got, length: 10 })),
  }))
  expect(await outcome(store)).toBe("Protocol")
})

test("fault 106, 107: one flipped bit is found before the last chunk is handed out", async () => {
  for (const at of [0, 500_000, 999_999]) {
    const { store } = await storeWith([{ on: "get", fault: flip(at) }])
    const loaded = await store.load("k")
    let delivered = 0
    const error = await (async () => {
      for await (const chunk of loaded.body) delivered += chunk.length
    })().catch((e) => e)
    expect(error?.reason).toBe("Corrupt")
    expect(error.message).toContain("CRC-32")
    expect(delivered).toBeLessThan(bytes.length)
  }
})

test("an object with a weak etag is not resumed: nothing could tell whether it is the same", async () => {
  const weak = (inner: Backend): Backend => ({
    ...inner,
    get: (key, options) =>
      Effect.map(inner.get(key, options), (got) => ({ ...got, info: { ...got.info, etag: "W/1" } })),
  })
  const { store, faults } = await storeWith([{ on: "get", nth: 1, fault: cut(10) }], {}, weak)
  expect(await outcome(store)).toBe("Unavailable")
  expect(faults.calls("get")).toBe(1)
})

test("fault 86: a body nobody reads is not read ahead", async () => {
  let pulled = 0
  const counted = (body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> => {
    const reader = body.getReader()
    return new ReadableStream({
      async pull(controller) {
        const { value } = await reader.read()
        pulled += value!.length
        controller.enqueue(value!)
      },
      cancel: (reason) => reader.cancel(reason),
    }, { highWaterMark: 0 })
  }
  const { store } = await storeWith([], {}, (inner) => ({
    ...inner,
    get: (key, options) => Effect.map(inner.get(key, options), (got) => ({ ...got, body: counted(got.body) })),
  }))
  const loaded = await store.load("k")
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(pulled).toBe(0)
  const reader = loaded.body.getReader()
  const first = await reader.read()
  expect(pulled).toBe(first.value!.length)
  await reader.cancel()
})

test("fault 51: a store that refuses to say is not read as absence", async () => {
  const { store } = await storeWith([
    { on: "stat", fault: fail(new StoreError({ reason: "Forbidden", detail: "no" })) },
  ])
  expect((await store.exists("k").catch((e) => e)).reason).toBe("Forbidden")
})

test("fault 42: a list that repeats its cursor ends with Protocol instead of never", async () => {
  const { store } = await storeWith([], {}, (inner) => ({
    ...inner,
    list: () => Effect.succeed({ objects: [], prefixes: [], cursor: "again" }),
  }))
  const keys: Array<string> = []
  const error = await (async () => {
    for await (const { key } of store.list()) keys.push(key)
  })().catch((e) => e)
  expect(error.reason).toBe("Protocol")
})

test("Loaded.text() and json() say when the bytes are neither", async () => {
  const { store } = await storeWith([])
  await store.save("bad", new Uint8Array([0xff, 0xfe, 0xfd]))
  expect(await (await store.load("bad")).text().catch((e) => e)).toBeInstanceOf(TypeError)
  await store.save("json", '{"a":1}')
  expect(await (await store.load("json")).json<{ a: number }>()).toEqual({ a: 1 })
})
