import { expect, test } from "bun:test"
import {
  type Checkpoint,
  type CheckpointTuple,
  emptyCheckpoint,
  ERROR,
  INTERRUPT,
  MemorySaver,
  uuid6,
} from "@langchain/langgraph-checkpoint"
import fc from "fast-check"
import type { StoreError } from "../error.ts"
import { openBackend, type Store } from "../store.ts"
import { localPlaces } from "../stores/testing.ts"
import { fail, faulty, type Rule } from "../testing/faulty.ts"
import * as Effect from "effect/Effect"
import * as Memory from "../backends/memory.ts"
import { HoldfastSaver } from "./langgraph.ts"
import { checkpointPrefix, placeOf, reversed, writesKey } from "./langgraph-keys.ts"
import { validate, validateSaver } from "./langgraph-testing.ts"

for (const kind of localPlaces) {
  test(`LangGraph's validation of savers holds on ${kind.name}`, async () => {
    await using place = await kind.fresh()
    await using store = await place.open()
    await validateSaver(store)
  }, 60_000)
}

test("the validation fails for savers that are wrong", async () => {
  class Forgetful extends MemorySaver {
    override putWrites(): Promise<void> {
      return Promise.resolve()
    }
  }
  const { failed } = await validate("Forgetful", () => new Forgetful())
  expect(failed.length).toBeGreaterThan(10)
  expect((await validate("MemorySaver", () => new MemorySaver())).failed).toEqual([])
}, 60_000)

/** A store on memory, and what was asked of it. */
const counted = async (rules: ReadonlyArray<Rule> = []) => {
  const inner = await Effect.runPromise(Memory.make())
  const { backend, calls } = faulty(inner, { seed: 1, rules })
  const store = await openBackend(Effect.succeed(backend), { policy: { retry: "none", breaker: "none" } })
  return { store, calls, inner }
}

const metadata = { source: "loop" as const, step: 0, parents: {} }

const checkpointOf = (n: number, id = uuid6(n)): Checkpoint => ({
  ...emptyCheckpoint(),
  id,
  channel_values: { n },
  channel_versions: { n },
})

const thread = (thread_id: string, checkpoint_ns?: string) => ({
  configurable: { thread_id, ...(checkpoint_ns === undefined ? {} : { checkpoint_ns }) },
})

const failure = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(() => Promise.reject(new Error("it did not fail")), (error: StoreError) => error)

const collect = async (tuples: AsyncIterable<CheckpointTuple>): Promise<Array<CheckpointTuple>> => {
  const all: Array<CheckpointTuple> = []
  for await (const tuple of tuples) all.push(tuple)
  return all
}

const keysOf = async (store: Store): Promise<Array<string>> => {
  const keys: Array<string> = []
  for await (const { key } of store.list()) keys.push(key)
  return keys
}

test("a put is one write, and the latest of any number one list and one read for each object of it", async () => {
  const { store, calls } = await counted()
  const saver = new HoldfastSaver(store)
  let config: Parameters<HoldfastSaver["put"]>[0] = thread("t")
  for (let n = 1; n <= 120; n++) config = await saver.put(config, checkpointOf(n), metadata, { n })
  expect([calls("put"), calls("get"), calls("list")]).toEqual([120, 0, 0])
  await Promise.all(["a", "b", "c"].map((task) => saver.putWrites(config, [["n", task], ["m", 1]], task)))
  expect([calls("put"), calls("get"), calls("list")]).toEqual([123, 0, 0])
  const latest = await saver.getTuple(thread("t"))
  expect(latest?.checkpoint.channel_values["n"]).toBe(120)
  expect(latest?.pendingWrites?.length).toBe(6)
  expect([calls("list"), calls("get"), calls("stat")]).toEqual([1, 4, 0])
  await saver.getTuple(config)
  expect([calls("list"), calls("get")]).toEqual([2, 8])
  expect((await collect(saver.list(thread("t"), { limit: 2 }))).length).toBe(2)
  // Two checkpoints, one of them with three tasks' writes; no body beyond the limit.
  expect(calls("get")).toBe(8 + 5)
})

test("what a task has written stays; of LangGraph's own channels the newest counts", async () => {
  const { store } = await counted()
  const saver = new HoldfastSaver(store)
  const config = await saver.put(thread("t"), checkpointOf(1), metadata, { n: 1 })
  await saver.putWrites(config, [["a", 1], ["b", 2]], "task", "path-2")
  await saver.putWrites(config, [["a", 9], ["b", 9], ["c", 3]], "task", "path-2")
  await saver.putWrites(config, [[ERROR, "first"]], "task", "path-2")
  await saver.putWrites(config, [[ERROR, "second"], [INTERRUPT, "wait"]], "task", "path-2")
  await saver.putWrites(config, [["d", 4], ["constructor", 5]], "other", "path-1")
  expect((await saver.getTuple(config))?.pendingWrites).toEqual([
    ["other", "d", 4],
    ["other", "constructor", 5],
    ["task", INTERRUPT, "wait"],
    ["task", ERROR, "second"],
    ["task", "a", 1],
    ["task", "b", 2],
    ["task", "c", 3],
  ])
})

test("tasks that write at once, and one task from two processes, lose nothing", async () => {
  const { store } = await counted()
  const saver = new HoldfastSaver(store)
  const other = new HoldfastSaver(store)
  const config = await saver.put(thread("t"), checkpointOf(1), metadata, { n: 1 })
  const channels = [ERROR, INTERRUPT, "__scheduled__", "__resume__"]
  await Promise.all(
    Array.from(
      { length: 10 },
      (_, n) =>
        channels.map((channel, i) => (i % 2 === 0 ? saver : other).putWrites(config, [[channel, n]], `task-${n}`)),
    ).flat(),
  )
  const writes = (await saver.getTuple(config))!.pendingWrites!
  expect(writes.length).toBe(40)
  for (const [task, , value] of writes) expect(task).toBe(`task-${value}`)
})

test("any ids keep apart: keys name one place only, and later ids sort first", () => {
  const id = fc.string({ minLength: 1, maxLength: 12, unit: "grapheme" })
  const awkward = fc.constantFrom(
    "/",
    "|",
    ":",
    "%",
    "%2F",
    ".",
    "..",
    "~",
    "a/b",
    "a|b",
    "ns=",
    "latest",
    "\0",
    "é",
    "e\u0301",
  )
  const any = fc.oneof(id, awkward)
  const places = fc.record({ thread: any, namespace: fc.oneof(any, fc.constant("")), checkpoint: any })
  fc.assert(fc.property(places, any, (place, task) => {
    const key = writesKey("save", "p/", place, task)
    expect(placeOf("p/", key)).toEqual({ place, writes: true })
    expect(placeOf("p/", `${checkpointPrefix("save", "p/", place)}checkpoint`)).toEqual({ place, writes: false })
  }))
  fc.assert(fc.property(any, any, (a, b) => {
    const [first, second] = [new TextEncoder().encode(a), new TextEncoder().encode(b)]
    const length = Math.min(first.length, second.length)
    let order = 0
    for (let i = 0; i < length && order === 0; i++) order = first[i]! - second[i]!
    order ||= first.length - second.length
    expect(Math.sign(order)).toBe(reversed(a) < reversed(b) ? 1 : reversed(a) === reversed(b) ? 0 : -1)
  }))
  for (
    const key of [
      "p/x",
      "p/thread=t/ns=/zz/checkpoint",
      "q/thread=t",
      "p/thread=t/ns=/00~/other",
      "p/thread=%/ns=/9e~/checkpoint",
    ]
  ) {
    expect(placeOf("p/", key)).toBeUndefined()
  }
})

test("threads and namespaces with awkward ids see only their own checkpoints", async () => {
  const { store } = await counted()
  const saver = new HoldfastSaver(store)
  const ids = ["a", "a/b", "a|b", "a:b", "a%2Fb", "..", "__proto__", "ü"]
  for (const [i, id] of ids.entries()) {
    for (const [j, ns] of ["", ...ids].entries()) {
      await saver.put(thread(id, ns), checkpointOf(100 * i + j), metadata, { n: 1 })
    }
  }
  for (const [i, id] of ids.entries()) {
    for (const [j, ns] of ["", ...ids].entries()) {
      const [only, ...more] = await collect(saver.list(thread(id, ns)))
      expect([only?.checkpoint.channel_values["n"], more]).toEqual([100 * i + j, []])
      expect((await saver.getTuple(thread(id, ns)))?.config).toEqual(only!.config)
    }
    expect((await collect(saver.list(thread(id)))).length).toBe(ids.length + 1)
  }
  await saver.deleteThread("a")
  expect(await saver.getTuple(thread("a"))).toBeUndefined()
  expect((await collect(saver.list({}))).length).toBe((ids.length - 1) * (ids.length + 1))
})

test("ids that no key can hold are InvalidKey, and nothing is stored", async () => {
  const { store } = await counted()
  const saver = new HoldfastSaver(store)
  for (const bad of ["", "x".repeat(1025), "\ud800", 7 as unknown as string]) {
    const config = { configurable: { thread_id: bad, checkpoint_ns: "", checkpoint_id: "c" } }
    expect((await failure(saver.put(config, checkpointOf(1), metadata, {}))).reason).toBe("InvalidKey")
    expect((await failure(saver.putWrites(config, [["n", 1]], "task"))).reason).toBe("InvalidKey")
    expect((await failure(saver.getTuple(config))).reason).toBe("InvalidKey")
    expect((await failure(saver.deleteThread(bad))).reason).toBe("InvalidKey")
    const good = { configurable: { thread_id: "t", checkpoint_ns: "", checkpoint_id: "c" } }
    expect((await failure(saver.put(good, checkpointOf(1, bad), metadata, {}))).reason).toBe("InvalidKey")
    expect((await failure(saver.putWrites(good, [["n", 1]], bad))).reason).toBe("InvalidKey")
  }
  expect(await keysOf(store)).toEqual([])
})

test("fields of a checkpoint that nobody here knows, bytes, and classes that LangGraph knows come back", async () => {
  const { store } = await counted()
  const saver = new HoldfastSaver(store)
  const values = { bytes: new Uint8Array([0, 10, 255]), set: new Set([1]), map: new Map([["k", [1]]]), none: undefined }
  const checkpoint = { ...emptyCheckpoint(), channel_values: values, channel_versions: {}, later: { x: 1 } }
  const config = await saver.put(thread("t"), checkpoint, { ...metadata, mine: [1] } as typeof metadata, {})
  await saver.putWrites(config, [["raw", new Uint8Array([10, 10])]], "task")
  const tuple = await saver.getTuple(config)
  expect(tuple?.checkpoint).toEqual(checkpoint)
  expect(tuple?.metadata).toEqual({ ...metadata, mine: [1] } as typeof metadata)
  expect(tuple?.pendingWrites).toEqual([["task", "raw", new Uint8Array([10, 10])]])
})

test("a damaged checkpoint is Corrupt by its key, and hides no other in a list", async () => {
  const { store } = await counted()
  const saver = new HoldfastSaver(store)
  const first = await saver.put(thread("t"), checkpointOf(1), metadata, { n: 1 })
  const second = await saver.put(first, checkpointOf(2), metadata, { n: 2 })
  const key = (await keysOf(store))[0]!
  const sound = await (await store.load(key)).bytes()
  const bodies: ReadonlyArray<string | Uint8Array> = [
    "",
    "{}\n",
    "text",
    sound.subarray(0, -1),
    new Uint8Array([...sound, 1]),
  ]
  for (const body of bodies) {
    await store.save(key, body)
    expect(await failure(saver.getTuple(second))).toMatchObject({ reason: "Corrupt", key })
    expect(await failure(saver.getTuple(thread("t")))).toMatchObject({ reason: "Corrupt", key })
    expect((await collect(saver.list(thread("t")))).map(({ config }) => config)).toEqual([
      first as CheckpointTuple["config"],
    ])
    expect((await collect(saver.list(thread("t"), { filter: { source: "loop" } }))).length).toBe(1)
  }
})

test("a list that breaks off fails; writes without a checkpoint are none", async () => {
  const { store } = await counted([{ on: "list", nth: 2, fault: fail() }])
  const saver = new HoldfastSaver(store)
  for (let n = 0; n < 1001; n++) {
    const place = { thread: "t", namespace: "", checkpoint: `c${n}` }
    await store.save(writesKey("save", "langgraph/", place, "task"), "")
  }
  expect((await failure(collect(saver.list(thread("t"))))).reason).toBe("Unavailable")
  expect(await collect(saver.list(thread("t")))).toEqual([])
  expect(await saver.getTuple(thread("t"))).toBeUndefined()
})

test("deleting a thread that is broken off never leaves an older state as the latest", async () => {
  const { store } = await counted([{ on: "removeMany", nth: 2, fault: fail() }])
  const saver = new HoldfastSaver(store, { compression: "none" })
  let config: Parameters<HoldfastSaver["put"]>[0] = thread("t")
  for (let n = 1; n <= 1200; n++) config = await saver.put(config, checkpointOf(n), metadata, { n })
  expect((await failure(saver.deleteThread("t"))).reason).toBe("Unavailable")
  expect((await saver.getTuple(thread("t")))?.checkpoint.channel_values["n"]).toBe(1200)
  await saver.deleteThread("t")
  expect(await keysOf(store)).toEqual([])
}, 30_000)

test("a thread moves here from another saver by what all savers share, as docs/migrating.md shows", async () => {
  const { store } = await counted()
  const from = new MemorySaver()
  const to = new HoldfastSaver(store)
  for (const ns of ["", "child|x:1"]) {
    let config: Parameters<MemorySaver["put"]>[0] = thread("t", ns)
    for (let n = 1; n <= 3; n++) {
      config = await from.put(config, checkpointOf(n), metadata)
      await from.putWrites(config, [["a", n], [INTERRUPT, "wait"], ["b", n]], `task-${n}`)
      await from.putWrites(config, [["a", n]], "other")
    }
  }
  for await (const { config, checkpoint, metadata, parentConfig, pendingWrites = [] } of from.list({})) {
    const { thread_id, checkpoint_ns } = config.configurable!
    const checkpoint_id = parentConfig?.configurable?.["checkpoint_id"]
    const parent = { configurable: { thread_id, checkpoint_ns, checkpoint_id } }
    const saved = await to.put(parent, checkpoint, metadata!, checkpoint.channel_versions)
    const tasks = Map.groupBy(pendingWrites, ([task]) => task)
    for (const [task, writes] of tasks) {
      await to.putWrites(saved, writes.map(([, channel, value]) => [channel, value]), task)
    }
  }
  expect(await collect(to.list({}))).toEqual(await collect(from.list({})))
})
