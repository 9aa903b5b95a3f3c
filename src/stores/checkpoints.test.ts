import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Tracer from "effect/Tracer"
import * as Memory from "../backends/memory.ts"
import { ObjectStore } from "../object-store.ts"
import { fail, faulty } from "../testing/faulty.ts"
import { Ids, nameOf, newestFirst, timeOf } from "./checkpoint-id.ts"
import { CheckpointMetrics, Checkpoints } from "./checkpoints.ts"
import { suite } from "./checkpoints-testing.ts"
import { addSuite } from "./testing.ts"

addSuite(suite)

test("ids sort in the order in which they were made, also after one from a clock that is ahead", () => {
  const ids = new Ids()
  const made = Array.from({ length: 10_000 }, () => ids.next(1_700_000_000_000))
  expect(made).toEqual(made.toSorted())
  expect(new Set(made).size).toBe(made.length)
  expect(timeOf(made[0]!)).toBe(1_700_000_000_000)
  const ahead = new Ids().next(1_700_000_500_000)
  const child = ids.next(1_700_000_000_000, ahead)
  expect(child > ahead).toBe(true)
  // What no clock of ours can have said is not believed.
  const nonsense = new Ids().next(2 ** 47)
  expect(timeOf(new Ids().next(1_700_000_000_000, nonsense))).toBe(1_700_000_000_000)
  expect(timeOf("2c5ea4c0-4067-41fe-a1b5-6e1f3a1b7f5d")).toBeUndefined()
})

test("only checkpoints of a thread are names of checkpoints", () => {
  expect(nameOf("c/", "c/t/a.json")).toEqual({ thread: "t", id: "a" })
  for (const key of ["c/t/latest", "c/t/.json", "c/a.json", "c/t/u/a.json", "c//a.json", "d/t/a.json"]) {
    expect(nameOf("c/", key)).toBeUndefined()
  }
  const entry = (id: string, modified: number) => ({ thread: "t", id, key: id, size: 1, modified: new Date(modified) })
  expect([entry("a", 1), entry("c", 2), entry("b", 2)].sort(newestFirst).map(({ id }) => id)).toEqual(["c", "b", "a"])
})

/** Checkpoints on memory that fails `times` times for each put. */
const flaky = (metrics: CheckpointMetrics, times: number) => {
  const backend = Effect.map(Memory.make(), (inner) =>
    faulty(inner, {
      seed: 1,
      rules: [{ on: "put", key: "/a.json", nth: Array.from({ length: times }, (_, n) => n + 1), fault: fail() }],
    }).backend)
  const retry = metrics.counting(Schedule.spaced(2).pipe(Schedule.upTo({ times: 3 })))
  const store = ObjectStore.layer(backend, { policy: { retry, breaker: "none" } })
  return Checkpoints.layer({ metrics, labels: { bucket: "agents" } }).pipe(Layer.provide(store))
}

test("row 235: retries and the time waited for them are counted", async () => {
  const metrics = new CheckpointMetrics()
  const save = Checkpoints.use((checkpoints) => checkpoints.save("t", {}, { id: "a" }))
  await Effect.runPromise(Effect.provide(save, flaky(metrics, 2)))
  expect(metrics.counters()).toMatchObject({ retries_total: 2, retry_delays_total_ms: 4, saves_failed: 0 })
  await Effect.runPromise(Effect.flip(Effect.provide(save, flaky(metrics, 10))))
  expect(metrics.counters()).toMatchObject({ retries_total: 5, saves_total: 2, saves_failed: 1 })
  expect(metrics.errors()).toEqual({ Unavailable: 1 })
})

test("row 236: Prometheus and CloudWatch read the counters", () => {
  const metrics = new CheckpointMetrics()
  metrics.add("saves_total", 3)
  metrics.failed("Timeout")
  const lines = metrics.prometheus().split("\n")
  const sample = /^[a-z_]+(\{reason="[A-Za-z]+"\})? \d+$/
  const samples = lines.filter((line) => line !== "" && !line.startsWith("#"))
  expect(samples.length).toBe(15)
  for (const line of samples) expect(line).toMatch(sample)
  for (const line of lines.filter((one) => one.startsWith("# TYPE"))) expect(line).toMatch(/^# TYPE [a-z_]+ counter$/)
  expect(samples).toContain("holdfast_checkpoint_saves_total 3")
  expect(samples).toContain('holdfast_checkpoint_errors_total{reason="Timeout"} 1')
  const emf = JSON.parse(metrics.cloudWatch("Agents", new Date(5)))
  expect(emf._aws.Timestamp).toBe(5)
  const [directive] = emf._aws.CloudWatchMetrics
  expect(directive.Namespace).toBe("Agents")
  expect(directive.Dimensions).toEqual([[]])
  expect(directive.Metrics.length).toBe(14)
  for (const { Name, Unit } of directive.Metrics) {
    expect(typeof emf[Name]).toBe("number")
    expect(["Count", "Bytes", "Milliseconds"]).toContain(Unit)
  }
  expect(emf.saves_total).toBe(3)
})

test("row 176: failures are counted by their reason", async () => {
  const metrics = new CheckpointMetrics()
  const program = Effect.gen(function* () {
    const checkpoints = yield* Checkpoints
    for (const _ of [1, 2, 3]) yield* Effect.flip(checkpoints.save("..", {}))
    for (const _ of [1, 2]) yield* Effect.flip(checkpoints.save("t", () => {}))
    yield* Effect.flip(checkpoints.save("t", {}, { id: "a" }))
    yield* checkpoints.find("t")
  })
  await Effect.runPromise(Effect.provide(program, flaky(metrics, 10)))
  expect(metrics.errors()).toEqual({ InvalidKey: 3, InvalidInput: 2, Unavailable: 1 })
  expect(metrics.counters()).toMatchObject({ saves_total: 6, saves_failed: 6, loads_total: 1, loads_failed: 0 })
})

test("rows 237, 238: a debug log line says operation, bucket, duration, attempts and a key that names nobody", async () => {
  const lines: Array<Record<string, unknown>> = []
  const logger = Logger.map(Logger.formatJson, (line) => void lines.push(JSON.parse(line)))
  const program = Checkpoints.use((checkpoints) => checkpoints.save("ada@example.org", { secret: 1 }, { id: "a" }))
  const logged = (level: "Info" | "Debug") =>
    program.pipe(
      Effect.provide(flaky(new CheckpointMetrics(), 2)),
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, level),
    )
  await Effect.runPromise(logged("Info"))
  expect(lines).toEqual([])
  await Effect.runPromise(logged("Debug"))
  expect(lines.length).toBe(1)
  expect(lines[0]).toMatchObject({
    level: "DEBUG",
    annotations: {
      operation: "save",
      bucket: "agents",
      attempts: 3,
      key: expect.stringMatching(/^checkpoints\/[0-9a-f]{8}\/[0-9a-f]{8}$/),
    },
  })
  expect(JSON.stringify(lines)).not.toContain("ada")
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    },
  })
  await Effect.runPromise(Effect.provideService(logged("Info"), Tracer.Tracer, tracer))
  const own = spans.filter(({ name }) => name === "holdfast.saveCheckpoint")
  expect(own.length).toBe(1)
  const { key, ...attributes } = Object.fromEntries(own[0]!.attributes)
  expect(attributes).toEqual({ bucket: "agents", operation: "save", attempts: 3 })
  expect(key).toMatch(/^checkpoints\/[0-9a-f]{8}\/[0-9a-f]{8}$/)
  expect(own[0]!.status._tag).toBe("Ended")
})
