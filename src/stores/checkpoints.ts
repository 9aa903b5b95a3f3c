/**
 * Checkpoints: the states of a thread of work, each kept under an id, the latest of them found at once.
 *
 * Keys and bodies are those of PERSIST-003 (`{prefix}{thread}/{id}.json`, JSON inside gzip or plain), so what it has
 * stored is read as it is. `@holdfast/holdfast/s3-checkpointer` has its constructor on top of this, and
 * `@holdfast/holdfast/langgraph` is a checkpoint saver for LangGraph.js with a layout of its own.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ObjectInfo, Presigned } from "../backend.ts"
import { ObjectStore } from "../object-store.ts"
import { iterate, run } from "../run.ts"
import type { Store } from "../store.ts"
import type { CheckpointEntry } from "./checkpoint-id.ts"
import type { CheckpointMetrics } from "./checkpoint-metrics.ts"
import type {
  Checkpoint,
  CheckpointsOptions,
  CheckpointsService,
  CheckpointToSave,
  CheckpointVersion,
  NextCheckpoint,
  RemovedCheckpoint,
  SaveCheckpointOptions,
} from "./checkpoint-contract.ts"
import { makeCheckpoints } from "./checkpoint-service.ts"

export {
  type CheckpointBackup,
  CheckpointBackups,
  type CheckpointBackupsOptions,
  type CheckpointBackupsService,
  type DamagedObject,
  makeCheckpointBackups,
} from "./checkpoint-backup.ts"
export type { CheckpointEntry } from "./checkpoint-id.ts"
export { type CheckpointCounters, CheckpointMetrics, type CheckpointOperation } from "./checkpoint-metrics.ts"
export type { VersionedCheckpoint } from "./checkpoint-schema.ts"
export type {
  Checkpoint,
  CheckpointsOptions,
  CheckpointsService,
  CheckpointToSave,
  CheckpointVersion,
  NextCheckpoint,
  RemovedCheckpoint,
  SaveCheckpointOptions,
} from "./checkpoint-contract.ts"
export { makeCheckpoints } from "./checkpoint-service.ts"
export type { PayloadSchema } from "./payload.ts"

const CheckpointsBase: Context.ServiceClass<Checkpoints, "@holdfast/holdfast/Checkpoints", CheckpointsService> = Context
  .Service<Checkpoints, CheckpointsService>()("@holdfast/holdfast/Checkpoints")

/**
 * The service that Effect programs ask for.
 *
 * @example Save a step and find it again
 * ```ts
 * import { Checkpoints } from "@holdfast/holdfast/checkpoints"
 * import * as Memory from "@holdfast/holdfast/memory"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 *
 * const program = Effect.gen(function* () {
 *   const checkpoints = yield* Checkpoints
 *   const first = yield* checkpoints.save("thread-1", { step: 1 })
 *   yield* checkpoints.save("thread-1", { step: 2 }, { parent: first })
 *   return yield* checkpoints.load("thread-1")
 * })
 * const layer = Checkpoints.layer().pipe(Layer.provide(Memory.layer()))
 * const latest = await Effect.runPromise(Effect.provide(program, layer))
 * console.assert((latest.state as { step: number }).step === 2)
 * ```
 */
export class Checkpoints extends CheckpointsBase {
  /** A layer over the `ObjectStore` there is. */
  static layer(options?: CheckpointsOptions): Layer.Layer<Checkpoints, never, ObjectStore> {
    return Layer.effect(Checkpoints, Effect.map(ObjectStore, (store) => makeCheckpoints(store, options)))
  }
}

/**
 * Checkpoints with promises. Failures are `StoreError`s.
 *
 * @example Work that goes on where it stopped
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { CheckpointStore } from "@holdfast/holdfast/checkpoints"
 *
 * await using store = await open("mem:")
 * const checkpoints = new CheckpointStore(store)
 * for (let step = 1; step <= 3; step++) {
 *   await checkpoints.update("thread-1", (current) => ({ state: { step, after: current?.id } }))
 * }
 * const latest = await checkpoints.load("thread-1")
 * console.assert((latest.state as { step: number }).step === 3)
 * for await (const { id } of checkpoints.list("thread-1", { limit: 1 })) console.assert(id === latest.id)
 * ```
 */
export class CheckpointStore<State = unknown> {
  readonly #service: CheckpointsService<State>

  /** Checkpoints in a store, which the caller closes. */
  constructor(store: Store, options?: CheckpointsOptions<State>) {
    this.#service = makeCheckpoints(store.service, options)
  }

  /** The same for Effect code. */
  get service(): CheckpointsService<State> {
    return this.#service
  }

  /** What is counted. */
  get metrics(): CheckpointMetrics {
    return this.#service.metrics
  }

  /** Saves a checkpoint, whole or not at all, and makes it the thread's latest; its id. */
  save(thread: string, state: State, options?: SaveCheckpointOptions): Promise<string> {
    return run(this.#service.save(thread, state, options))
  }

  /** Saves many, eight at a time; their ids in the order given. */
  saveMany(items: Iterable<CheckpointToSave<State>>): Promise<ReadonlyArray<string>> {
    return run(this.#service.saveMany(items))
  }

  /**
   * Saves what `change` makes of the latest checkpoint, with that one as its parent, so that no other writer's is
   * passed over: where one was faster, `change` runs again with what is latest then. `undefined`: nothing is saved.
   */
  update(
    thread: string,
    change: (
      current: Checkpoint<State> | undefined,
    ) => NextCheckpoint<State> | undefined | Promise<NextCheckpoint<State> | undefined>,
  ): Promise<string | undefined> {
    return run(
      this.#service.update(thread, (current) =>
        Effect.tryPromise({
          try: async () => await change(current),
          catch: (cause) => cause,
        })),
    )
  }

  /** A checkpoint, or the thread's latest; rejects where there is none. */
  load(thread: string, id?: string, options?: { readonly versionId?: string | undefined }): Promise<Checkpoint<State>> {
    return run(this.#service.load(thread, id, options))
  }

  /** The same; `undefined` where there is none. */
  find(
    thread: string,
    id?: string,
    options?: { readonly versionId?: string | undefined },
  ): Promise<Checkpoint<State> | undefined> {
    return run(this.#service.find(thread, id, options))
  }

  /** Whether there is such a checkpoint; nothing of it is read. */
  exists(thread: string, id: string): Promise<boolean> {
    return run(this.#service.exists(thread, id))
  }

  /** Facts of the object that holds a checkpoint. */
  stat(thread: string, id: string): Promise<ObjectInfo> {
    return run(this.#service.stat(thread, id))
  }

  /** The checkpoints of a thread, the newest first, or of all threads. None of them is read. */
  list(thread?: string, options?: { readonly limit?: number | undefined }): AsyncIterable<CheckpointEntry> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.list(thread, options)) }
  }

  /** The newest `limit` of a thread, loaded; those that cannot be read are left out. */
  history(thread: string, options?: { readonly limit?: number | undefined }): AsyncIterable<Checkpoint<State>> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.history(thread, options)) }
  }

  /** The threads there are, in the order of their names. */
  threads(): AsyncIterable<string> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.threads()) }
  }

  /** Removes a checkpoint, or all of a thread; what is missing counts as removed. */
  remove(thread: string, id?: string): Promise<void> {
    return run(this.#service.remove(thread, id))
  }

  /** Removes many checkpoints; one result each, in the order given. */
  removeMany(
    checkpoints: Iterable<{ readonly thread: string; readonly id: string }>,
  ): Promise<ReadonlyArray<RemovedCheckpoint>> {
    return run(this.#service.removeMany(checkpoints))
  }

  /** The versions of a checkpoint, the newest first, where the store keeps them. */
  versions(thread: string, id: string): AsyncIterable<CheckpointVersion> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.versions(thread, id)) }
  }

  /** A URL from which others can load a checkpoint as it is stored. Default: for 15 minutes. */
  presign(
    thread: string,
    id: string,
    options?: { readonly expires?: Duration.Input | undefined; readonly versionId?: string | undefined },
  ): Promise<Presigned> {
    return run(this.#service.presign(thread, id, options))
  }
}
