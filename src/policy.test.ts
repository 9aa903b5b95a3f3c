/** When and how often a backend call happens, in virtual time. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/testing/TestClock"
import type { Backend } from "./backend.ts"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import { CurrentRetry, type PolicyOptions, withPolicy } from "./policy.ts"
import { PartPool } from "./streams/parts.ts"
import { fail, type Faulty, faulty, hang, type Rule } from "./testing/faulty.ts"

const virtual = <A>(body: Effect.Effect<A, StoreError>): Promise<A> =>
  Effect.runPromise(Effect.provide(body, TestClock.layer()))

const wrapped = (
  rules: ReadonlyArray<Rule>,
  options?: PolicyOptions,
): Effect.Effect<{ faults: Faulty; backend: Backend }> =>
  Effect.map(Memory.make(), (memory) => {
    const faults = faulty(memory, { rules, seed: 1 })
    return { faults, backend: withPolicy(faults.backend, options) }
  })

/** Runs an effect to its end, however much virtual time that takes. */
const settled = <A>(effect: Effect.Effect<A, StoreError>, time: string | number = "10 minutes") =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.exit(effect))
    yield* TestClock.adjust(time as "10 minutes")
    return yield* Fiber.join(fiber)
  })

const errorOf = (exit: Exit.Exit<unknown, StoreError>): StoreError => {
  if (Exit.isSuccess(exit)) throw new Error("succeeded where it should have failed")
  const reason = exit.cause.reasons[0]
  if (reason?._tag !== "Fail") throw new Error(`no typed failure: ${reason?._tag}`)
  return reason.error
}

const error = (fields: Partial<ConstructorParameters<typeof StoreError>[0]> = {}): StoreError =>
  new StoreError({ reason: "Unavailable", detail: "down", ...fields })

test("fault 12: transient failures are tried again until one succeeds", () =>
  virtual(Effect.gen(function* () {
    const { faults, backend } = yield* wrapped([{ on: "stat", nth: [1, 2, 3, 4], fault: fail() }])
    const exit = yield* settled(backend.stat("k"))
    expect(errorOf(exit).reason).toBe("NotFound")
    expect(faults.calls("stat")).toBe(5)
  })))

test("five attempts at most, and the last error says how many there were", () =>
  virtual(Effect.gen(function* () {
    const { faults, backend } = yield* wrapped([{ on: "stat", fault: fail() }])
    const failure = errorOf(yield* settled(backend.stat("k")))
    expect(faults.calls("stat")).toBe(5)
    expect(failure.attempts).toBe(5)
    expect(failure.message).toContain("after 5 attempts")
  })))

test("permanent failures are not tried again", () =>
  virtual(Effect.gen(function* () {
    const { faults, backend } = yield* wrapped([{ on: "stat", fault: fail(error({ reason: "Forbidden" })) }])
    const failure = errorOf(yield* settled(backend.stat("k")))
    expect(failure.reason).toBe("Forbidden")
    expect(faults.calls("stat")).toBe(1)
  })))

test("fault 12: Retry-After is waited for, up to a minute", () =>
  virtual(Effect.gen(function* () {
    const slow = fail(error({ reason: "RateLimited", retryAfter: 7000 }))
    const { faults, backend } = yield* wrapped([{ on: "stat", nth: 1, fault: slow }])
    const fiber = yield* Effect.forkChild(Effect.exit(backend.stat("k")))
    yield* TestClock.adjust(6999)
    expect(faults.calls("stat")).toBe(1)
    yield* TestClock.adjust(1)
    yield* Fiber.join(fiber)
    expect(faults.calls("stat")).toBe(2)

    const rude = fail(error({ reason: "RateLimited", retryAfter: 86_400_000 }))
    const other = yield* wrapped([{ on: "stat", nth: 1, fault: rude }])
    yield* settled(other.backend.stat("k"), "60 seconds")
    expect(other.faults.calls("stat")).toBe(2)
  })))

test("backoff has full jitter: callers who failed together come back apart", () =>
  virtual(Effect.gen(function* () {
    const starts: Array<number> = []
    const memory = yield* Memory.make()
    const inner: Backend = {
      ...memory,
      stat: () =>
        Effect.flatMap(Effect.clockWith((clock) => clock.currentTimeMillis), (now) => {
          starts.push(now)
          return Effect.fail(error())
        }),
    }
    const backend = withPolicy(inner, { breaker: "none" })
    const fiber = yield* Effect.forkChild(Effect.all(Array.from({ length: 20 }, () => Effect.exit(backend.stat("k"))), {
      concurrency: "unbounded",
    }))
    for (let i = 0; i < 2000; i++) yield* TestClock.adjust(1)
    yield* Fiber.join(fiber)
    const first = new Set(starts.slice(20, 40))
    expect(first.size).toBeGreaterThan(8)
    expect(Math.max(...starts)).toBeLessThanOrEqual(100 + 200 + 400 + 800)
  })))

test("a schedule of the caller's replaces the layer's, for a layer and for a call", () =>
  virtual(Effect.gen(function* () {
    const twice = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 }))
    const layer = yield* wrapped([{ on: "stat", fault: fail() }], { retry: twice })
    yield* settled(layer.backend.stat("k"))
    expect(layer.faults.calls("stat")).toBe(3)
    yield* settled(Effect.provideService(layer.backend.stat("k"), CurrentRetry, "none"))
    expect(layer.faults.calls("stat")).toBe(4)
  })))

test("an attempt that does not answer in time is a Timeout, and is tried again", () =>
  virtual(Effect.gen(function* () {
    const { faults, backend } = yield* wrapped([{ on: "stat", nth: 1, fault: hang() }], { attemptTimeout: "2 seconds" })
    const exit = yield* settled(backend.stat("k"))
    expect(errorOf(exit).reason).toBe("NotFound")
    expect(faults.calls("stat")).toBe(2)
    const always = yield* wrapped([{ on: "stat", fault: hang() }], { attemptTimeout: "2 seconds" })
    const failure = errorOf(yield* settled(always.backend.stat("k")))
    expect(failure.reason).toBe("Timeout")
    expect(failure.detail).toContain("2 s")
  })))

test("a call that waits out its backoff holds no permit", () =>
  virtual(Effect.gen(function* () {
    const late = fail(error({ retryAfter: 50_000 }))
    const { backend } = yield* wrapped([{ on: "stat", key: "slow", nth: 1, fault: late }], { concurrency: 1 })
    const slow = yield* Effect.forkChild(Effect.exit(backend.stat("slow")))
    yield* TestClock.adjust(1)
    const others = yield* settled(Effect.all([1, 2, 3].map((n) => Effect.exit(backend.stat(`${n}`)))), 1)
    expect(Exit.isSuccess(others)).toBe(true)
    yield* TestClock.adjust("1 minute")
    yield* Fiber.join(slow)
  })))

test("permits bound the calls in flight", () =>
  virtual(Effect.gen(function* () {
    const memory = yield* Memory.make()
    let inFlight = 0
    let most = 0
    const inner: Backend = {
      ...memory,
      stat: () =>
        Effect.suspend(() => {
          most = Math.max(most, ++inFlight)
          return Effect.sleep(10).pipe(Effect.andThen(Effect.fail(error({ reason: "NotFound" }))))
        }).pipe(Effect.ensuring(Effect.sync(() => inFlight--))),
    }
    const backend = withPolicy(inner, { concurrency: 3 })
    yield* settled(
      Effect.all(Array.from({ length: 12 }, () => Effect.exit(backend.stat("k"))), { concurrency: "unbounded" }),
    )
    expect(most).toBe(3)
    expect(inFlight).toBe(0)
  })))

test("fault 13: the breaker opens after five silent calls, asks nothing while open, and lets one through", () =>
  virtual(Effect.gen(function* () {
    const { faults, backend } = yield* wrapped([{
      on: "stat",
      nth: Array.from({ length: 6 }, (_, i) => i + 1),
      fault: fail(),
    }], {
      retry: "none",
    })
    for (let i = 0; i < 5; i++) yield* settled(backend.stat("k"), 1)
    const open = errorOf(yield* settled(backend.stat("k"), 1))
    expect(faults.calls("stat")).toBe(5)
    expect(open.reason).toBe("Unavailable")
    expect(open.ambiguous).toBe(false)
    expect(open.attempts).toBe(0)
    // Half open: of two calls one goes through and fails, so it stays shut for another ten seconds.
    yield* TestClock.adjust("10 seconds")
    yield* settled(Effect.all([Effect.exit(backend.stat("k")), Effect.exit(backend.stat("k"))], { concurrency: 2 }), 1)
    expect(faults.calls("stat")).toBe(6)
    yield* TestClock.adjust("10 seconds")
    expect(errorOf(yield* settled(backend.stat("k"), 1)).reason).toBe("NotFound")
    expect(errorOf(yield* settled(backend.stat("k"), 1)).reason).toBe("NotFound")
    expect(faults.calls("stat")).toBe(8)
  })))

test("fault 13: an answer, even a refusal, keeps the breaker closed", () =>
  virtual(Effect.gen(function* () {
    const { faults, backend } = yield* wrapped([{ on: "stat", fault: fail(error({ reason: "Forbidden" })) }])
    for (let i = 0; i < 20; i++) yield* settled(backend.stat("k"), 1)
    expect(faults.calls("stat")).toBe(20)
  })))

test("fault 13: an outage of 1,000 callers is amplified by at most a tenth", () =>
  virtual(Effect.gen(function* () {
    const { faults, backend } = yield* wrapped([{ on: "stat", fault: fail() }], { breaker: "none" })
    const calls = Array.from({ length: 1000 }, () => Effect.exit(backend.stat("k")))
    yield* settled(Effect.all(calls, { concurrency: "unbounded" }))
    expect(faults.calls("stat")).toBeLessThanOrEqual(1100)
    expect(faults.calls("stat")).toBeGreaterThan(1000)
  })))

test("a write whose attempt may have landed is ambiguous to the end; a read never is", () =>
  virtual(Effect.gen(function* () {
    const put = (backend: Backend) => backend.put("k", new Uint8Array(1), { writeId: "w", crc32: 0xd202ef8d })
    const refused = fail(error({ reason: "Forbidden" }))
    const lost = yield* wrapped([{ on: "put", nth: 1, fault: fail() }, { on: "put", nth: 2, fault: refused }])
    const failure = errorOf(yield* settled(put(lost.backend)))
    expect([failure.reason, failure.ambiguous, failure.attempts]).toEqual(["Forbidden", true, 2])
    const clear = yield* wrapped([{ on: "put", nth: 1, fault: refused }])
    expect(errorOf(yield* settled(put(clear.backend))).ambiguous).toBe(false)
    const read = yield* wrapped([{ on: "stat", fault: fail() }])
    expect(errorOf(yield* settled(read.backend.stat("k"))).ambiguous).toBe(false)
  })))

test("a buffer whose attempt timed out is never used again", () =>
  virtual(Effect.gen(function* () {
    const pool = new PartPool(1024)
    const { backend } = yield* wrapped([{ on: "put", nth: 1, fault: hang() }], { attemptTimeout: 10 })
    const put = (bytes: Uint8Array) => backend.put("k", bytes, { writeId: "w", crc32: 0x190a55ad })
    const late = new Uint8Array(32)
    expect(Exit.isSuccess(yield* settled(put(late)))).toBe(true)
    pool.release(late)
    expect(pool.take(32)).not.toBe(late)
    const prompt = new Uint8Array(32)
    yield* settled(put(prompt))
    pool.release(prompt)
    expect(pool.take(32)).toBe(prompt)
  })))

test("requests, retries and bytes are counted", () =>
  virtual(
    Effect.gen(function* () {
      const { backend } = yield* wrapped([{ on: "put", nth: 1, fault: fail() }])
      yield* settled(backend.put("k", new Uint8Array(32), { writeId: "w", crc32: 0x190a55ad }))
      const text = JSON.stringify(yield* Metric.snapshot)
      for (const name of ["holdfast_requests_total", "holdfast_retries_total", "holdfast_bytes_total"]) {
        expect(text).toContain(name)
      }
      expect(text).toContain('"operation":"put"')
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map() as never)),
  ))
