/**
 * What can be done with checkpoints: the verbs, what they take and what they give. `checkpoint-service.ts` makes them.
 *
 * @module
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ObjectInfo, Presigned } from "../backend.ts"
import type { StoreError } from "../error.ts"
import type { EncryptionInput } from "../options.ts"
import type { CheckpointEntry } from "./checkpoint-id.ts"
import type { CheckpointMetrics } from "./checkpoint-metrics.ts"
import type { PayloadSchema } from "./payload.ts"

/** Options of a checkpoint store. */
export interface CheckpointsOptions<State = unknown> {
  /** Put in front of every thread as it is. Default `"checkpoints/"`, as the original has it. */
  readonly prefix?: string | undefined
  /** Store checkpoints inside gzip. Default `true`. Either is read whatever this says. */
  readonly compression?: boolean | undefined
  /** Bytes from which a checkpoint goes up in parts of that size. Default: what the backend recommends. */
  readonly partSize?: number | undefined
  /** How the service is to encrypt checkpoints. Default: the store's. */
  readonly encryption?: EncryptionInput | undefined
  /** What counts; give one to several stores to count them together. Default: one of its own. */
  readonly metrics?: CheckpointMetrics | undefined
  /**
   * What states must look like, checked when they are saved and when they are loaded: a schema of Effect, Zod or any other
   * library that follows Standard Schema. Default: any JSON value.
   */
  readonly schema?: PayloadSchema<State> | undefined
  /** Attributes of every span and log line, such as `{ bucket: "agents" }`. Default: none. */
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/** What is said of a checkpoint when it is saved. */
export interface SaveCheckpointOptions {
  /** Kept beside the state. Default `{}`. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
  /** The checkpoint it follows. Default: none. */
  readonly parent?: string | undefined
  /**
   * Its id. Default: a fresh one, a UUID of version 7. One that is there is replaced; a store that keeps versions keeps
   * what it was.
   */
  readonly id?: string | undefined
  /** Further fields of the stored object. Default: none. */
  readonly other?: Readonly<Record<string, unknown>> | undefined
}

/** One of many checkpoints to be saved. */
export interface CheckpointToSave<State = unknown> extends SaveCheckpointOptions {
  /** The thread it belongs to. */
  readonly thread: string
  /** The state; any JSON value. */
  readonly state: State
}

/** A checkpoint that was loaded. */
export interface Checkpoint<State = unknown> {
  /** The thread it belongs to. */
  readonly thread: string
  /** Its id. */
  readonly id: string
  /** The state. */
  readonly state: State
  /** What is kept beside it. */
  readonly metadata: Readonly<Record<string, unknown>>
  /** The checkpoint it follows, where that was said. */
  readonly parent: string | undefined
  /** When it was saved, RFC 3339. */
  readonly timestamp: string
  /** Fields of the stored object that Holdfast does not know. */
  readonly other: Readonly<Record<string, unknown>>
  /** Facts of the object that holds it. */
  readonly info: ObjectInfo
}

/** A version of one checkpoint. */
export interface CheckpointVersion {
  /** The store's name for it. */
  readonly versionId: string
  /** It is what a load sees. */
  readonly latest: boolean
  /** It marks a removal. */
  readonly removed: boolean
  /** Stored bytes. */
  readonly size: number
  /** When it was saved or removed. */
  readonly modified: Date
}

/** What became of one checkpoint of {@link CheckpointsService.removeMany}. */
export interface RemovedCheckpoint {
  /** Its thread. */
  readonly thread: string
  /** Its id. */
  readonly id: string
  /** Why it was not removed; absent when it is gone. */
  readonly error?: StoreError | undefined
}

/** What {@link CheckpointsService.update} makes of the latest checkpoint. */
export interface NextCheckpoint<State = unknown> {
  /** The state. */
  readonly state: State
  /** Kept beside it. Default `{}`. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}

/** The verbs. Ids that cannot be one segment of a key are `InvalidKey`, and nothing is asked of the store. */
export interface CheckpointsService<State = unknown> {
  /** What is counted. */
  readonly metrics: CheckpointMetrics
  /** Saves a checkpoint, whole or not at all, and makes it the thread's latest; its id. */
  readonly save: (thread: string, state: State, options?: SaveCheckpointOptions) => Effect.Effect<string, StoreError>
  /** Saves many, eight at a time; their ids in the order given. The last of each thread becomes its latest. */
  readonly saveMany: (items: Iterable<CheckpointToSave<State>>) => Effect.Effect<ReadonlyArray<string>, StoreError>
  /**
   * Saves what `change` makes of the latest checkpoint, with that one as its parent, provided that nobody has saved in
   * between; otherwise again with what is latest now, so `change` may run many times. `undefined` in and out stands for
   * no checkpoint and for no change. On a store that cannot replace under a condition: `Unsupported`.
   */
  readonly update: <E = never>(
    thread: string,
    change: (current: Checkpoint<State> | undefined) => Effect.Effect<NextCheckpoint<State> | undefined, E>,
  ) => Effect.Effect<string | undefined, StoreError | E>
  /** A checkpoint, or the thread's latest. None: `NotFound`; one that cannot be read: `Corrupt`, naming its key. */
  readonly load: (
    thread: string,
    id?: string,
    options?: { readonly versionId?: string | undefined },
  ) => Effect.Effect<Checkpoint<State>, StoreError>
  /** The same; none is `undefined`. */
  readonly find: (
    thread: string,
    id?: string,
    options?: { readonly versionId?: string | undefined },
  ) => Effect.Effect<Checkpoint<State> | undefined, StoreError>
  /** Whether there is such a checkpoint; nothing of it is read. */
  readonly exists: (thread: string, id: string) => Effect.Effect<boolean, StoreError>
  /** Facts of the object that holds a checkpoint. */
  readonly stat: (thread: string, id: string) => Effect.Effect<ObjectInfo, StoreError>
  /**
   * The checkpoints of a thread, the newest first, or of all threads, one thread after the other. Names only: no
   * checkpoint is read. The names of a thread are held in memory.
   */
  readonly list: (
    thread?: string,
    options?: { readonly limit?: number | undefined },
  ) => Stream.Stream<CheckpointEntry, StoreError>
  /** The newest `limit` of a thread, loaded, many at once. Those that cannot be read, or have gone, are left out. */
  readonly history: (
    thread: string,
    options?: { readonly limit?: number | undefined },
  ) => Stream.Stream<Checkpoint<State>, StoreError>
  /** The threads there are, in the order of their names. */
  readonly threads: () => Stream.Stream<string, StoreError>
  /**
   * Removes a checkpoint, or all of a thread, oldest first in batches of 1,000; what is missing counts as removed. When
   * the latest is removed, the newest of the others is.
   */
  readonly remove: (thread: string, id?: string) => Effect.Effect<void, StoreError>
  /** Removes many checkpoints; one result each, in the order given. */
  readonly removeMany: (
    checkpoints: Iterable<{ readonly thread: string; readonly id: string }>,
  ) => Effect.Effect<ReadonlyArray<RemovedCheckpoint>, StoreError>
  /** The versions of a checkpoint, the newest first; `Unsupported` where the store keeps none. */
  readonly versions: (thread: string, id: string) => Stream.Stream<CheckpointVersion, StoreError>
  /** A URL from which others can load a checkpoint as it is stored. Default: for 15 minutes. */
  readonly presign: (
    thread: string,
    id: string,
    options?: { readonly expires?: Duration.Input | undefined; readonly versionId?: string | undefined },
  ) => Effect.Effect<Presigned, StoreError>
}
