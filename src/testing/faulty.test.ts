import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { bytes, collect, expectReason, putOptions } from "../backends/conformance.ts"
import * as Memory from "../backends/memory.ts"
import { StoreError } from "../error.ts"
import {
  cut,
  delay,
  fail,
  failAfter,
  type Faulty,
  faulty,
  flip,
  hang,
  hangAfter,
  type Rule,
  stall,
  truncate,
} from "./faulty.ts"

const data = bytes(1, 600_000)

/** A store that holds `data` as "a", behind the rules given. */
const withFaults = (
  rules: ReadonlyArray<Rule>,
  use: (faults: Faulty, direct: Faulty["backend"]) => Effect.Effect<unknown, unknown>,
): Promise<unknown> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const direct = yield* Memory.make()
      yield* direct.put("a", data, putOptions(data))
      yield* use(faulty(direct, { seed: 1, rules }), direct)
    }).pipe(Effect.provide(TestClock.layer())),
  )

const put = ({ backend }: Pick<Faulty, "backend">, key: string, content: Uint8Array = bytes(2, 10)) =>
  backend.put(key, content, putOptions(content))

test("faulty() without rules passes every call and body on", () =>
  withFaults([], (faults) =>
    Effect.gen(function* () {
      const { body } = yield* faults.backend.get("a")
      expect(faults.bodies()).toEqual({ opened: 1, open: 1, cancelled: 0 })
      expect(yield* Effect.promise(() => collect(body))).toEqual(data)
      expect(faults.bodies()).toEqual({ opened: 1, open: 0, cancelled: 0 })
      expect([faults.injected, faults.calls("get"), faults.calls("put")]).toEqual([[], 1, 0])
    })))

test("faulty() has every method of the wrapped backend, and none it has not", () =>
  withFaults([], (_, direct) =>
    Effect.sync(() => {
      const methods = (backend: object) =>
        Object.entries(backend).filter(([, value]) => value !== undefined).map(([name]) => name).sort()
      expect(methods(faulty(direct).backend)).toEqual(methods(direct))
      const { copy: _copy, move: _move, ...poor } = direct
      expect(methods(faulty(poor).backend)).toEqual(methods(poor))
      expect(faulty(direct).backend.capabilities).toBe(direct.capabilities)
    })))

test("faulty() reaches every operation", () =>
  withFaults([{ fault: fail() }], ({ backend, injected }) =>
    Effect.gen(function* () {
      const upload = { id: "1", key: "a" }
      const copying = { writeId: "w" }
      const calls: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [
        backend.stat("a"),
        backend.get("a"),
        put({ backend }, "a"),
        backend.list(),
        backend.remove("a"),
        backend.removeMany(["a"]),
        backend.createUpload("a", copying),
        backend.putPart(upload, { number: 1, offset: 0, crc32: 0 }, data),
        backend.completeUpload(upload, [], { size: 0, crc32: 0 }),
        backend.abortUpload(upload),
        backend.copy!("a", "b", copying),
        backend.move!("a", "b", copying),
        backend.listUploads!(),
        backend.listParts!(upload),
      ]
      for (const call of calls) yield* expectReason(call, "Unavailable")
      const operations = Object.entries(backend).filter(([, value]) => typeof value === "function").map(([name]) =>
        name
      )
      expect(injected.map(({ operation }) => operation)).toEqual(operations as never)
    })))

test("delay() makes the call wait on Effect's clock, and then happen", () =>
  withFaults([{ on: "put", fault: delay(1000) }], (faults, direct) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(put(faults, "b"))
      yield* TestClock.adjust(999)
      yield* expectReason(direct.stat("b"), "NotFound")
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      yield* direct.stat("b")
    })))

test("fail() fails a call that then has no effect, transient unless told otherwise", () => {
  const denied = new StoreError({ reason: "Forbidden", operation: "put", detail: "no" })
  const rules = [{ on: "put", nth: 1, fault: fail() }, { on: "put", nth: 2, fault: fail(denied) }] as const
  return withFaults(rules, (faults, direct) =>
    Effect.gen(function* () {
      const error = yield* expectReason(put(faults, "b"), "Unavailable")
      expect([error.transient, error.key, error.operation]).toEqual([true, "b", "put"])
      expect(yield* Effect.flip(put(faults, "b"))).toBe(denied)
      yield* expectReason(direct.stat("b"), "NotFound")
      yield* put(faults, "b")
    }))
})

test("failAfter() fails a call that has taken effect, and frees the body nobody will read", () =>
  withFaults([{ on: ["put", "get"], fault: failAfter() }], (faults, direct) =>
    Effect.gen(function* () {
      const error = yield* expectReason(put(faults, "b"), "Unavailable")
      expect(error.ambiguous).toBe(true)
      yield* direct.stat("b")
      yield* expectReason(faults.backend.get("a"), "Unavailable")
      expect(faults.bodies()).toEqual({ opened: 1, open: 0, cancelled: 1 })
    })))

for (const [name, fault, happens] of [["hang", hang, false], ["hangAfter", hangAfter, true]] as const) {
  test(`${name}() never returns, can be interrupted, and has ${happens ? "its" : "no"} effect`, () =>
    withFaults([{ on: "put", fault: fault() }], (faults, direct) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(put(faults, "b"))
        yield* TestClock.adjust("1 day")
        expect(fiber.pollUnsafe()).toBe(undefined)
        yield* Fiber.interrupt(fiber)
        expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
        expect(Exit.isSuccess(yield* Effect.exit(direct.stat("b")))).toBe(happens)
      })))
}

/** What a reader gets of a body: its bytes, and how it ended. */
const drain = (body: ReadableStream<Uint8Array>): Promise<{ readonly seen: number; readonly end: unknown }> => {
  const reader = body.getReader()
  const next = async (seen: number): Promise<{ readonly seen: number; readonly end: unknown }> => {
    const read = await reader.read().catch((error: unknown) => ({ done: true as const, value: error }))
    if (read.done) return { seen, end: read.value }
    expect(read.value).toEqual(data.subarray(seen, seen + read.value.length))
    return await next(seen + read.value.length)
  }
  return next(0)
}

for (const at of [0, 1, 262_143, 262_144, 262_145, 599_999, 600_000]) {
  test(`cut(${at}) and truncate(${at}) deliver just as many bytes, one loudly and one quietly`, () =>
    withFaults(
      [{ on: "get", nth: 1, fault: cut(at) }, { on: "get", nth: 2, fault: truncate(at) }],
      (faults) =>
        Effect.gen(function* () {
          const loud = yield* Effect.promise(() =>
            Effect.runPromise(faults.backend.get("a")).then((r) => drain(r.body))
          )
          expect(loud.seen).toBe(at)
          expect(StoreError.is(loud.end) && loud.end.reason).toBe("Unavailable")
          const quiet = yield* faults.backend.get("a")
          expect(quiet.length).toBe(data.length)
          expect(yield* Effect.promise(() => drain(quiet.body))).toEqual({ seen: at, end: undefined })
          expect(faults.bodies()).toEqual({ opened: 2, open: 0, cancelled: 2 })
        }),
    ))
}

test("cut() fails the body with the error given", () => {
  const error = new StoreError({ reason: "Truncated", detail: "the connection was reset" })
  return withFaults([{ fault: cut(5, error) }], ({ backend }) =>
    Effect.gen(function* () {
      const { body } = yield* backend.get("a")
      expect((yield* Effect.promise(() => drain(body))).end).toBe(error)
    }))
})

test("stall() delivers nothing more, and a cancel reaches the body behind it", () =>
  withFaults([{ fault: stall(300_000) }], (faults) =>
    Effect.gen(function* () {
      const { body } = yield* faults.backend.get("a")
      const reader = body.getReader()
      yield* Effect.promise(async () => {
        for (let seen = 0; seen < 300_000;) seen += (await reader.read()).value!.length
        const waiting = reader.read()
        // A body in memory would have answered within this turn of the event loop.
        const turn = new Promise((resolve) => setTimeout(resolve, 0, "nothing"))
        expect(await Promise.race([waiting, turn])).toBe("nothing")
        expect(faults.bodies()).toEqual({ opened: 1, open: 1, cancelled: 0 })
        await reader.cancel()
        expect((await waiting).done).toBe(true)
      })
      expect(faults.bodies()).toEqual({ opened: 1, open: 0, cancelled: 1 })
    })))

for (const at of [0, 262_143, 262_144, 599_999, 600_000]) {
  test(`flip(${at}) changes one bit of a body, and of nothing else`, () =>
    withFaults([{ on: "get", nth: 1, fault: flip(at) }], ({ backend }) =>
      Effect.gen(function* () {
        const expected = data.slice()
        if (at < expected.length) expected[at]! ^= 1
        const wrong = yield* backend.get("a")
        expect(yield* Effect.promise(() => collect(wrong.body))).toEqual(expected)
        const right = yield* backend.get("a")
        expect(yield* Effect.promise(() => collect(right.body))).toEqual(data)
      })))
}

test("flip() changes bytes on their way in, and leaves the caller's alone", () =>
  withFaults([{ on: "put", fault: flip(3) }], (faults, direct) =>
    Effect.gen(function* () {
      const content = bytes(2, 10)
      yield* expectReason(put(faults, "b", content), "Corrupt")
      expect(content).toEqual(bytes(2, 10))
      yield* expectReason(direct.stat("b"), "NotFound")
    })))

test("a body that is cancelled, whatever the rules, is cancelled behind them", () =>
  withFaults([{ fault: cut(500_000) }, { fault: flip(7) }], (faults) =>
    Effect.gen(function* () {
      const { body } = yield* faults.backend.get("a")
      const reader = body.getReader()
      yield* Effect.promise(() => reader.read())
      yield* Effect.promise(() => reader.cancel())
      expect(faults.bodies()).toEqual({ opened: 1, open: 0, cancelled: 1 })
    })))

test("rules choose by operation, key and ordinal, and say what they did", () => {
  const rules: ReadonlyArray<Rule> = [
    { on: ["stat", "get"], key: "runs/", nth: [2, 3], fault: fail() },
    { key: (key) => key === "x", fault: fail() },
  ]
  return withFaults(rules, ({ backend, injected }) =>
    Effect.gen(function* () {
      const reasons: Array<string> = []
      for (const key of ["runs/1", "a", "runs/2", "runs/3", "x", "runs/4"]) {
        reasons.push((yield* Effect.result(backend.stat(key))).pipe((result) =>
          result._tag === "Success" ? "found" : result.failure.reason
        ))
      }
      expect(reasons).toEqual(["NotFound", "found", "Unavailable", "Unavailable", "Unavailable", "NotFound"])
      expect(injected.map(({ operation, key, call, fault }) => [operation, key, call, fault.kind])).toEqual([
        ["stat", "runs/2", 3, "fail"],
        ["stat", "runs/3", 4, "fail"],
        ["stat", "x", 5, "fail"],
      ])
    }))
})

test("probability is decided by the seed: the same replays, another differs, and all come close to it", () =>
  withFaults([], (_, direct) =>
    Effect.gen(function* () {
      const hits = Effect.fnUntraced(function* (seed: number | undefined) {
        const faults = faulty(direct, { seed, rules: [{ on: "list", fault: fail(), probability: 0.25 }] })
        for (let call = 0; call < 2000; call++) yield* Effect.ignore(faults.backend.list({ limit: 1 }))
        return { seed: faults.seed, calls: faults.injected.map(({ call }) => call) }
      })
      const seen = new Set<string>()
      for (const seed of [0, 1, 2, 3, 4]) {
        const { calls } = yield* hits(seed)
        expect(yield* hits(seed)).toEqual({ seed, calls })
        expect(Math.abs(calls.length - 500)).toBeLessThan(80)
        seen.add(calls.join())
      }
      expect(seen.size).toBe(5)
      const random = yield* hits(undefined)
      expect((yield* hits(random.seed)).calls).toEqual(random.calls)
    })))
