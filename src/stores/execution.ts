/**
 * Execution state of agents: jobs, checkpoints, run settings and events, at the keys and in the JSON that Perstack uses.
 * A folder or bucket that Perstack has written is read as it is, and what is written here Perstack reads.
 *
 * `Executions` is the Effect service, `ExecutionStore` the same with promises. The constructors of Perstack's own
 * packages are in `@holdfast/holdfast/perstack`.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { WriteCondition } from "../backend.ts"
import { ObjectStore } from "../object-store.ts"
import { iterate, run } from "../run.ts"
import type { Store } from "../store.ts"
import type { Checkpoint, EventMeta, Job, RunEvent } from "./execution-schema.ts"
import {
  type EventOptions,
  type ExecutionOptions,
  type ExecutionsService,
  makeExecutions,
} from "./execution-service.ts"
import type { RunSetting } from "./execution-settings.ts"
import type { Found } from "./records.ts"

export type * from "./execution-messages.ts"
export type * from "./execution-schema.ts"
export type * from "./execution-settings.ts"
export { redactedText } from "./execution-redact.ts"
export {
  type EventOptions,
  type ExecutionOptions,
  type ExecutionsService,
  makeExecutions,
} from "./execution-service.ts"
export type { Found } from "./records.ts"

const ExecutionsBase: Context.ServiceClass<Executions, "@holdfast/holdfast/Executions", ExecutionsService> = Context
  .Service<Executions, ExecutionsService>()("@holdfast/holdfast/Executions")

/**
 * The service that programs ask for. Its layer needs an `ObjectStore`, which a backend's layer provides.
 *
 * @example Execution state in Effect
 * ```ts
 * import { Executions } from "@holdfast/holdfast/execution"
 * import * as Memory from "@holdfast/holdfast/memory"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 *
 * const usage = { inputTokens: 0, outputTokens: 0, reasoningTokens: 0, totalTokens: 0, cachedInputTokens: 0 }
 * const program = Effect.gen(function* () {
 *   const executions = yield* Executions
 *   yield* executions.storeJob({
 *     id: "job-1",
 *     status: "running",
 *     coordinatorExpertKey: "researcher@1.0.0",
 *     totalSteps: 0,
 *     usage,
 *     startedAt: Date.now(),
 *   })
 *   const { value } = yield* executions.updateJob("job-1", (job) => ({ ...job, totalSteps: job.totalSteps + 1 }))
 *   return value.totalSteps
 * })
 * const layer = Layer.provide(Executions.layer(), Memory.layer())
 * console.assert(await Effect.runPromise(Effect.provide(program, layer)) === 1)
 * ```
 */
export class Executions extends ExecutionsBase {
  /** A layer over the `ObjectStore` that is provided to it. */
  static layer(options?: ExecutionOptions): Layer.Layer<Executions, never, ObjectStore> {
    return Layer.effect(Executions, Effect.map(ObjectStore, (store) => makeExecutions(store, options)))
  }
}

/**
 * Execution state with promises, over a {@link Store} that its opener closes. {@link ExecutionsService} says what each
 * verb guarantees. Methods can be passed on as functions.
 *
 * @example A job, a checkpoint, and where the run goes on
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { ExecutionStore } from "@holdfast/holdfast/execution"
 *
 * await using store = await open("mem:")
 * const executions = new ExecutionStore(store)
 * const usage = { inputTokens: 0, outputTokens: 0, reasoningTokens: 0, totalTokens: 0, cachedInputTokens: 0 }
 * await executions.storeCheckpoint({
 *   id: "checkpoint-1",
 *   jobId: "job-1",
 *   runId: "run-1",
 *   status: "proceeding",
 *   stepNumber: 1,
 *   messages: [],
 *   expert: { key: "researcher@1.0.0", name: "researcher", version: "1.0.0" },
 *   usage,
 * })
 * const [last] = (await executions.getCheckpointsByJobId("job-1")).reverse()
 * console.assert(last?.id === "checkpoint-1")
 * ```
 */
export class ExecutionStore {
  readonly #service: ExecutionsService

  /** Asks nothing of the store. */
  constructor(store: Store, options?: ExecutionOptions) {
    this.#service = makeExecutions(store.service, options)
  }

  /** The same for Effect code. */
  get service(): ExecutionsService {
    return this.#service
  }

  /** Stores a checkpoint, in place of one with its id unless a condition says otherwise. */
  readonly storeCheckpoint = (checkpoint: Checkpoint, condition?: WriteCondition): Promise<Found<Checkpoint>> =>
    run(this.#service.storeCheckpoint(checkpoint, condition))

  /** A checkpoint; rejects with `NotFound` when there is none. */
  readonly retrieveCheckpoint = (jobId: string, checkpointId: string): Promise<Checkpoint> =>
    run(this.#service.retrieveCheckpoint(jobId, checkpointId))

  /** A job's checkpoints by ascending step. */
  readonly getCheckpointsByJobId = (jobId: string): Promise<Array<Checkpoint>> =>
    run(this.#service.getCheckpointsByJobId(jobId))

  /** Stores an event; no other event is replaced. */
  readonly storeEvent = (event: RunEvent): Promise<Found<RunEvent>> => run(this.#service.storeEvent(event))

  /** What the names of a run's events say, by ascending step. */
  readonly getEventsByRun = (jobId: string, runId: string): Promise<Array<EventMeta>> =>
    run(this.#service.getEventsByRun(jobId, runId))

  /** A run's events by ascending time, up to a step. */
  readonly getEventContents = (jobId: string, runId: string, maxStep?: number): Promise<Array<RunEvent>> =>
    run(this.#service.getEventContents(jobId, runId, maxStep))

  /** The same one by one. */
  readonly events = (jobId: string, runId: string, options?: EventOptions): AsyncIterable<RunEvent> => ({
    [Symbol.asyncIterator]: () => iterate(this.#service.events(jobId, runId, options)),
  })

  /** Stores a job, in place of one with its id unless a condition says otherwise. */
  readonly storeJob = (job: Job, condition?: WriteCondition): Promise<Found<Job>> =>
    run(this.#service.storeJob(job, condition))

  /** A job, or `undefined`. */
  readonly retrieveJob = (jobId: string): Promise<Job | undefined> => run(this.#service.retrieveJob(jobId))

  /** A job with its etag, or `undefined`. */
  readonly findJob = (jobId: string): Promise<Found<Job> | undefined> => run(this.#service.findJob(jobId))

  /** Changes a job exactly once, whoever else changes it. */
  readonly updateJob = (jobId: string, change: (job: Job) => Job): Promise<Found<Job>> =>
    run(this.#service.updateJob(jobId, change))

  /** All jobs, the one begun last first. */
  readonly getAllJobs = (): Promise<Array<Job>> => run(this.#service.getAllJobs())

  /** All jobs in the order of their ids, read as they are taken. */
  readonly jobs = (): AsyncIterable<Job> => ({ [Symbol.asyncIterator]: () => iterate(this.#service.jobs()) })

  /** Stores how a run was started, or that it was taken up again. */
  readonly storeRunSetting = (setting: RunSetting): Promise<Found<RunSetting>> =>
    run(this.#service.storeRunSetting(setting))

  /** How a run was started, or `undefined`. */
  readonly retrieveRunSetting = (jobId: string, runId: string): Promise<RunSetting | undefined> =>
    run(this.#service.retrieveRunSetting(jobId, runId))

  /** All runs, or those of a job, the one taken up last first. */
  readonly getAllRuns = (jobId?: string): Promise<Array<RunSetting>> => run(this.#service.getAllRuns(jobId))

  /** The same in the order of their ids, read as they are taken. */
  readonly runs = (jobId?: string): AsyncIterable<RunSetting> => ({
    [Symbol.asyncIterator]: () => iterate(this.#service.runs(jobId)),
  })

  /** Removes a job with all that belongs to it, and says how many objects that were. */
  readonly deleteJob = (jobId: string): Promise<number> => run(this.#service.deleteJob(jobId))

  /** Removes a run with its events, and says how many objects that were. */
  readonly deleteRun = (jobId: string, runId: string): Promise<number> => run(this.#service.deleteRun(jobId, runId))
}
