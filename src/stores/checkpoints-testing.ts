/**
 * The cases of the checkpoint store, for every place.
 *
 * @module
 */
import { expect } from "bun:test"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { StoreError } from "../error.ts"
import { makeObjectStore, type ObjectStoreService } from "../object-store.ts"
import { run } from "../run.ts"
import type { Store } from "../store.ts"
import { fail, faulty, type Operation, type Rule } from "../testing/faulty.ts"
import { type Checkpoint, type CheckpointsService, CheckpointStore, makeCheckpoints } from "./checkpoints.ts"
import type { Suite } from "./testing.ts"

const collect = async <A>(items: AsyncIterable<A>): Promise<Array<A>> => {
  const all: Array<A> = []
  for await (const item of items) all.push(item)
  return all
}

const failure = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(() => Promise.reject(new Error("it did not fail")), (error: StoreError) => error)

const keysOf = async (store: Store): Promise<Array<string>> => (await collect(store.list())).map(({ key }) => key)

const idsOf = async (checkpoints: CheckpointStore, thread: string): Promise<Array<string>> =>
  (await collect(checkpoints.list(thread))).map(({ id }) => id)

/** The same place behind faults, and what was asked of it. */
const behind = async (store: Store, rules: ReadonlyArray<Rule> = []) => {
  const { backend, calls } = faulty(store.service.calls, { seed: 1, rules })
  const service = await run(makeObjectStore(backend, { policy: { retry: "none", breaker: "none" } }))
  return { service, calls }
}

const changing: ReadonlyArray<Operation> = ["put", "remove", "removeMany", "completeUpload", "copy", "move"]

/** All calls that change something fail from the `n`-th on, as if the process had died before it. */
const dying = async (store: Store, n: number): Promise<ObjectStoreService> => {
  let count = 0
  const mutates: Rule = { on: changing, key: () => ++count >= n, fault: fail() }
  return (await behind(store, [mutates])).service
}

const gzipped = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer())

const state = {
  values: { messages: ["hello", "wörld \u{1f99c}"], nested: { list: [1, 2.5, -0.1, null, true], empty: {} } },
  history: [],
  current_node: null,
}

/** As the original stores it. */
const original = (id: string, n: number): string =>
  JSON.stringify({ version: id, state: { n }, metadata: {}, timestamp: "2025-09-26T22:15:00.123456789Z" })

const uuid = "2c5ea4c0-4067-41fe-a1b5-6e1f3a1b7f5d"

/** The cases. */
export const suite: Suite = {
  name: "checkpoints",
  cases: [
    {
      rows: [127],
      name: "save returns an id, and load gives what was saved under it",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const id = await checkpoints.save("thread-1", state)
        expect((await checkpoints.load("thread-1", id)).state).toEqual(state)
        expect(await keysOf(store)).toEqual([`checkpoints/thread-1/${id}.json`, "checkpoints/thread-1/latest"])
        expect(await checkpoints.exists("thread-1", id)).toBe(true)
        expect(await checkpoints.exists("thread-1", uuid)).toBe(false)
        for (const value of [null, 0, "", false, [], "text", [[{}]]]) {
          expect((await checkpoints.load("plain", await checkpoints.save("plain", value))).state).toEqual(value)
        }
      },
    },
    {
      rows: [128],
      name: "metadata and parent come back; without an id the latest is loaded, also by another process",
      run: async (store, place) => {
        const checkpoints = new CheckpointStore(store)
        const metadata = { step: 1, source: "loop", writes: { node: ["a"] } }
        const first = await checkpoints.save("t", { n: 1 }, { metadata })
        const second = await checkpoints.save("t", { n: 2 }, { parent: first })
        await using other = await place.open()
        const elsewhere = new CheckpointStore(other)
        expect(await elsewhere.load("t", first)).toMatchObject({ metadata, parent: undefined, state: { n: 1 } })
        expect(await elsewhere.load("t")).toMatchObject({ id: second, parent: first, metadata: {}, state: { n: 2 } })
        const third = await elsewhere.save("t", { n: 3 }, { parent: second })
        expect((await checkpoints.load("t")).id).toBe(third)
        expect(await checkpoints.find("nobody")).toBeUndefined()
        expect((await failure(checkpoints.load("nobody"))).reason).toBe("NotFound")
        expect((await failure(checkpoints.load("t", uuid))).key).toBe(`checkpoints/t/${uuid}.json`)
      },
    },
    {
      rows: [128],
      name: "list gives the newest first, up to a limit, of one thread or of all",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const ids: Array<string> = []
        for (let n = 0; n < 5; n++) ids.push(await checkpoints.save("b", { n }))
        const other = await checkpoints.save("a", {})
        expect(await idsOf(checkpoints, "b")).toEqual(ids.toReversed())
        expect((await collect(checkpoints.list("b", { limit: 2 }))).map(({ id }) => id)).toEqual([ids[4]!, ids[3]!])
        expect((await collect(checkpoints.list())).map(({ thread, id }) => [thread, id]))
          .toEqual([["a", other], ...ids.toReversed().map((id) => ["b", id])])
        expect(await collect(checkpoints.threads())).toEqual(["a", "b"])
        const states = (await collect(checkpoints.history("b", { limit: 3 }))).map((one) => one.state)
        expect(states).toEqual([{ n: 4 }, { n: 3 }, { n: 2 }])
        expect(await collect(checkpoints.list("nobody"))).toEqual([])
      },
    },
    {
      rows: [128],
      name: "remove takes one checkpoint, or the whole thread and nothing of its neighbours",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const ids = [await checkpoints.save("t", { n: 1 }), await checkpoints.save("t", { n: 2 })]
        const kept = await checkpoints.save("t2", { n: 3 })
        await checkpoints.remove("t", ids[1])
        expect(await idsOf(checkpoints, "t")).toEqual([ids[0]!])
        expect(await checkpoints.load("t")).toMatchObject({ id: ids[0]!, state: { n: 1 } })
        await checkpoints.remove("t", ids[1])
        await checkpoints.remove("t")
        await checkpoints.remove("t")
        expect(await checkpoints.find("t")).toBeUndefined()
        expect(await keysOf(store)).toEqual([`checkpoints/t2/${kept}.json`, "checkpoints/t2/latest"])
        const again = await checkpoints.save("t", { n: 4 })
        expect((await checkpoints.load("t")).id).toBe(again)
      },
    },
    {
      rows: [129],
      name: "a repetitive state of 13 KB takes less than half of that, and gzip opens it",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const text = "All work and no play makes Jack a dull boy. ".repeat(300)
        const id = await checkpoints.save("t", { text })
        const { size } = await checkpoints.stat("t", id)
        expect(size).toBeLessThan(text.length / 2)
        // One member, which is all that the original and `DecompressionStream` read.
        const stored = await (await store.load(`checkpoints/t/${id}.json`)).bytes()
        const plain = new Blob([stored]).stream().pipeThrough(new DecompressionStream("gzip"))
        expect((await new Response(plain).json()).state.text).toBe(text)
      },
    },
    {
      rows: [140],
      name: "what was stored with compression loads without it, and the other way round",
      run: async (store) => {
        const zipped = new CheckpointStore(store)
        const plain = new CheckpointStore(store, { compression: false })
        const ids = [await zipped.save("t", state), await plain.save("t", state)]
        for (const checkpoints of [zipped, plain]) {
          for (const id of ids) expect((await checkpoints.load("t", id)).state).toEqual(state)
        }
        const raw = await (await store.load(`checkpoints/t/${ids[1]}.json`)).json()
        expect(raw).toMatchObject({ version: ids[1], state, metadata: {} })
      },
    },
    {
      rows: [140],
      name: "objects of the original load, gzip or plain, and the newest of them is the latest",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const old = uuid.replace("2c", "ff")
        await store.save(`checkpoints/t/${old}.json`, await gzipped(original(old, 1)), { compression: "none" })
        // Stores may keep times of a save in whole seconds.
        await new Promise((resolve) => setTimeout(resolve, 1100))
        await store.save(`checkpoints/t/${uuid}.json`, original(uuid, 2), { compression: "none" })
        expect((await checkpoints.load("t", old)).state).toEqual({ n: 1 })
        expect(await checkpoints.load("t")).toMatchObject({ id: uuid, state: { n: 2 }, parent: undefined })
        expect(await idsOf(checkpoints, "t")).toEqual([uuid, old])
        const next = await checkpoints.save("t", { n: 3 }, { parent: uuid })
        expect(await idsOf(checkpoints, "t")).toEqual([next, uuid, old])
      },
    },
    {
      rows: [136],
      name: "many saves give their ids in order, and the last of a thread is its latest",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const items = Array.from({ length: 20 }, (_, n) => ({ thread: `t${n % 3}`, state: { n } }))
        const ids = await checkpoints.saveMany(items)
        expect(new Set(ids).size).toBe(20)
        for (const [n, id] of ids.entries()) {
          expect((await checkpoints.load(`t${n % 3}`, id)).state).toEqual({ n })
        }
        expect((await checkpoints.load("t1")).state).toEqual({ n: 19 })
        expect((await checkpoints.load("t2")).state).toEqual({ n: 17 })
        const results = await checkpoints.removeMany(ids.map((id, n) => ({ thread: `t${n % 3}`, id })))
        expect(results).toEqual(ids.map((id, n) => ({ thread: `t${n % 3}`, id })))
        for (const thread of ["t0", "t1", "t2"]) expect(await checkpoints.find(thread)).toBeUndefined()
      },
    },
    {
      rows: [136],
      name: "more than a thousand are removed in batches",
      on: ["memory", "peer"],
      run: async (store) => {
        const { service, calls } = await behind(store)
        const checkpoints = makeCheckpoints(service)
        const pairs = Array.from({ length: 2001 }, (_, n) => ({ thread: "t", id: `id-${n}` }))
        await store.save("checkpoints/t/id-2000.json", original("id-2000", 1))
        expect(await run(checkpoints.removeMany(pairs))).toEqual(pairs)
        expect(calls("removeMany")).toBe(3)
        expect(await keysOf(store)).toEqual([])
      },
    },
    {
      rows: [132],
      name: "a store that keeps no versions says so",
      on: ["memory", "disk"],
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const id = await checkpoints.save("t", { n: 1 })
        expect((await failure(collect(checkpoints.versions("t", id)))).reason).toBe("Unsupported")
        expect((await failure(checkpoints.presign("t", id))).reason).toBe("Unsupported")
      },
    },
    {
      rows: [234, 235],
      name: "the counters are what was done",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const ids = [await checkpoints.save("t", { n: 1 }), await checkpoints.save("t", { n: 2 })]
        await checkpoints.load("t", ids[0])
        expect(await checkpoints.find("t", uuid)).toBeUndefined()
        await store.save(`checkpoints/t/${uuid}.json`, "{")
        expect((await failure(checkpoints.load("t", uuid))).reason).toBe("Corrupt")
        expect((await failure(checkpoints.save("..", {}))).reason).toBe("InvalidKey")
        const sizes = await Promise.all(ids.map(async (id) => (await checkpoints.stat("t", id)).size))
        await checkpoints.remove("t", ids[1])
        await checkpoints.removeMany([{ thread: "t", id: ids[0]! }, { thread: "t", id: uuid }])
        const { operation_duration_ms: duration, ...counters } = checkpoints.metrics.counters()
        expect(duration).toBeGreaterThan(0)
        expect(counters).toEqual({
          saves_total: 3,
          saves_failed: 1,
          loads_total: 3,
          loads_failed: 1,
          deletes_total: 3,
          deletes_failed: 0,
          circuit_breaker_opened: 0,
          circuit_breaker_closed: 0,
          circuit_breaker_half_open: 0,
          circuit_breaker_rejections: 0,
          retries_total: 0,
          retry_delays_total_ms: 0,
          bytes_transferred: 2 * sizes[0]! + sizes[1]!,
        })
        expect(checkpoints.metrics.errors()).toEqual({ Corrupt: 1, InvalidKey: 1 })
      },
    },
    {
      rows: [],
      name: "a save is two writes, the latest two reads, and a listing reads no checkpoint",
      run: async (store) => {
        const { service, calls } = await behind(store)
        const checkpoints = makeCheckpoints(service)
        const ids = await Promise.all([0, 1, 2, 3].map((n) => run(checkpoints.save("t", { n }))))
        expect([calls("put"), calls("get"), calls("list"), calls("stat")]).toEqual([8, 0, 0, 0])
        await run(checkpoints.load("t"))
        expect([calls("get"), calls("list"), calls("stat")]).toEqual([2, 0, 0])
        await run(checkpoints.load("t", ids[0]))
        expect(calls("get")).toBe(3)
        expect((await run(Stream.runCollect(checkpoints.list("t")))).length).toBe(4)
        expect([calls("get"), calls("list"), calls("stat")]).toEqual([3, 1, 0])
        await run(checkpoints.remove("t"))
        expect([calls("list"), calls("remove"), calls("removeMany"), calls("get")]).toEqual([2, 1, 1, 3])
      },
    },
    {
      rows: [],
      name: "fields that nobody here knows are kept",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store, { compression: false })
        const more = { "x-trace": { id: 7 }, tags: ["a"] }
        const text = JSON.stringify({ ...JSON.parse(original(uuid, 1)), ...more, metadata: { unknown: [1] } })
        await store.save(`checkpoints/t/${uuid}.json`, text, { compression: "none" })
        const { other, metadata, state } = await checkpoints.load("t", uuid)
        expect(other).toEqual(more)
        expect(metadata).toEqual({ unknown: [1] })
        await checkpoints.save("t", state, { id: uuid, metadata, other })
        const stored = await (await store.load(`checkpoints/t/${uuid}.json`)).json<Record<string, unknown>>()
        expect(stored).toMatchObject({ ...more, metadata: { unknown: [1] }, state: { n: 1 }, version: uuid })
      },
    },
    {
      rows: [],
      name: "ids that would leave their place are refused, and nothing changes",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const good = await checkpoints.save("t", {})
        const before = await keysOf(store)
        for (const bad of ["", ".", "..", "../t", "a/b", "a\0b", "a\\b", "x".repeat(1025)]) {
          const calls = [
            () => checkpoints.save(bad, {}),
            () => checkpoints.save("t", {}, { id: bad }),
            () => checkpoints.save("t", {}, { parent: bad }),
            () => checkpoints.saveMany([{ thread: "t", state: {} }, { thread: bad, state: {} }]),
            () => checkpoints.update(bad, () => ({ state: {} })),
            () => checkpoints.load(bad),
            () => checkpoints.load("t", bad),
            () => checkpoints.exists("t", bad),
            () => checkpoints.stat(bad, good),
            () => collect(checkpoints.list(bad)),
            () => collect(checkpoints.history(bad)),
            () => checkpoints.remove(bad),
            () => checkpoints.remove("t", bad),
            () => checkpoints.removeMany([{ thread: "t", id: good }, { thread: "t", id: bad }]),
            () => checkpoints.presign(bad, good),
          ]
          for (const call of calls) expect((await failure(call())).reason).toBe("InvalidKey")
        }
        expect(await keysOf(store)).toEqual(before)
      },
    },
    {
      rows: [],
      name: "a damaged or foreign object is an error by its own name and hides no other",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const ids = [await checkpoints.save("t", { n: 1 }), await checkpoints.save("t", { n: 2 })]
        const bodies = ["", "{", "[]", '{"version":"x"}', "\x1f\x8b damaged", JSON.stringify({ ...state, version: 7 })]
        for (const [i, body] of bodies.entries()) {
          const key = `checkpoints/t/bad-${i}.json`
          await store.save(key, new TextEncoder().encode(body), { compression: "none" })
          expect(await failure(checkpoints.load("t", `bad-${i}`))).toMatchObject({ reason: "Corrupt", key })
        }
        await store.save("checkpoints/t/notes.txt", "not ours")
        expect((await collect(checkpoints.history("t"))).map((one) => one.id)).toEqual(ids.toReversed())
        expect((await collect(checkpoints.list("t"))).length).toBe(2 + bodies.length)
        expect((await checkpoints.load("t")).id).toBe(ids[1]!)
        await store.save("checkpoints/t/latest", "{}")
        expect(await failure(checkpoints.load("t"))).toMatchObject({
          reason: "Corrupt",
          key: "checkpoints/t/latest",
        })
      },
    },
    {
      rows: [],
      name: "a listing that breaks off fails as a whole",
      on: ["memory"],
      run: async (store) => {
        for (let n = 0; n < 1500; n++) await store.save(`checkpoints/t/id-${n}.json`, original(`id-${n}`, n))
        const { service } = await behind(store, [{ on: "list", nth: 2, fault: fail() }])
        const seen: Array<string> = []
        const checkpoints = makeCheckpoints(service)
        const listing = Stream.runForEach(checkpoints.list("t"), ({ id }) => Effect.sync(() => seen.push(id)))
        expect((await Effect.runPromise(Effect.flip(listing))).reason).toBe("Unavailable")
        expect(seen).toEqual([])
      },
    },
    {
      rows: [],
      name: "eight writers that change one thread lose nothing, and make one line of it",
      run: async (store, place) => {
        const rounds = place.name === "memory" ? 200 : place.name === "ceph" ? 2 : 5
        await Promise.all(Array.from({ length: 8 }, async () => {
          await using own = await place.open()
          const checkpoints = new CheckpointStore(own)
          for (let i = 0; i < rounds; i++) {
            await checkpoints.update("t", (current) => ({ state: { n: count(current) + 1 } }))
          }
        }))
        const checkpoints = new CheckpointStore(store)
        let current: Checkpoint | undefined = await checkpoints.load("t")
        for (let n = 8 * rounds; n > 0; n--) {
          expect(count(current)).toBe(n)
          current = current?.parent === undefined ? undefined : await checkpoints.load("t", current.parent)
        }
        expect(current).toBeUndefined()
        expect((await idsOf(checkpoints, "t")).length).toBe(8 * rounds)
      },
    },
    {
      rows: [],
      name: "eight writers that save into one thread at once lose nothing",
      run: async (store, place) => {
        const rounds = place.name === "memory" ? 200 : 5
        await Promise.all(Array.from({ length: 8 }, async () => {
          await using own = await place.open()
          const checkpoints = new CheckpointStore(own)
          for (let i = 0; i < rounds; i++) await checkpoints.save("t", { i })
        }))
        const checkpoints = new CheckpointStore(store)
        expect((await idsOf(checkpoints, "t")).length).toBe(8 * rounds)
        expect((await checkpoints.load("t")).state).toEqual({ i: rounds - 1 })
      },
    },
    {
      rows: [],
      name: "a writer that dies between any two writes leaves the latest as it was, or the new one",
      run: async (store) => {
        const checkpoints = new CheckpointStore(store)
        const verbs: ReadonlyArray<
          (service: CheckpointsService, thread: string) => Effect.Effect<unknown, StoreError>
        > = [
          (service, thread) => service.save(thread, { n: 2 }),
          (service, thread) => service.update(thread, () => Effect.succeed({ state: { n: 2 } })),
          (service, thread) => service.saveMany([{ thread, state: { n: 2 } }]),
          (service, thread) => service.remove(thread),
        ]
        for (const [v, verb] of verbs.entries()) {
          for (let n = 1, died = true; died; n++) {
            const thread = `t${v}-${n}`
            await checkpoints.save(thread, { n: 1 })
            died = await run(verb(makeCheckpoints(await dying(store, n)), thread)).then(() => false, () => true)
            const left = await checkpoints.find(thread)
            const after = v === 3 ? undefined : { n: 2 }
            if (died) expect([{ n: 1 }, after]).toContainEqual(left?.state as typeof after)
            else {
              expect(left?.state).toEqual(after)
              expect(n).toBeGreaterThan(1)
            }
            expect(n).toBeLessThan(8)
            await checkpoints.save(thread, { n: 3 })
            expect((await checkpoints.load(thread)).state).toEqual({ n: 3 })
          }
        }
      },
    },
  ],
}

const count = (checkpoint: Checkpoint | undefined): number => (checkpoint?.state as { n: number } | undefined)?.n ?? 0
