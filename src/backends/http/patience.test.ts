/** How long a server is waited for. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { type Reason, StoreError } from "../../error.ts"
import { patientPolicy, patientRetry } from "./patience.ts"

/** How often a call is tried within `seconds` that always fails so. */
const attempts = (reason: Reason, seconds: number, retryAfter?: number): Promise<number> => {
  let count = 0
  const failing = Effect.suspend(() => {
    count++
    return Effect.fail(new StoreError({ reason, detail: "down", retryAfter }))
  })
  return Effect.runPromise(
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.ignore(Effect.retry(failing, patientRetry)))
      for (let i = 0; i < seconds; i++) yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      return count
    }).pipe(Effect.provide(TestClock.layer())),
  )
}

test("a server that is down is asked soon, then every 2 s, for 30 s", async () => {
  expect(await attempts("Unavailable", 2)).toBeGreaterThanOrEqual(4)
  const all = await attempts("Unavailable", 120)
  // 5 within the first 3 s, then 13 to 17 of 1.6 to 2.4 s.
  expect(all).toBeGreaterThanOrEqual(16)
  expect(all).toBeLessThanOrEqual(24)
})

test("a server that says when to come again is asked no sooner", async () => {
  expect(await attempts("RateLimited", 9, 10_000)).toBe(1)
  expect(await attempts("RateLimited", 11, 10_000)).toBe(2)
})

test("what a program says of its policy goes before", () => {
  expect(patientPolicy(undefined)).toEqual({ retry: patientRetry })
  expect(patientPolicy({ retry: "none", concurrency: 2 })).toEqual({ retry: "none", concurrency: 2 })
})
