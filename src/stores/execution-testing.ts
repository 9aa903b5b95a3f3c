/**
 * What holds for the execution store wherever it stands, and the values its tests are made of.
 *
 * @module
 */
import { expect } from "bun:test"
import * as Effect from "effect/Effect"
import type { Backend } from "../backend.ts"
import { StoreError } from "../error.ts"
import { openBackend, type Store } from "../store.ts"
import { fail, failAfter, faulty, type Operation } from "../testing/mod.ts"
import {
  type Checkpoint,
  ExecutionStore,
  type Job,
  redactedText,
  type RunEvent,
  type RunSetting,
  type Usage,
} from "./execution.ts"
import type { SeedCase, Suite } from "./testing.ts"

const usage: Usage = { inputTokens: 1, outputTokens: 2, reasoningTokens: 3, totalTokens: 6, cachedInputTokens: 0 }

/** A job; `more` replaces fields. */
export const aJob = (id: string, more: Partial<Job> = {}): Job => ({
  id,
  status: "running",
  coordinatorExpertKey: "expert@1.0.0",
  totalSteps: 0,
  usage,
  startedAt: 1_700_000_000_000,
  ...more,
})

/** A checkpoint of job `j` and run `r`. */
export const aCheckpoint = (id: string, more: Partial<Checkpoint> = {}): Checkpoint => ({
  id,
  jobId: "j",
  runId: "r",
  status: "proceeding",
  stepNumber: 1,
  messages: [
    { id: "m1", type: "instructionMessage", contents: [{ id: "p", type: "textPart", text: "be brief" }], cache: true },
    {
      id: "m2",
      type: "userMessage",
      contents: [{ id: "p", type: "imageUrlPart", url: "https://example.com/a.png", mimeType: "image/png" }],
    },
    {
      id: "m3",
      type: "expertMessage",
      contents: [
        { id: "p", type: "thinkingPart", thinking: "hm" },
        { id: "q", type: "toolCallPart", toolCallId: "c", toolName: "t", args: { deep: [1, { é: null }] } },
      ],
    },
    {
      id: "m4",
      type: "toolMessage",
      contents: [{
        id: "p",
        type: "toolResultPart",
        toolCallId: "c",
        toolName: "t",
        contents: [{ id: "x", type: "textPart", text: "42" }],
        isError: false,
      }],
    },
  ],
  expert: { key: "expert@1.0.0", name: "expert", version: "1.0.0" },
  usage,
  ...more,
})

/** An event of job `j` and run `r`. */
export const anEvent = (
  timestamp: number,
  stepNumber: number,
  more: Partial<RunEvent<"streamRunResult">> = {},
): RunEvent<"streamRunResult"> => ({
  id: `e-${timestamp}-${stepNumber}`,
  expertKey: "expert@1.0.0",
  timestamp,
  jobId: "j",
  runId: "r",
  stepNumber,
  type: "streamRunResult",
  delta: "…",
  ...more,
})

/** How run `runId` of a job was started. */
export const aSetting = (jobId: string, runId: string, more: Partial<RunSetting> = {}): RunSetting => ({
  model: "some-model",
  providerConfig: { providerName: "anthropic", apiKey: "sk-secret-1" },
  jobId,
  runId,
  expertKey: "expert@1.0.0",
  input: { text: "hello" },
  experts: {},
  reasoningBudget: "high",
  maxSteps: 7,
  maxRetries: 3,
  timeout: 60_000,
  startedAt: 1_700_000_000_000,
  updatedAt: 1_700_000_000_000,
  perstackApiBaseUrl: "https://api.example.com",
  env: { TOKEN: "sk-secret-2" },
  ...more,
})

const keysOf = async (store: Store): Promise<ReadonlyArray<string>> => {
  const keys: Array<string> = []
  for await (const { key } of store.list()) keys.push(key)
  return keys
}

const textAt = async (store: Store, key: string): Promise<string> => await (await store.load(key)).text()

const idsOf = (all: ReadonlyArray<{ readonly id: string }>): ReadonlyArray<string> => all.map(({ id }) => id)

/** The error that a promise rejects with. */
const failure = async (promise: Promise<unknown>): Promise<StoreError> => {
  const error = await promise.then(() => undefined, (error) => error)
  if (!StoreError.is(error)) throw new Error(`expected a StoreError, got ${error}`)
  return error
}

/** The same place through a backend that has been changed. */
const through = (store: Store, change: (backend: Backend) => Backend): Promise<Store> =>
  openBackend(Effect.succeed(change(store.service.calls)))

/** The same place, and every call that is made there. */
const watched = async (store: Store): Promise<{ readonly store: Store; readonly calls: Array<string> }> => {
  const calls: Array<string> = []
  const seen = await through(store, (backend) => ({
    ...backend,
    get: (key, options) => {
      calls.push(`get ${key}`)
      return backend.get(key, options)
    },
    list: (options) => {
      calls.push(`list ${options?.prefix}`)
      return backend.list(options)
    },
  }))
  return { store: seen, calls }
}

const mutating: ReadonlyArray<Operation> = ["put", "remove", "removeMany", "createUpload", "putPart", "completeUpload"]

/** Does `work` on a place whose process dies at its n-th write, before or after it took effect; for each n. */
const dying = async (
  prepare: () => Promise<Store>,
  work: (store: Store) => Promise<unknown>,
  look: (store: Store) => Promise<void>,
): Promise<number> => {
  const died = new StoreError({ reason: "Unavailable", transient: false, detail: "the process died" })
  for (let n = 1;; n++) {
    for (const after of [false, true]) {
      const store = await prepare()
      let writes = 0
      let dead = false
      const { calls } = store.service
      // Small pages, so that a removal takes several writes.
      const { backend } = faulty({ ...calls, list: (options) => calls.list({ ...options, limit: 2 }) }, {
        seed: 1,
        rules: [
          { on: mutating, key: () => (dead ||= !after && writes + 1 >= n), fault: fail(died) },
          { on: mutating, key: () => ++writes === n && after && (dead = true), fault: failAfter(died) },
        ],
      })
      const done = await work(await openBackend(Effect.succeed(backend))).then(() => true, () => false)
      await look(store)
      if (done && !dead) return n - 1
    }
  }
}

const cases: ReadonlyArray<SeedCase> = [
  {
    rows: [1, 4, 5],
    name: "a checkpoint is one compact JSON object at its key, comes back equal, and a second one replaces it",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      const first = aCheckpoint("c1", { metadata: { runtime: "local", extra: { kept: true } } })
      await executions.storeCheckpoint(first)
      expect(await textAt(store, "jobs/j/checkpoints/c1.json")).toBe(JSON.stringify(first))
      expect((await store.stat("jobs/j/checkpoints/c1.json")).contentType).toBe("application/json")
      expect(await executions.retrieveCheckpoint("j", "c1")).toEqual(first)
      const second = aCheckpoint("c1", { stepNumber: 2 })
      await executions.storeCheckpoint(second)
      expect(await executions.retrieveCheckpoint("j", "c1")).toEqual(second)
      const error = await failure(executions.retrieveCheckpoint("j", "none"))
      expect([error.reason, error.detail]).toEqual(["NotFound", "checkpoint not found: none"])
      // What a crash of the original leaves.
      await store.save("jobs/j/checkpoints/empty.json", "")
      expect((await failure(executions.retrieveCheckpoint("j", "empty"))).reason).toBe("NotFound")
    },
  },
  {
    rows: [1, 6],
    name: "a job's checkpoints come by ascending step, those of one step by key; an unknown job has none",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      for (const [id, stepNumber] of [["a", 10], ["b", 2], ["c", 2], ["d", 1]] as const) {
        await executions.storeCheckpoint(aCheckpoint(id, { stepNumber }))
      }
      await executions.storeCheckpoint(aCheckpoint("e", { jobId: "other" }))
      expect(idsOf(await executions.getCheckpointsByJobId("j"))).toEqual(["d", "b", "c", "a"])
      expect(await executions.getCheckpointsByJobId("none")).toEqual([])
    },
  },
  {
    rows: [1, 7],
    name: "an event is one compact JSON object named by its time, step and type",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      const event = anEvent(1_700_000_000_123, 4)
      await executions.storeEvent(event)
      await executions.storeEvent(event)
      expect(await keysOf(store)).toEqual(["jobs/j/runs/r/event-1700000000123-4-streamRunResult.json"])
      expect(await textAt(store, "jobs/j/runs/r/event-1700000000123-4-streamRunResult.json")).toBe(
        JSON.stringify(event),
      )
    },
  },
  {
    rows: [1, 8],
    name: "what a run's events are is told by their names alone, by ascending step; no body is read",
    run: async (store) => {
      const writer = new ExecutionStore(store)
      for (const [timestamp, step] of [[30, 1], [10, 2], [20, 1], [5, 3]] as const) {
        await writer.storeEvent(anEvent(timestamp, step))
      }
      await writer.storeRunSetting(aSetting("j", "r"))
      await store.save("jobs/j/runs/r/event-7.5-2-my.type-with.dots.json", "no JSON")
      for (const foreign of ["event-x-1-a", "event-1-a", "event-1-2-", "event-1--2-a"]) {
        await store.save(`jobs/j/runs/r/${foreign}.json`, "{}")
      }
      await store.save("jobs/j/runs/r/event-1-1-folder.json/x", "{}")
      const seen = await watched(store)
      const executions = new ExecutionStore(seen.store)
      const type = "streamRunResult"
      expect(await executions.getEventsByRun("j", "r")).toEqual([
        { timestamp: 20, stepNumber: 1, type },
        { timestamp: 30, stepNumber: 1, type },
        { timestamp: 10, stepNumber: 2, type },
        { timestamp: 7.5, stepNumber: 2, type: "my.type-with.dots" },
        { timestamp: 5, stepNumber: 3, type },
      ])
      expect(seen.calls).toEqual(["list jobs/j/runs/r/event-"])
      expect(await executions.getEventsByRun("j", "none")).toEqual([])
      expect(await executions.getEventsByRun("none", "r")).toEqual([])
    },
    // On a disk a name is a file or a folder, not both.
    on: ["memory", "peer", "ceph", "disk"],
  },
  {
    rows: [1, 9],
    name: "events come by ascending time; those of later steps than asked for are not read, and step 0 is a step",
    run: async (store) => {
      const writer = new ExecutionStore(store)
      for (const [timestamp, step] of [[30, 1], [10, 2], [200, 0], [5, 3]] as const) {
        await writer.storeEvent(anEvent(timestamp, step))
      }
      const seen = await watched(store)
      const executions = new ExecutionStore(seen.store)
      const times = (events: ReadonlyArray<RunEvent>) => events.map(({ timestamp }) => timestamp)
      expect(times(await executions.getEventContents("j", "r"))).toEqual([5, 10, 30, 200])
      seen.calls.length = 0
      expect(times(await executions.getEventContents("j", "r", 1))).toEqual([30, 200])
      expect(seen.calls.filter((call) => call.startsWith("get")).sort()).toEqual([
        "get jobs/j/runs/r/event-200-0-streamRunResult.json",
        "get jobs/j/runs/r/event-30-1-streamRunResult.json",
      ])
      expect(times(await executions.getEventContents("j", "r", 0))).toEqual([200])
      const taken: Array<number> = []
      for await (const event of executions.events("j", "r", { maxStep: 2 })) taken.push(event.timestamp)
      expect(taken).toEqual([10, 30, 200])
    },
  },
  {
    rows: [],
    name: "events of one time, step and type are all kept, in the order in which they came; the same one again is one",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      const deltas = ["a", "b", "c"].map((delta) => anEvent(1_700_000_000_000, 1, { id: delta, delta }))
      for (const event of [...deltas, ...deltas]) await executions.storeEvent(event)
      expect(idsOf(await executions.getEventContents("j", "r"))).toEqual(["a", "b", "c"])
      expect((await keysOf(store)).map((key) => key.split("/").at(-1))).toEqual([
        "event-1700000000000-1-streamRunResult.json",
        "event-1700000000000.001-1-streamRunResult.json",
        "event-1700000000000.002-1-streamRunResult.json",
      ])
      // What lies under the name and cannot be read is not written over.
      await store.save("jobs/j/runs/r/event-5-1-streamRunResult.json", "{")
      await executions.storeEvent(anEvent(5, 1))
      expect(await textAt(store, "jobs/j/runs/r/event-5-1-streamRunResult.json")).toBe("{")
      expect(await textAt(store, "jobs/j/runs/r/event-5.001-1-streamRunResult.json")).toContain('"timestamp":5,')
    },
  },
  {
    rows: [1, 10, 11],
    name: "a job is indented JSON at its key; a missing one is undefined, a damaged one an error that names it",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      const job = aJob("j1", { maxSteps: 5 })
      await executions.storeJob(job)
      expect(await textAt(store, "jobs/j1/job.json")).toBe(JSON.stringify(job, null, 2))
      expect(await executions.retrieveJob("j1")).toEqual(job)
      const done = aJob("j1", { status: "completed", finishedAt: 1_700_000_000_001 })
      await executions.storeJob(done)
      expect(await executions.retrieveJob("j1")).toEqual(done)
      expect(await executions.retrieveJob("none")).toBeUndefined()
      await store.save("jobs/empty/job.json", "")
      expect(await executions.retrieveJob("empty")).toBeUndefined()
      for (const damaged of ["{", "[]", JSON.stringify({ ...job, status: "asleep" }), '"\ud800"']) {
        await store.save("jobs/damaged/job.json", damaged)
        const error = await failure(executions.retrieveJob("damaged"))
        expect([error.reason, error.key]).toEqual(["Corrupt", "jobs/damaged/job.json"])
      }
      // It can be written over, which heals it.
      await executions.storeJob(aJob("damaged"))
      expect((await executions.retrieveJob("damaged"))?.id).toBe("damaged")
    },
  },
  {
    rows: [1, 12],
    name: "all jobs come newest first, those of one moment by id; neither events nor checkpoints are looked at",
    run: async (store) => {
      const writer = new ExecutionStore(store)
      for (const [id, startedAt] of [["a", 10], ["b", 30], ["c", 20], ["d", 30]] as const) {
        await writer.storeJob(aJob(id, { startedAt }))
      }
      await writer.storeEvent(anEvent(1, 1))
      await writer.storeCheckpoint(aCheckpoint("c1"))
      const seen = await watched(store)
      const executions = new ExecutionStore(seen.store)
      expect(idsOf(await executions.getAllJobs())).toEqual(["b", "d", "c", "a"])
      expect(seen.calls.filter((call) => call.startsWith("list"))).toEqual(["list jobs/"])
      expect(seen.calls.filter((call) => call.includes("runs") || call.includes("checkpoints"))).toEqual([])
      const ids: Array<string> = []
      for await (const job of executions.jobs()) ids.push(job.id)
      expect(ids).toEqual(["a", "b", "c", "d"])
    },
  },
  {
    rows: [1, 13],
    name: "a run setting is written once; again, all that is stored is kept and only updatedAt becomes now",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      const setting = aSetting("j", "r")
      await executions.storeRunSetting(setting)
      expect(await textAt(store, "jobs/j/runs/r/run-setting.json")).toBe(JSON.stringify(setting))
      // What a later version has added, and an order of its own.
      const stored = { later: { deep: 1 }, ...setting }
      await store.save("jobs/j/runs/r/run-setting.json", JSON.stringify(stored))
      const before = Date.now()
      await executions.storeRunSetting(aSetting("j", "r", { model: "another", maxSteps: 99, updatedAt: 1 }))
      const text = await textAt(store, "jobs/j/runs/r/run-setting.json")
      const { updatedAt } = JSON.parse(text) as RunSetting
      expect(updatedAt).toBeGreaterThanOrEqual(before)
      expect(updatedAt).toBeLessThanOrEqual(Date.now())
      expect(text).toBe(JSON.stringify({ ...stored, updatedAt }))
      await store.save("jobs/j/runs/r/run-setting.json", "{")
      expect((await failure(executions.storeRunSetting(setting))).reason).toBe("Corrupt")
      expect(await textAt(store, "jobs/j/runs/r/run-setting.json")).toBe("{")
    },
  },
  {
    rows: [1, 14],
    name: "all runs of all jobs come with the one taken up last first; no event is looked at",
    run: async (store) => {
      const writer = new ExecutionStore(store)
      for (const [job, run, updatedAt] of [["a", "1", 10], ["a", "2", 30], ["b", "1", 20]] as const) {
        await writer.storeRunSetting(aSetting(job, run, { updatedAt }))
        await writer.storeEvent(anEvent(1, 1, { jobId: job, runId: run }))
      }
      await writer.storeEvent(anEvent(1, 1, { jobId: "c", runId: "without-setting" }))
      const seen = await watched(store)
      const executions = new ExecutionStore(seen.store)
      const runs = await executions.getAllRuns()
      expect(runs.map(({ jobId, runId }) => jobId + runId)).toEqual(["a2", "b1", "a1"])
      expect(runs[0]).toEqual(aSetting("a", "2", { updatedAt: 30 }))
      expect(seen.calls.filter((call) => call.includes("event"))).toEqual([])
      expect((await executions.getAllRuns("a")).map(({ runId }) => runId)).toEqual(["2", "1"])
      expect(await executions.getAllRuns("none")).toEqual([])
      expect((await executions.retrieveRunSetting("b", "1"))?.updatedAt).toBe(20)
      expect(await executions.retrieveRunSetting("b", "2")).toBeUndefined()
    },
  },
  {
    rows: [],
    name: "a stored setting without reasoningBudget and maxSteps is read with the original's defaults",
    run: async (store) => {
      const { reasoningBudget: _, maxSteps: __, ...old } = aSetting("j", "r")
      await store.save("jobs/j/runs/r/run-setting.json", JSON.stringify(old))
      const executions = new ExecutionStore(store)
      const [setting] = await executions.getAllRuns()
      expect([setting?.reasoningBudget, setting?.maxSteps]).toEqual(["low", 100])
      await executions.storeRunSetting(aSetting("j", "r"))
      expect(await textAt(store, "jobs/j/runs/r/run-setting.json")).not.toContain("maxSteps")
    },
  },
  {
    rows: [17, 18],
    name: "the keys are exactly Perstack's, below any prefix, with or without a slash at its end",
    run: async (store) => {
      const expected = [
        "jobs/j/checkpoints/c1.json",
        "jobs/j/job.json",
        "jobs/j/runs/r/event-1700000000000-1-streamRunResult.json",
        "jobs/j/runs/r/run-setting.json",
      ]
      for (const [prefix, folder] of [["", ""], ["perstack", "perstack/"], ["a/b/", "a/b/"]] as const) {
        const executions = new ExecutionStore(store, { prefix })
        await executions.storeJob(aJob("j"))
        await executions.storeCheckpoint(aCheckpoint("c1"))
        await executions.storeEvent(anEvent(1_700_000_000_000, 1))
        await executions.storeRunSetting(aSetting("j", "r"))
        const keys = await keysOf(store)
        expect(keys).toEqual(expected.map((key) => folder + key))
        const again = new ExecutionStore(store, { prefix: folder })
        expect([await again.getAllJobs(), await again.getAllRuns()].map((all) => all.length)).toEqual([1, 1])
        await store.removeMany(keys)
      }
    },
  },
  {
    rows: [25],
    name: "two instances on one place see each other's writes at once",
    run: async (store, place) => {
      await using other = await place.open()
      const [one, two] = [new ExecutionStore(store), new ExecutionStore(other)]
      for (let step = 1; step <= 3; step++) {
        await one.storeCheckpoint(aCheckpoint(`one-${step}`, { stepNumber: 2 * step }))
        await two.storeCheckpoint(aCheckpoint(`two-${step}`, { stepNumber: 2 * step + 1 }))
        expect((await two.retrieveCheckpoint("j", `one-${step}`)).stepNumber).toBe(2 * step)
        expect((await one.getCheckpointsByJobId("j")).at(-1)?.id).toBe(`two-${step}`)
      }
      await one.storeJob(aJob("j"))
      await two.updateJob("j", (job) => ({ ...job, status: "completed" }))
      expect((await one.retrieveJob("j"))?.status).toBe("completed")
    },
  },
  {
    rows: [],
    name: "unknown fields are kept at every depth and in their order, also when a job is changed",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      const text = JSON.stringify({
        zzz: [1],
        ...aJob("j"),
        usage: { added: "in 2027", ...usage },
        aaa: { b: null },
      })
      await store.save("jobs/j/job.json", text)
      expect(JSON.stringify(await executions.retrieveJob("j"))).toBe(text)
      await executions.updateJob("j", (job) => ({ ...job, totalSteps: 9 }))
      expect(JSON.stringify(JSON.parse(await textAt(store, "jobs/j/job.json")))).toBe(
        text.replace('"totalSteps":0', '"totalSteps":9'),
      )
      const checkpoint = { ...aCheckpoint("c"), later: { tags: ["x"] } }
      Object.assign(checkpoint.messages[0]!, { reaction: "+1" })
      await executions.storeCheckpoint(checkpoint)
      expect(JSON.stringify(await executions.retrieveCheckpoint("j", "c"))).toBe(JSON.stringify(checkpoint))
    },
  },
  {
    rows: [],
    name: "an id that would leave its place is InvalidKey for every verb, and nothing is changed",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      await executions.storeJob(aJob("j"))
      await executions.storeEvent(anEvent(1, 1))
      const before = await keysOf(store)
      for (const bad of ["", ".", "..", "../j", "a/b", "a\0b", "a\\b", "x".repeat(1025)]) {
        const tries: ReadonlyArray<readonly [string, () => Promise<unknown>]> = [
          ["storeJob", () => executions.storeJob(aJob(bad))],
          ["retrieveJob", () => executions.retrieveJob(bad)],
          ["updateJob", () => executions.updateJob(bad, (job) => job)],
          ["deleteJob", () => executions.deleteJob(bad)],
          ["deleteRun", () => executions.deleteRun("j", bad)],
          ["storeCheckpoint, id", () => executions.storeCheckpoint(aCheckpoint(bad))],
          ["storeCheckpoint, job", () => executions.storeCheckpoint(aCheckpoint("c", { jobId: bad }))],
          ["retrieveCheckpoint", () => executions.retrieveCheckpoint("j", bad)],
          ["getCheckpointsByJobId", () => executions.getCheckpointsByJobId(bad)],
          ["storeEvent, run", () => executions.storeEvent(anEvent(1, 1, { runId: bad }))],
          ["storeEvent, type", () => executions.storeEvent({ ...anEvent(1, 1), type: bad as "streamRunResult" })],
          ["getEventsByRun", () => executions.getEventsByRun("j", bad)],
          ["getEventContents", () => executions.getEventContents(bad, "r")],
          ["storeRunSetting", () => executions.storeRunSetting(aSetting("j", bad))],
          ["retrieveRunSetting", () => executions.retrieveRunSetting(bad, "r")],
        ]
        for (const [verb, attempt] of tries) {
          expect([verb, bad, (await failure(attempt())).reason]).toEqual([verb, bad, "InvalidKey"])
        }
        // Another meaning of no job: all of them.
        if (bad !== "") expect((await failure(executions.getAllRuns(bad))).reason).toBe("InvalidKey")
      }
      expect((await failure(new ExecutionStore(store, { prefix: "../up" }).storeJob(aJob("j")))).reason).toBe(
        "InvalidKey",
      )
      expect(await keysOf(store)).toEqual(before)
    },
  },
  {
    rows: [],
    name: "a value that could not be read back is InvalidInput, and what was stored stays",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      await executions.storeJob(aJob("j"))
      const wrong: ReadonlyArray<() => Promise<unknown>> = [
        () => executions.storeJob(aJob("j", { totalSteps: NaN })),
        () => executions.storeJob({ ...aJob("j"), status: "asleep" as "running" }),
        () => executions.updateJob("j", (job) => ({ ...job, startedAt: Infinity })),
        () => executions.storeCheckpoint({ ...aCheckpoint("c"), messages: [{ type: "unknown" }] as never }),
        () => executions.storeEvent(anEvent(-1, 1)),
        () => executions.storeEvent(anEvent(1, 1, { expertKey: null as never })),
        () => executions.storeEvent(anEvent(1e21, 1)),
        () => executions.storeEvent(anEvent(1, NaN)),
        () => executions.storeRunSetting(aSetting("j", "r", { maxRetries: -1 })),
      ]
      for (const attempt of wrong) expect((await failure(attempt())).reason).toBe("InvalidInput")
      expect(await keysOf(store)).toEqual(["jobs/j/job.json"])
      expect(await executions.retrieveJob("j")).toEqual(aJob("j"))
    },
  },
  {
    rows: [1, 6],
    name: "damaged and foreign objects among good ones: named where they are asked for, left out of lists and told",
    run: async (store) => {
      const writer = new ExecutionStore(store)
      await writer.storeJob(aJob("good"))
      await writer.storeRunSetting(aSetting("good", "r"))
      for (const id of ["c1", "c3"]) await writer.storeCheckpoint(aCheckpoint(id, { jobId: "good" }))
      await writer.storeEvent(anEvent(1, 1, { jobId: "good" }))
      const bad = [
        "jobs/bad/job.json",
        "jobs/good/checkpoints/c2.json",
        "jobs/good/runs/bad/run-setting.json",
        "jobs/good/runs/r/event-2-1-x.json",
      ]
      for (const key of bad) await store.save(key, '{"id":')
      for (const key of ["jobs/readme.txt", "jobs/good/checkpoints/.DS_Store", "jobs/good/runs/notes", "jobs/x/y/z"]) {
        await store.save(key, "foreign")
      }
      const told: Array<string | undefined> = []
      const executions = new ExecutionStore(store, {
        onUnreadable: ({ reason, key }) => {
          told.push(`${reason} ${key}`)
          throw new Error("this is ignored")
        },
      })
      expect(idsOf(await executions.getAllJobs())).toEqual(["good"])
      expect(idsOf(await executions.getCheckpointsByJobId("good"))).toEqual(["c1", "c3"])
      expect((await executions.getAllRuns()).map(({ runId }) => runId)).toEqual(["r"])
      expect((await executions.getEventContents("good", "r")).map(({ timestamp }) => timestamp)).toEqual([1])
      expect(told).toEqual(bad.map((key) => `Corrupt ${key}`))
      const errors = [
        await failure(executions.retrieveJob("bad")),
        await failure(executions.retrieveCheckpoint("good", "c2")),
        await failure(executions.retrieveRunSetting("good", "bad")),
      ]
      expect(errors.map(({ reason, key }) => `${reason} ${key}`)).toEqual(
        bad.slice(0, 3).map((key) => `Corrupt ${key}`),
      )
    },
  },
  {
    rows: [],
    name: "a list that breaks off after its first page, or an object that cannot be fetched, fails the whole call",
    run: async (store) => {
      const writer = new ExecutionStore(store)
      for (const id of ["a", "b", "c", "d"]) {
        await writer.storeJob(aJob(id))
        await writer.storeCheckpoint(aCheckpoint(id))
        await writer.storeEvent(anEvent(id.charCodeAt(0), 1))
      }
      await writer.storeRunSetting(aSetting("j", "r"))
      const lost = new StoreError({ reason: "Unavailable", transient: false, detail: "the line is cut" })
      const reads = (executions: ExecutionStore): ReadonlyArray<() => Promise<unknown>> => [
        executions.getAllJobs,
        executions.getAllRuns,
        () => executions.getCheckpointsByJobId("j"),
        () => executions.getEventContents("j", "r"),
        () => executions.getEventsByRun("j", "r"),
      ]
      const broken = async (on: Operation, from: number) =>
        new ExecutionStore(
          await through(store, (backend) => {
            const paged = { ...backend, list: (o) => backend.list({ ...o, limit: 2 }) } satisfies Backend
            let calls = 0
            return faulty(paged, { seed: 1, rules: [{ on, key: () => ++calls >= from, fault: fail(lost) }] }).backend
          }),
        )
      for (const i of reads(writer).keys()) {
        expect([i, (await failure(reads(await broken("list", 2))[i]!())).reason]).toEqual([i, "Unavailable"])
        // Pages of two are enough to see all of it when nothing breaks.
        expect(await reads(await broken("list", Infinity))[i]!()).toEqual(await reads(writer)[i]!())
        if (i < 4) expect([i, (await failure(reads(await broken("get", 1))[i]!())).reason]).toEqual([i, "Unavailable"])
      }
    },
  },
  {
    rows: [],
    name: "the records of a list are fetched many at a time, and not all at once",
    run: async (store) => {
      const writer = new ExecutionStore(store)
      for (let i = 0; i < 40; i++) {
        await writer.storeJob(aJob(`job-${i}`))
        await writer.storeCheckpoint(aCheckpoint(`c-${i}`))
        await writer.storeRunSetting(aSetting("j", `run-${i}`))
        await writer.storeEvent(anEvent(i, 1))
      }
      let [now, most] = [0, 0]
      const executions = new ExecutionStore(
        await through(store, (backend) => ({
          ...backend,
          get: (key, options) =>
            Effect.acquireUseRelease(
              Effect.sync(() => most = Math.max(most, ++now)),
              () => Effect.andThen(Effect.sleep(1), backend.get(key, options)),
              () => Effect.sync(() => now--),
            ),
        })),
      )
      for (
        const read of [
          executions.getAllJobs,
          executions.getAllRuns,
          () => executions.getCheckpointsByJobId("j"),
          () => executions.getEventContents("j", "r"),
        ]
      ) {
        most = 0
        expect((await read()).length).toBe(40)
        expect(most).toBeGreaterThan(4)
        expect(most).toBeLessThanOrEqual(16)
      }
    },
    on: ["memory"],
  },
  {
    rows: [],
    name: "writers that change one job at once lose nothing",
    run: async (store, place) => {
      const executions = new ExecutionStore(store)
      await executions.storeJob(aJob("j"))
      const [writers, changes] = place.name === "memory" ? [8, 200] : [4, 10]
      await Promise.all(Array.from({ length: writers }, async () => {
        await using own = await place.open()
        const mine = new ExecutionStore(own)
        for (let i = 0; i < changes; i++) {
          await mine.updateJob("j", (job) => {
            job.totalSteps++
            return job
          })
        }
      }))
      expect((await executions.retrieveJob("j"))?.totalSteps).toBe(writers * changes)
      expect((await failure(executions.updateJob("none", (job) => job))).reason).toBe("NotFound")
    },
  },
  {
    rows: [],
    name: "with the etag of what was read, a job that has changed meanwhile is not replaced",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      const { etag } = await executions.storeJob(aJob("j"), { ifNoneMatch: "*" })
      expect((await failure(executions.storeJob(aJob("j"), { ifNoneMatch: "*" }))).reason).toBe("AlreadyExists")
      expect((await executions.findJob("j"))?.etag).toBe(etag)
      await executions.storeJob(aJob("j", { totalSteps: 1 }), { ifMatch: etag })
      expect((await failure(executions.storeJob(aJob("j", { totalSteps: 2 }), { ifMatch: etag }))).reason).toBe(
        "PreconditionFailed",
      )
      expect((await executions.retrieveJob("j"))?.totalSteps).toBe(1)
    },
  },
  {
    rows: [],
    name: "redacted, no secret of a run setting is stored, also of one that was stored in the clear; a reader is told",
    run: async (store) => {
      const secret: RunSetting = aSetting("j", "r", {
        providerConfig: {
          providerName: "anthropic",
          apiKey: "sk-secret-1",
          baseUrl: "https://me:sk-secret-6@models.example",
          headers: { authorization: "Bearer sk-secret-3" },
        },
        perstackApiKey: "sk-secret-4",
        proxyUrl: "http://me:sk-secret-5@proxy.example",
      })
      const names = [
        "providerConfig.apiKey",
        "providerConfig.baseUrl",
        "providerConfig.headers.authorization",
        "env.TOKEN",
        "perstackApiKey",
        "proxyUrl",
      ]
      const executions = new ExecutionStore(store, { redact: true })
      for (const before of ["nothing", "in the clear"]) {
        await store.remove("jobs/j/runs/r/run-setting.json")
        if (before !== "nothing") await new ExecutionStore(store).storeRunSetting(secret)
        await executions.storeRunSetting(secret)
        await executions.storeRunSetting(secret)
        expect(await textAt(store, "jobs/j/runs/r/run-setting.json")).not.toContain("sk-secret")
        const read = await executions.retrieveRunSetting("j", "r")
        expect(read?.redacted).toEqual(names)
        expect([read?.perstackApiKey, read?.env["TOKEN"], read?.proxyUrl]).toEqual(Array(3).fill(redactedText))
        expect(read?.providerConfig).toMatchObject({ apiKey: redactedText, headers: { authorization: redactedText } })
        expect(read?.input).toEqual(secret.input)
      }
    },
  },
  {
    rows: [],
    name: "a job is removed with all that is its own, the job itself last; a run likewise, and checkpoints stay",
    run: async (store) => {
      const executions = new ExecutionStore(store)
      for (const id of ["j", "j2"]) {
        await executions.storeJob(aJob(id))
        await executions.storeRunSetting(aSetting(id, "r"))
        await executions.storeEvent(anEvent(1, 1, { jobId: id }))
        await executions.storeEvent(anEvent(2, 1, { jobId: id, runId: "r2" }))
        await executions.storeCheckpoint(aCheckpoint("c", { jobId: id }))
      }
      expect(await executions.deleteRun("j2", "r")).toBe(2)
      expect(await executions.deleteJob("j")).toBe(5)
      expect(await keysOf(store)).toEqual([
        "jobs/j2/checkpoints/c.json",
        "jobs/j2/job.json",
        "jobs/j2/runs/r2/event-2-1-streamRunResult.json",
      ])
      expect(await executions.deleteJob("j")).toBe(0)
    },
  },
  {
    rows: [],
    name: "a process that dies at any write leaves the old or the new, and a job half removed can be removed again",
    run: async (store) => {
      const clean = new ExecutionStore(store)
      const empty = async (): Promise<Store> => {
        await store.removeMany(await keysOf(store))
        return store
      }
      const full = async (): Promise<Store> => {
        await empty()
        await clean.storeJob(aJob("j"))
        await clean.storeRunSetting(aSetting("j", "r"))
        for (const timestamp of [1, 2]) await clean.storeEvent(anEvent(timestamp, 1))
        await clean.storeCheckpoint(aCheckpoint("c"))
        return store
      }
      const change = await dying(
        full,
        (dying) => new ExecutionStore(dying).updateJob("j", (job) => ({ ...job, totalSteps: 1 })),
        async () => expect([0, 1]).toContain((await clean.retrieveJob("j"))!.totalSteps),
      )
      const again = await dying(
        full,
        (dying) => new ExecutionStore(dying).storeRunSetting(aSetting("j", "r", { model: "another" })),
        async () => expect((await clean.retrieveRunSetting("j", "r"))?.model).toBe("some-model"),
      )
      const events = await dying(
        full,
        (dying) => new ExecutionStore(dying).storeEvent(anEvent(2, 1, { id: "second" })),
        async () => {
          const ids = idsOf(await clean.getEventContents("j", "r"))
          expect([["e-1-1", "e-2-1"], ["e-1-1", "e-2-1", "second"]]).toContainEqual([...ids])
        },
      )
      const removal = await dying(
        full,
        (dying) => new ExecutionStore(dying).deleteJob("j"),
        async () => {
          if (await clean.retrieveJob("j") === undefined) expect(await keysOf(store)).toEqual([])
          await clean.deleteJob("j")
          expect(await keysOf(store)).toEqual([])
        },
      )
      // Otherwise nothing died, and nothing was seen.
      expect([change, again, events, removal]).toEqual([1, 1, 2, 4])
    },
  },
]

/** The cases. */
export const suite: Suite = { name: "execution", cases }
