/**
 * Snapshots of agents: states of any size, each one object with a hash, in Persist's file format.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { WriteCondition } from "../backend.ts"
import type { StoreError } from "../error.ts"
import { ObjectStore, type ObjectStoreService } from "../object-store.ts"
import type { CallOptions } from "../options.ts"
import { iterate, run } from "../run.ts"
import type { Store } from "../store.ts"
import { makeReaders } from "./snapshot-reading.ts"
import { isSpool, makeSavers } from "./snapshot-saving.ts"
import type {
  Health,
  ListedSnapshot,
  Restored,
  RestoreOptions,
  RestoreStateOptions,
  SaveStreamOptions,
  SnapshotInfo,
  SnapshotOptions,
  SnapshotsOptions,
  SnapshotsService,
  SnapshotStream,
  StateSource,
} from "./snapshot-service.ts"

export type { SnapshotKey } from "./snapshot-encryption.ts"
export type { Redact } from "./snapshot-redact.ts"
export { snapshotFormatVersion, SnapshotMetadata, suggestedFilename } from "./snapshot-schema.ts"
export type * from "./snapshot-service.ts"

/** Heads that a listing reads at a time. */
const headConcurrency = 16

/** Makes the verbs on snapshots out of a store. Options that cannot be followed are the `InvalidInput` of each call. */
export const makeSnapshots = (store: ObjectStoreService, options: SnapshotsOptions = {}): SnapshotsService => {
  const readers = makeReaders(store, options.encryptionKey)

  const listSnapshots: SnapshotsService["listSnapshots"] = (o = {}) =>
    Stream.filter(store.list({ prefix: o.prefix, signal: o.signal, retry: o.retry }), ({ key }) => !isSpool(key)).pipe(
      Stream.mapEffect(
        ({ key: path, size, modified }) =>
          Effect.match(readers.getMetadata(path, o), {
            onSuccess: ({ metadata }): ListedSnapshot => ({ path, size, modified, metadata, error: undefined }),
            onFailure: (error): ListedSnapshot => ({ path, size, modified, metadata: undefined, error }),
          }),
        { concurrency: headConcurrency },
      ),
      // Removed since the page was read.
      Stream.filter((listed) => listed.error?.reason !== "NotFound"),
    )

  const healthCheck: SnapshotsService["healthCheck"] = (o) =>
    // A list, since an answer to HEAD has no body that could say whether the key is missing or the bucket.
    Effect.match(Stream.runHead(store.pages({ retry: "none", ...o, prefix: "health-check.test" })), {
      onSuccess: (): Health => ({ status: "ok", error: undefined }),
      onFailure: (error): Health => ({ status: statusOf(error), error }),
    })

  return {
    ...makeSavers(store, options),
    ...readers,
    snapshotExists: (path, o) => store.exists(path, o),
    deleteSnapshot: (path, o) => store.remove(path, o),
    listSnapshots,
    healthCheck,
  }
}

const statusOf = ({ reason }: StoreError): Health["status"] => {
  switch (reason) {
    case "Unauthorized":
      return "credentials"
    case "Forbidden":
      return "permission"
    case "Config":
    case "NotFound":
      return "bucket"
    case "Unavailable":
    case "Timeout":
    case "RateLimited":
      return "network"
    default:
      return "other"
  }
}

const SnapshotsBase: Context.ServiceClass<Snapshots, "@holdfast/holdfast/Snapshots", SnapshotsService> = Context
  .Service<Snapshots, SnapshotsService>()("@holdfast/holdfast/Snapshots")

/**
 * The service that Effect programs ask for.
 *
 * @example Snapshots in Effect
 * ```ts
 * import * as Memory from "@holdfast/holdfast/memory"
 * import { Snapshots } from "@holdfast/holdfast/snapshots"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 *
 * const program = Effect.gen(function* () {
 *   const snapshots = yield* Snapshots
 *   yield* snapshots.snapshot("agents/bot/1.json.gz", { step: 1 }, { agentId: "bot" })
 *   return yield* snapshots.restore<{ step: number }>("agents/bot/1.json.gz")
 * })
 * const layer = Layer.provide(Snapshots.layer(), Memory.layer())
 * const { state, metadata } = await Effect.runPromise(Effect.provide(program, layer))
 * console.assert(state.step === 1 && metadata.agent_id === "bot")
 * ```
 */
export class Snapshots extends SnapshotsBase {
  /** A layer over the {@link ObjectStore} of the program. */
  static layer(options?: SnapshotsOptions): Layer.Layer<Snapshots, never, ObjectStore> {
    return Layer.effect(Snapshots, Effect.map(ObjectStore, (store) => makeSnapshots(store, options)))
  }
}

/**
 * Snapshots with promises, over any store. Failures are `StoreError`s.
 *
 * @example Save, look, restore
 * ```ts
 * import { open } from "@holdfast/holdfast"
 * import { SnapshotStore } from "@holdfast/holdfast/snapshots"
 *
 * await using store = await open("mem:")
 * const snapshots = new SnapshotStore(store)
 * const saved = await snapshots.snapshot("bot/1.json.gz", { messages: ["hi"] }, { agentId: "bot", description: "first" })
 * console.assert((await snapshots.getMetadata("bot/1.json.gz")).metadata.description === "first")
 *
 * // Only if nobody else has saved there since:
 * await snapshots.snapshot("bot/1.json.gz", { messages: ["hi", "ho"] }, { agentId: "bot", ifMatch: saved.etag })
 * const { state } = await snapshots.restore<{ messages: Array<string> }>("bot/1.json.gz")
 * console.assert(state.messages.length === 2)
 * ```
 */
export class SnapshotStore {
  readonly #service: SnapshotsService

  /** Snapshots on a store, which stays the caller's to close. */
  constructor(store: Store, options?: SnapshotsOptions) {
    this.#service = makeSnapshots(store.service, options)
  }

  /** The same snapshots for Effect code. */
  get service(): SnapshotsService {
    return this.#service
  }

  /** Saves an agent's state, whole or not at all. */
  snapshot(path: string, state: unknown, options?: SnapshotOptions): Promise<SnapshotInfo> {
    return run(this.#service.snapshot(path, state, options))
  }

  /** Saves a state whose JSON comes as bytes, of any size. */
  saveStream(path: string, source: StateSource, options?: SaveStreamOptions): Promise<SnapshotInfo> {
    return run(this.#service.saveStream(path, source, options))
  }

  /** Loads a snapshot and checks it. */
  restore<A = unknown>(path: string, options?: RestoreStateOptions<A>): Promise<Restored<A>> {
    return run(this.#service.restore(path, options))
  }

  /** Begins to load a snapshot; its body ends well only when its hash is right. */
  loadStream(path: string, options?: RestoreOptions): Promise<SnapshotStream> {
    return run(this.#service.loadStream(path, options))
  }

  /** What a snapshot says about itself; only its head is read. */
  getMetadata(path: string, options?: RestoreOptions): Promise<SnapshotInfo> {
    return run(this.#service.getMetadata(path, options))
  }

  /** Reads and checks a snapshot; rejects with what is wrong. */
  verifySnapshot(path: string, options?: RestoreOptions): Promise<SnapshotInfo> {
    return run(this.#service.verifySnapshot(path, options))
  }

  /** Whether there is such a snapshot; rejects when the store cannot say. */
  snapshotExists(path: string, options?: CallOptions): Promise<boolean> {
    return run(this.#service.snapshotExists(path, options))
  }

  /** Removes a snapshot; one that is missing counts as removed. */
  deleteSnapshot(path: string, options?: CallOptions & Pick<WriteCondition, "ifMatch">): Promise<void> {
    return run(this.#service.deleteSnapshot(path, options))
  }

  /** The objects with a prefix and what they say about themselves; those that are no snapshots with their error. */
  listSnapshots(options?: RestoreOptions & { readonly prefix?: string | undefined }): AsyncIterable<ListedSnapshot> {
    return { [Symbol.asyncIterator]: () => iterate(this.#service.listSnapshots(options)) }
  }

  /** Whether the store can be used, and if not, why. Never rejects. */
  healthCheck(options?: CallOptions): Promise<Health> {
    return run(this.#service.healthCheck(options))
  }
}
