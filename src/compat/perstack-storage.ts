/**
 * Perstack's `Storage` over an execution store: its eleven methods, its orders and its messages. What the places differ
 * in is how they are opened, which happens at the first call.
 *
 * @module
 */
import { StoreError } from "../error.ts"
import type { Store } from "../store.ts"
import {
  type Checkpoint,
  type EventMeta,
  type ExecutionOptions,
  ExecutionStore,
  type Job,
  type RunEvent,
  type RunSetting,
} from "../stores/execution.ts"

/** Perstack's interface of a storage. */
export interface Storage {
  /** Stores a checkpoint, in place of one with its id. */
  storeCheckpoint(checkpoint: Checkpoint): Promise<void>
  /** A checkpoint; a missing one rejects with `Error("checkpoint not found: …")`. */
  retrieveCheckpoint(jobId: string, checkpointId: string): Promise<Checkpoint>
  /** A job's checkpoints by ascending step. */
  getCheckpointsByJobId(jobId: string): Promise<Checkpoint[]>
  /** Stores an event. */
  storeEvent(event: RunEvent): Promise<void>
  /** What a run's events are, by ascending step; none of them is read. */
  getEventsByRun(jobId: string, runId: string): Promise<EventMeta[]>
  /** A run's events by ascending time, up to a step. */
  getEventContents(jobId: string, runId: string, maxStep?: number): Promise<RunEvent[]>
  /** Stores a job, in place of one with its id. */
  storeJob(job: Job): Promise<void>
  /** A job, or `undefined`. */
  retrieveJob(jobId: string): Promise<Job | undefined>
  /** All jobs, the one begun last first. */
  getAllJobs(): Promise<Job[]>
  /** Stores how a run was started; again, it only becomes the one taken up last. */
  storeRunSetting(setting: RunSetting): Promise<void>
  /** All runs, the one taken up last first. */
  getAllRuns(): Promise<RunSetting[]>
}

/** What all storages take beyond the original's options. */
export interface PerstackOptions extends Pick<ExecutionOptions, "redact" | "onUnreadable"> {}

/**
 * What the storages have in common. Methods can be passed on as functions: `{ storeCheckpoint } = storage` works.
 * Failures are {@link StoreError}s, but for the missing checkpoint, which is the original's plain `Error` with the
 * StoreError as its `cause`.
 */
export class PerstackStorage implements Storage, AsyncDisposable {
  readonly #openStore: () => Promise<Store>
  readonly #options: ExecutionOptions
  readonly #explain: (error: StoreError) => StoreError
  #opened: Promise<{ readonly store: Store; readonly executions: ExecutionStore }> | undefined

  /** `openStore` is called at the first use, and again after one that failed; `explain` may add to an error. */
  constructor(
    openStore: () => Promise<Store>,
    options: ExecutionOptions = {},
    explain: (error: StoreError) => StoreError = (error) => error,
  ) {
    this.#openStore = openStore
    // The original never writes under a condition; where a store has none, this is not worse.
    this.#options = { ...options, soleWriter: true }
    this.#explain = explain
  }

  #open(): Promise<{ readonly store: Store; readonly executions: ExecutionStore }> {
    this.#opened ??= this.#openStore().then(
      (store) => ({ store, executions: new ExecutionStore(store, this.#options) }),
      (error) => {
        this.#opened = undefined
        throw error
      },
    )
    return this.#opened
  }

  async #call<A>(work: (executions: ExecutionStore) => Promise<A>): Promise<A> {
    try {
      return await work((await this.#open()).executions)
    } catch (error) {
      throw StoreError.is(error) ? this.#explain(error) : error
    }
  }

  /** Stores a checkpoint, in place of one with its id. */
  readonly storeCheckpoint = (checkpoint: Checkpoint): Promise<void> =>
    this.#call(async (executions) => {
      await executions.storeCheckpoint(checkpoint)
    })

  /** A checkpoint; a missing one rejects with `Error("checkpoint not found: …")`. */
  readonly retrieveCheckpoint = async (jobId: string, checkpointId: string): Promise<Checkpoint> => {
    try {
      return await this.#call((executions) => executions.retrieveCheckpoint(jobId, checkpointId))
    } catch (cause) {
      if (!StoreError.is(cause) || cause.reason !== "NotFound") throw cause
      throw new Error(`checkpoint not found: ${checkpointId}`, { cause })
    }
  }

  /** A job's checkpoints by ascending step. */
  readonly getCheckpointsByJobId = (jobId: string): Promise<Checkpoint[]> =>
    this.#call((executions) => executions.getCheckpointsByJobId(jobId))

  /** Stores an event. */
  readonly storeEvent = (event: RunEvent): Promise<void> =>
    this.#call(async (executions) => {
      await executions.storeEvent(event)
    })

  /** What a run's events are, by ascending step; none of them is read. */
  readonly getEventsByRun = (jobId: string, runId: string): Promise<EventMeta[]> =>
    this.#call((executions) => executions.getEventsByRun(jobId, runId))

  /** A run's events by ascending time, up to a step. */
  readonly getEventContents = (jobId: string, runId: string, maxStep?: number): Promise<RunEvent[]> =>
    this.#call((executions) => executions.getEventContents(jobId, runId, maxStep))

  /** Stores a job, in place of one with its id. */
  readonly storeJob = (job: Job): Promise<void> =>
    this.#call(async (executions) => {
      await executions.storeJob(job)
    })

  /** A job, or `undefined`. */
  readonly retrieveJob = (jobId: string): Promise<Job | undefined> =>
    this.#call((executions) => executions.retrieveJob(jobId))

  /** All jobs, the one begun last first. */
  readonly getAllJobs = (): Promise<Job[]> => this.#call((executions) => executions.getAllJobs())

  /** Stores how a run was started; again, it only becomes the one taken up last. */
  readonly storeRunSetting = (setting: RunSetting): Promise<void> =>
    this.#call(async (executions) => {
      await executions.storeRunSetting(setting)
    })

  /** All runs, the one taken up last first. */
  readonly getAllRuns = (): Promise<RunSetting[]> => this.#call((executions) => executions.getAllRuns())

  /** Frees what the storage holds open; the original has no such thing, and it is optional here. */
  async close(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    await (await opened)?.store.close()
  }

  /** Same as {@link PerstackStorage.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
