import { expect, test } from "bun:test"
import { StoreError } from "../error.ts"
import type { CredentialsLike } from "./credentials.ts"
import { Refreshing, refreshing } from "./refresh.ts"

const start = Date.parse("2026-01-01T00:00:00Z")
const minute = 60_000

/** A provider whose calls are answered by hand, and a clock that is set by hand. */
const setUp = (random = 0) => {
  const waiting: Array<{ resolve: (value: CredentialsLike) => void; reject: (cause: unknown) => void }> = []
  const state = { now: start, calls: 0 }
  const source = refreshing(() => {
    state.calls++
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
  }, { now: () => state.now, random: () => random })
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
  }
  return {
    state,
    source,
    /** Answers the call in flight with credentials named `id` that last so many minutes. */
    give: async (id: string, minutes?: number) => {
      const expiration = minutes === undefined ? undefined : new Date(state.now + minutes * minute)
      waiting.shift()!.resolve({ accessKeyId: id, secretAccessKey: "s", expiration })
      await settled()
    },
    fail: async (cause: unknown) => {
      waiting.shift()!.reject(cause)
      await settled()
    },
    id: async () => (await source.get()).accessKeyId,
  }
}

const rejection = (run: Promise<unknown>): Promise<unknown> => run.then(() => "no error", (cause) => cause)

test("fault 126: 100 callers at the start and 100 at the end make one call each", async () => {
  const { source, state, give, id } = setUp()
  const first = Promise.all(Array.from({ length: 100 }, id))
  await give("one", 60)
  expect(new Set(await first)).toEqual(new Set(["one"]))
  expect(state.calls).toBe(1)
  state.now += 60 * minute
  const second = Promise.all(Array.from({ length: 100 }, id))
  await give("two", 60)
  expect(new Set(await second)).toEqual(new Set(["two"]))
  expect(state.calls).toBe(2)
  expect((await source.get()).accessKeyId).toBe("two")
})

test("credentials are renewed five minutes early, and nobody waits for it", async () => {
  const { state, give, id } = setUp()
  const first = id()
  await give("one", 60)
  await first
  state.now = start + 55 * minute - 1
  expect(await id()).toBe("one")
  expect(state.calls).toBe(1)
  state.now += 1
  expect(await id()).toBe("one")
  expect(await id()).toBe("one")
  expect(state.calls).toBe(2)
  await give("two", 60)
  expect(await id()).toBe("two")
})

test("in their last ten seconds nobody gets the old credentials before the new ones have been asked for", async () => {
  const { state, give, id } = setUp()
  const first = id()
  await give("one", 60)
  await first
  state.now = start + 60 * minute - 9999
  const late = id()
  await give("two", 60)
  expect(await late).toBe("two")
})

test("jitter makes the renewal up to a minute earlier", async () => {
  const { state, give, id } = setUp(0.5)
  const first = id()
  await give("one", 60)
  await first
  state.now = start + 54.5 * minute - 1
  await id()
  expect(state.calls).toBe(1)
  state.now += 1
  await id()
  expect(state.calls).toBe(2)
  await give("two", 60)
  expect(await id()).toBe("two")
})

test("fault 126: a renewal that fails leaves the old credentials in use, and is tried again after a pause", async () => {
  const { state, give, fail, id } = setUp()
  const first = id()
  await give("one", 60)
  await first
  state.now = start + 56 * minute
  expect(await id()).toBe("one")
  await fail(new Error("down"))
  expect(await id()).toBe("one")
  expect(state.calls).toBe(2)
  state.now += minute
  expect(await id()).toBe("one")
  expect(state.calls).toBe(3)
  await fail(new Error("still down"))
  // In the last seconds a caller waits for the renewal, and still gets the old ones if it fails.
  state.now = start + 60 * minute - 5000
  const late = id()
  await fail(new Error("still down"))
  expect(await late).toBe("one")
  state.now = start + 60 * minute
  const over = rejection(id())
  await fail(new StoreError({ reason: "Unavailable", detail: "down" }))
  expect(await over).toMatchObject({ reason: "Unavailable" })
})

test("a caller that gives up does not take the call of the others with it", async () => {
  const { state, give, id } = setUp()
  const gone = new AbortController()
  const first = Promise.race([id(), new Promise((_, reject) => gone.signal.addEventListener("abort", reject))])
  const second = id()
  gone.abort()
  await rejection(first)
  await give("one", 60)
  expect(await second).toBe("one")
  expect(state.calls).toBe(1)
})

test("fault 125: credentials the service refused are not served again; the same refusal twice asks once", async () => {
  const { source, state, give, fail, id } = setUp()
  const first = source.get()
  await give("one", 60)
  const used = await first
  source.invalidate(used)
  const down = rejection(id())
  await fail(new Error("down"))
  // Not "one", which are known to be useless.
  expect(await down).toMatchObject({ reason: "Unauthorized" })
  const next = id()
  await give("two", 60)
  expect(await next).toBe("two")
  source.invalidate(used)
  expect(await id()).toBe("two")
  expect(state.calls).toBe(3)
})

test("credentials without an end are asked for once", async () => {
  const { state, give, id } = setUp()
  const first = id()
  await give("one")
  await first
  state.now += 10_000 * 60 * minute
  expect(await id()).toBe("one")
  expect(state.calls).toBe(1)
})

test("credentials that are over on arrival serve, since our clock may be wrong, and are renewed once a minute", async () => {
  const { state, give, fail, id } = setUp()
  const first = id()
  await give("one", -30)
  expect(await first).toBe("one")
  expect(await id()).toBe("one")
  expect(state.calls).toBe(1)
  state.now += minute
  expect(await id()).toBe("one")
  expect(state.calls).toBe(2)
  await fail(new Error("down"))
  expect(await id()).toBe("one")
})

test("credentials that last less than five minutes are not renewed at every call", async () => {
  const { state, give, id } = setUp()
  const first = id()
  await give("one", 1)
  await first
  state.now += 29_999
  await id()
  expect(state.calls).toBe(1)
  state.now += 1
  await id()
  expect(state.calls).toBe(2)
  await give("two", 60)
  expect(await id()).toBe("two")
})

test("a provider that hangs is given up, and the next caller asks again", async () => {
  let calls = 0
  const source = new Refreshing(() => {
    calls++
    return calls === 1 ? new Promise(() => {}) : Promise.resolve({ accessKeyId: "two", secretAccessKey: "s" })
  }, { timeout: 20 })
  expect(await rejection(source.get())).toMatchObject({ reason: "Timeout", transient: true, ambiguous: false })
  expect((await source.get()).accessKeyId).toBe("two")
})

test("a provider's own failure becomes Unauthorized with its error as the cause; nonsense becomes Config", async () => {
  const { fail, source } = setUp()
  const own = new Error("SSO session has expired")
  const failed = rejection(source.get())
  await fail(own)
  expect(await failed).toMatchObject({ reason: "Unauthorized", cause: own })
  const nonsense = refreshing(() => Promise.resolve({} as CredentialsLike))
  expect(await rejection(nonsense.get())).toMatchObject({ reason: "Config" })
  const throws = refreshing(() => {
    throw own
  })
  expect(await rejection(throws.get())).toMatchObject({ reason: "Unauthorized" })
})
