/**
 * The verbs on snapshots and what they take and give.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { WriteCondition } from "../backend.ts"
import type { StoreError } from "../error.ts"
import type { CallOptions } from "../options.ts"
import type { Source } from "../streams/source.ts"
import type { PayloadSchema } from "./payload.ts"
import type { SnapshotKey } from "./snapshot-encryption.ts"
import type { Redact } from "./snapshot-redact.ts"
import type { SnapshotMetadata } from "./snapshot-schema.ts"

/**
 * How a snapshot's file is packed. `"gzip"`: as Persist does, readable by it and by `gzip -d`. `"none"`: the JSON as it
 * is, which Persist reads without its compressor. `"store"`: the JSON, compressed by the object store in its own form,
 * faster and seekable, and not readable by Persist.
 */
export type SnapshotCompression = "gzip" | "none" | "store"

/** Options of every snapshot store. */
export interface SnapshotsOptions {
  /** How snapshots are packed unless a call says otherwise. Default `"gzip"`, so that Persist reads them. */
  readonly compression?: SnapshotCompression | undefined
  /**
   * Encrypts what is saved, before it reaches the store, with AES-256-GCM and these 32 bytes; decrypts what was so
   * encrypted. Default: none. Snapshots that are not encrypted are read as well.
   */
  readonly encryptionKey?: SnapshotKey | undefined
}

/** What a snapshot is to say about itself. */
export interface SnapshotFields {
  /** Whose state it is. Default `"default_agent"`, as Persist has it. */
  readonly agentId?: string | undefined
  /** Of which session. Default `"default_session"`. */
  readonly sessionId?: string | undefined
  /** Number of the snapshot within its session. Default 0. */
  readonly snapshotIndex?: number | undefined
  /** Words for people. Default: none. */
  readonly description?: string | undefined
}

/** Options of {@link SnapshotsService.saveStream}. */
export interface SaveStreamOptions extends SnapshotFields, SnapshotsOptions, WriteCondition, CallOptions {}

/** Options of {@link SnapshotsService.snapshot}. */
export interface SnapshotOptions extends SaveStreamOptions {
  /** What the state must look like; another is `InvalidInput`. Default: any value. */
  readonly schema?: PayloadSchema<unknown> | undefined
  /** What is not to be stored. It is left out before the hash is taken. Default: nothing. */
  readonly redact?: Redact | undefined
}

/** Options of what reads a snapshot. */
export interface RestoreOptions extends CallOptions, Pick<SnapshotsOptions, "encryptionKey"> {
  /** This version instead of the current one; needs a store that keeps versions. */
  readonly versionId?: string | undefined
}

/** Options of {@link SnapshotsService.restore}. */
export interface RestoreStateOptions<A = unknown> extends RestoreOptions {
  /**
   * What the state must look like; another is `Corrupt`. A schema of Effect, Zod or any other library that follows
   * Standard Schema. Default: the type is the caller's claim.
   */
  readonly schema?: PayloadSchema<A> | undefined
}

/** A snapshot that is there. */
export interface SnapshotInfo {
  /** Its key. */
  readonly path: string
  /** What it says about itself. */
  readonly metadata: SnapshotMetadata
  /** Validator of exactly this state of the object, for `ifMatch`. */
  readonly etag: string
  /** Stored bytes. */
  readonly size: number
}

/** A snapshot with the state in it. */
export interface Restored<A = unknown> extends SnapshotInfo {
  /** The state. Without a schema its type is the caller's claim. */
  readonly state: A
}

/** A snapshot on its way in. */
export interface SnapshotStream extends SnapshotInfo {
  /**
   * The state's JSON in normal form. Ends well only when its hash is right; otherwise it fails, after everything has been
   * given out: act on it only then. Cancel it if it is not read to its end.
   */
  readonly body: ReadableStream<Uint8Array>
}

/** One object of a listing. */
export interface ListedSnapshot {
  /** Its key. */
  readonly path: string
  /** Stored bytes. */
  readonly size: number
  /** When it was saved. */
  readonly modified: Date
  /** What it says about itself; absent when it cannot be read. */
  readonly metadata: SnapshotMetadata | undefined
  /** Why it cannot be read: it is something else, damaged, or encrypted with another key. */
  readonly error: StoreError | undefined
}

/**
 * Whether the store can be used: `credentials` (none, or refused ones), `permission` (not allowed), `bucket` (it is not
 * there, or a setting is wrong), `network` (no answer), `other`.
 */
export interface Health {
  /** What is the matter. */
  readonly status: "ok" | "credentials" | "permission" | "bucket" | "network" | "other"
  /** What went wrong; absent when all is well. */
  readonly error: StoreError | undefined
}

/** Where the JSON of a state comes from: a {@link Source}, or a function that gives one anew each time. */
export type StateSource = Source | (() => Source)

/** The verbs on snapshots. */
export interface SnapshotsService {
  /**
   * Saves an agent's state. What has a `toJSON` says itself what is stored of it; objects of LangChain leave out their
   * secrets that way. A state that JSON cannot hold is `InvalidInput`.
   */
  readonly snapshot: (
    path: string,
    state: unknown,
    options?: SnapshotOptions,
  ) => Effect.Effect<SnapshotInfo, StoreError>
  /**
   * Saves a state whose JSON comes as bytes, of any size. Objects in it that are larger than 8 MiB must have their keys
   * in order. Text, bytes, Blobs and functions are read twice; any other source is spooled in the store.
   */
  readonly saveStream: (
    path: string,
    source: StateSource,
    options?: SaveStreamOptions,
  ) => Effect.Effect<SnapshotInfo, StoreError>
  /** Loads a snapshot and checks it. Another hash than it says is `Corrupt`. */
  readonly restore: <A = unknown>(
    path: string,
    options?: RestoreStateOptions<A>,
  ) => Effect.Effect<Restored<A>, StoreError>
  /** Begins to load a snapshot: what it says now, its state as it is read. */
  readonly loadStream: (path: string, options?: RestoreOptions) => Effect.Effect<SnapshotStream, StoreError>
  /** Reads the head of a snapshot, and says what it says about itself. The state is not read and not checked. */
  readonly getMetadata: (path: string, options?: RestoreOptions) => Effect.Effect<SnapshotInfo, StoreError>
  /** Reads a snapshot and checks it without keeping its state. */
  readonly verifySnapshot: (path: string, options?: RestoreOptions) => Effect.Effect<SnapshotInfo, StoreError>
  /** Whether there is such an object; `false` only when the store says so. */
  readonly snapshotExists: (path: string, options?: CallOptions) => Effect.Effect<boolean, StoreError>
  /** Removes a snapshot; one that is missing counts as removed. */
  readonly deleteSnapshot: (
    path: string,
    options?: CallOptions & Pick<WriteCondition, "ifMatch">,
  ) => Effect.Effect<void, StoreError>
  /**
   * The objects with a prefix and what they say about themselves, in the order of their keys. Many heads are read at a
   * time. An object that is no snapshot is listed with its error and hides no other.
   */
  readonly listSnapshots: (
    options?: RestoreOptions & { readonly prefix?: string | undefined },
  ) => Stream.Stream<ListedSnapshot, StoreError>
  /** Asks the store for something harmless, once, and says what its answer means. Never fails. */
  readonly healthCheck: (options?: CallOptions) => Effect.Effect<Health>
}
