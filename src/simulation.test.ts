/**
 * Random programs against a backend that fails at random, compared with a model of what may be there.
 *
 * After a success the model is certain; after a failure that says `ambiguous` the old and the new are both
 * possible; after any other failure nothing may have changed. A failing seed is printed and replays:
 * `HOLDFAST_SEED=n bun test src/simulation.test.ts`.
 */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import process from "node:process"
import * as Memory from "./backends/memory.ts"
import { StoreError } from "./error.ts"
import { openBackend, type Store } from "./store.ts"
import { cut, delay, fail, failAfter, faulty, flip, stall, truncate } from "./testing/faulty.ts"

const soak = process.env["HOLDFAST_SOAK"] === "1"
const one = process.env["HOLDFAST_SEED"]
const seeds = one === undefined ? Array.from({ length: soak ? 20_000 : 400 }, (_, i) => i + 1) : [Number(one)]
const steps = 40

const generator = (seed: number) => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    below: (n: number): number => Math.floor(next() * n),
    pick: <A>(values: ReadonlyArray<A>): A => values[Math.floor(next() * values.length)]!,
  }
}

/** What a key may hold: contents, or `undefined` for no object. */
type Possible = Set<string | undefined>

const run = async (seed: number): Promise<{ readonly injected: number; readonly log: ReadonlyArray<string> }> => {
  const random = generator(seed)
  const log: Array<string> = []
  const memory = await Effect.runPromise(Memory.make())
  const { backend, injected } = faulty(memory, {
    seed,
    rules: [
      { probability: 0.06, fault: fail() },
      { on: ["put", "remove", "completeUpload", "copy", "move", "putPart"], probability: 0.12, fault: failAfter() },
      { on: "get", probability: 0.1, fault: cut(random.below(300)) },
      { on: "get", probability: 0.1, fault: truncate(random.below(300)) },
      { on: "get", probability: 0.03, fault: stall(random.below(300)) },
      { on: ["get", "put", "putPart"], probability: 0.05, fault: flip(random.below(300)) },
      { on: "putPart", probability: 0.2, fault: delay(1) },
    ],
  })
  await using store: Store = await openBackend(Effect.succeed(backend), {
    policy: { retry: Schedule.spaced(0).pipe(Schedule.upTo({ times: random.below(4) })), breaker: "none" },
    idleTimeout: 3,
  })
  const keys = ["a", "b", "c/d"]
  const model = new Map<string, Possible>(keys.map((key) => [key, new Set([undefined])]))
  const etags = new Map<string, string>()
  let version = 0

  /** Runs a call that would turn the states `from` into `to`; checks what it says against the model. */
  const change = async (
    what: string,
    call: () => Promise<{ etag: string } | void>,
    effects: ReadonlyArray<readonly [key: string, after: ReadonlyArray<string | undefined>]>,
  ): Promise<void> => {
    try {
      const info = await call()
      log.push(`${what}: ok`)
      for (const [key, after] of effects) model.set(key, new Set(after))
      if (info !== undefined) etags.set(effects.at(-1)![0], info.etag)
    } catch (error) {
      if (!StoreError.is(error)) throw error
      log.push(`${what}: ${error.reason}${error.ambiguous ? ", ambiguous" : ""}`)
      if (error.ambiguous) {
        for (const [key, after] of effects) for (const value of after) model.get(key)!.add(value)
      }
      const { reason } = error
      // A refusal that is certain tells what is there.
      if (reason === "AlreadyExists") model.get(effects.at(-1)![0])!.delete(undefined)
    }
    for (const [key, possible] of model) {
      if (possible.size === 0) throw new Error(`the model knows no state for ${key}\n${log.join("\n")}`)
    }
  }

  const check = async (key: string): Promise<void> => {
    let found: string | undefined
    try {
      const loaded = await store.load(key)
      found = await loaded.text()
      etags.set(key, loaded.info.etag)
    } catch (error) {
      if (!StoreError.is(error)) throw error
      log.push(`load ${key}: ${error.reason}`)
      if (error.reason !== "NotFound") return
    }
    const possible = model.get(key)!
    if (!possible.has(found)) {
      const states = [...possible].map((state) => state?.slice(0, 12))
      throw new Error(`${key} holds ${found?.slice(0, 12)}, possible: ${states}\n${log.join("\n")}`)
    }
    log.push(`load ${key}: ${found?.slice(0, 12)}`)
    model.set(key, new Set([found]))
  }

  for (let step = 0; step < steps; step++) {
    const key = random.pick(keys)
    const other = random.pick(keys.filter((candidate) => candidate !== key))
    const content = `v${++version} `.padEnd(random.pick([4, 90, 300]), "x")
    const options = { partSize: 100, concurrency: 2 }
    const source = (): ReadableStream<Uint8Array> => new Blob([content]).stream() as ReadableStream<Uint8Array>
    switch (random.below(8)) {
      case 0:
      case 1:
        await change(`save ${key} ${content.slice(0, 4)}`, () => store.save(key, source(), options), [[key, [content]]])
        break
      case 2:
        await change(
          `create ${key} ${content.slice(0, 4)}`,
          () => store.save(key, source(), { ...options, ifNoneMatch: "*" }),
          [[key, [content]]],
        )
        break
      case 3:
        await change(
          `replace ${key} ${content.slice(0, 4)}`,
          () => store.save(key, source(), { ...options, ifMatch: etags.get(key) ?? "none" }),
          [[key, [content]]],
        )
        break
      case 4:
        await change(`remove ${key}`, () => store.remove(key), [[key, [undefined]]])
        break
      case 5:
        await change(`copy ${key} ${other}`, () => store.copy(key, other), [[
          other,
          [...model.get(key)!].filter((value) => value !== undefined),
        ]])
        break
      case 6:
        await change(`move ${key} ${other}`, () => store.move(key, other), [
          [key, [undefined]],
          [other, [...model.get(key)!].filter((value) => value !== undefined)],
        ])
        break
      default:
        await check(key)
    }
  }
  for (const key of keys) await check(key)
  return { injected: injected.length, log }
}

test(`faults at random: ${seeds.length} programs never find what cannot be there`, async () => {
  let injected = 0
  for (const seed of seeds) {
    try {
      injected += (await run(seed)).injected
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
  }
  expect(injected / seeds.length).toBeGreaterThan(5)
}, 1_800_000)

test("a program replays from its seed", async () => {
  expect((await run(7)).log).toEqual((await run(7)).log)
})
