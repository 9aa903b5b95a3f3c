/**
 * Persist's `SnapshotEngine`: snapshots through any {@link StorageAdapter}. It knows no place; the adapter is all it has.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Backend, ObjectInfo } from "../backend.ts"
import { StoreError } from "../error.ts"
import { makeObjectStore } from "../object-store.ts"
import { run } from "../run.ts"
import {
  makeSnapshots,
  type SnapshotFields,
  type SnapshotMetadata,
  type SnapshotsOptions,
  type SnapshotsService,
} from "../stores/snapshots.ts"
import { persistError } from "./persist-errors.ts"
import type { StorageAdapter } from "./persist-storage.ts"
import { type LogFields, logged, type RustLog, rustLog } from "./rust-log.ts"

/** Most bytes of a file that an adapter is given: it holds them in memory whole. */
const maxFileSize = 2 ** 30

/**
 * Snapshots through an adapter of your own.
 *
 * @example A place of one's own
 * ```ts
 * import { SnapshotEngine } from "@holdfast/holdfast/persist"
 *
 * const files = new Map<string, Uint8Array>()
 * const engine = new SnapshotEngine({
 *   save: async (data, path) => void files.set(path, data.slice()),
 *   load: async (path) => files.get(path)!,
 *   exists: async (path) => files.has(path),
 *   delete: async (path) => void files.delete(path),
 * })
 * await engine.save_snapshot('{"step":1}', { agentId: "bot" }, "bot.json.gz")
 * const [metadata, json] = await engine.load_snapshot("bot.json.gz")
 * console.assert(metadata.agent_id === "bot" && json === '{"step":1}')
 * ```
 */
export class SnapshotEngine {
  readonly #adapter: StorageAdapter
  readonly #snapshots: Promise<SnapshotsService>
  readonly #log: RustLog | undefined

  /** An engine on that adapter. */
  constructor(adapter: StorageAdapter, options?: SnapshotsOptions) {
    this.#adapter = adapter
    this.#log = rustLog(undefined)
    const backend = adapterBackend(adapter)
    // The adapter knows best what is worth another try.
    const store = makeObjectStore(backend, { policy: { retry: "none", breaker: "none" } })
    this.#snapshots = run(Effect.map(store, (store) => makeSnapshots(store, options)))
  }

  /** Saves a state that is JSON already; returns what the snapshot says about itself. */
  save_snapshot(agent_json: string, metadata: SnapshotFields, path: string): Promise<SnapshotMetadata> {
    return this.#call("save_snapshot", path, async (snapshots, note) => {
      const info = await run(snapshots.saveStream(path, agent_json, metadata))
      note({ bytes: info.size })
      return info.metadata
    })
  }

  /** Loads a snapshot and checks it: what it says about itself, and the state's JSON in normal form. */
  load_snapshot(path: string): Promise<readonly [metadata: SnapshotMetadata, agent_json: string]> {
    return this.#call("load_snapshot", path, async (snapshots, note) => {
      const { metadata, body, size } = await run(snapshots.loadStream(path))
      note({ bytes: size })
      return [metadata, await new Response(body).text()]
    })
  }

  /** Whether there is such a snapshot. */
  snapshot_exists(path: string): Promise<boolean> {
    return this.#logged("snapshot_exists", path, async (note) => {
      const exists = await this.#adapter.exists(path)
      note({ exists })
      return exists
    })
  }

  /** Removes a snapshot. */
  delete_snapshot(path: string): Promise<void> {
    return this.#call("delete_snapshot", path, (snapshots) => run(snapshots.deleteSnapshot(path)))
  }

  /** What a snapshot says about itself. */
  get_snapshot_metadata(path: string): Promise<SnapshotMetadata> {
    return this.#call("get_snapshot_metadata", path, async (snapshots, note) => {
      const { metadata, size } = await run(snapshots.getMetadata(path))
      note({ bytes: size })
      return metadata
    })
  }

  /** Checks a snapshot; rejects with what is wrong. */
  verify_snapshot(path: string): Promise<void> {
    return this.#call("verify_snapshot", path, async (snapshots, note) => {
      const { size } = await run(snapshots.verifySnapshot(path))
      note({ bytes: size })
    })
  }

  #call<A>(
    operation: string,
    path: string,
    use: (snapshots: SnapshotsService, note: (fields: LogFields) => void) => Promise<A>,
  ): Promise<A> {
    return this.#logged(operation, path, async (note) => {
      try {
        return await use(await this.#snapshots, note)
      } catch (cause) {
        throw failure(path, cause)
      }
    })
  }

  #logged<A>(operation: string, path: string, work: (note: (fields: LogFields) => void) => Promise<A>): Promise<A> {
    return logged(this.#log, { target: "persist_core::snapshot", operation, fields: { path } }, work)
  }
}

/** What the adapter itself has thrown goes to its caller as it is. */
const failure = (path: string, cause: unknown): unknown =>
  StoreError.is(cause) && cause.reason === "Unavailable" && cause.cause instanceof Error
    ? cause.cause
    : persistError(cause, { backend: "adapter", bucket: undefined, path })

/** A backend of four functions on whole files. What they cannot do is `Unsupported`. */
const adapterBackend = (adapter: StorageAdapter): Backend => {
  const attempt = <A>(operation: string, key: string, call: () => Promise<A>): Effect.Effect<A, StoreError> =>
    Effect.tryPromise({
      try: call,
      catch: (cause) =>
        new StoreError({
          reason: "Unavailable",
          transient: false,
          ambiguous: false,
          detail: cause instanceof Error ? cause.message : String(cause),
          backend: "adapter",
          operation,
          key,
          cause,
        }),
    })
  const cannot = (operation: string) => (): Effect.Effect<never, StoreError> =>
    Effect.fail(
      new StoreError({
        reason: "Unsupported",
        detail: "a StorageAdapter cannot do that",
        backend: "adapter",
        operation,
      }),
    )
  const infoOf = (key: string, size: number): ObjectInfo => ({
    key,
    size,
    etag: `W/${size}`,
    modified: new Date(0),
    metadata: {},
  })
  const read = (operation: string, key: string): Effect.Effect<Uint8Array, StoreError> =>
    Effect.flatMap(
      attempt(operation, key, () => adapter.exists(key)),
      (exists) =>
        exists ? attempt(operation, key, () => adapter.load(key)) : Effect.fail(
          new StoreError({ reason: "NotFound", detail: "there is no such file", backend: "adapter", operation, key }),
        ),
    )
  const remove = (key: string) => attempt("remove", key, () => adapter.delete(key))
  return {
    name: "adapter",
    capabilities: {
      maxPut: maxFileSize,
      conditional: { create: false, replace: false, complete: false, copy: false, remove: false },
      enforcedChecksum: false,
      copy: false,
      move: false,
      parallelRanges: false,
      nestedKeys: true,
    },
    stat: (key) => Effect.map(read("stat", key), (bytes) => infoOf(key, bytes.length)),
    get: (key, { offset = 0, length } = {}) =>
      Effect.flatMap(read("get", key), (bytes) => {
        if (offset > bytes.length || (offset === bytes.length && (length ?? 0) > 0)) {
          const detail = `the file has ${bytes.length} bytes, the range starts at ${offset}`
          return Effect.fail(
            new StoreError({ reason: "RangeNotSatisfiable", detail, backend: "adapter", operation: "get", key }),
          )
        }
        const part = bytes.slice(offset, length === undefined ? undefined : offset + length)
        const body = new ReadableStream<Uint8Array>({
          start(controller) {
            if (part.length > 0) controller.enqueue(part)
            controller.close()
          },
        })
        return Effect.succeed({ info: infoOf(key, bytes.length), offset, length: part.length, body })
      }),
    put: (key, bytes) =>
      Effect.as(attempt("put", key, () => adapter.save(bytes.slice(), key)), infoOf(key, bytes.length)),
    list: cannot("list"),
    remove,
    removeMany: (keys) =>
      Effect.forEach(
        keys,
        (key) => Effect.match(remove(key), { onSuccess: () => ({ key }), onFailure: (error) => ({ key, error }) }),
      ),
    createUpload: cannot("createUpload"),
    putPart: cannot("putPart"),
    completeUpload: cannot("completeUpload"),
    abortUpload: () => Effect.void,
  }
}
