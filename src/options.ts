/**
 * What callers can say: the options of a store and of each verb.
 *
 * @module
 */
import type * as Duration from "effect/Duration"
import type {
  CustomerKey,
  Encryption,
  ObjectInfo,
  PresignOptions as BackendPresignOptions,
  SavedFacts,
  WriteCondition,
} from "./backend.ts"
import type { PolicyOptions, RetrySchedule } from "./policy.ts"
import type { Progress } from "./save.ts"
import type { Codec } from "./streams/codec.ts"

/** Options of every store, whatever its backend. */
export interface StoreOptions extends CompressionOptions {
  /** Retries, concurrency, timeouts and the breaker. */
  readonly policy?: PolicyOptions | undefined
  /** How long a body may stay silent before it is asked for again from where it stopped. Default 30 s. */
  readonly idleTimeout?: Duration.Input | undefined
  /** How writes are encrypted that do not say. An `sse-c` key is used for reads as well. */
  readonly encryption?: EncryptionInput | undefined
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the call: it fails with `Aborted` once everything it had opened is closed. */
  readonly signal?: AbortSignal | undefined
  /** When transient failures of this call are tried again, instead of the layer's policy. */
  readonly retry?: RetrySchedule | "none" | undefined
}

/** How objects are compressed, for a layer or for one save. `docs/format.md` describes the stored bytes. */
export interface CompressionOptions {
  /**
   * `"zstd"`: seekable and the fastest; needs a runtime that encodes it (Bun, Deno, Node; not Workers). `"gzip"`:
   * opened by everything, ranges decode from the start. `"none"`: the bytes as they are. Default: zstd where the
   * runtime can encode it, else gzip.
   */
  readonly compression?: Codec | "none" | undefined
  /** zstd 1 to 19, gzip 1 to 9. Default: 3 and 6, as their own tools have it. */
  readonly level?: number | undefined
  /**
   * Bytes before compression that are compressed by themselves, 1 to 16 MiB: what a range load reads at least, and
   * what a save holds in memory about seven times. Default 4 MiB, beyond which objects get hardly smaller.
   */
  readonly frameSize?: number | undefined
}

/** {@link Encryption} as callers write it: an `sse-c` key may be its 32 bytes. */
export type EncryptionInput =
  | Exclude<Encryption, { readonly type: "sse-c" }>
  | { readonly type: "sse-c"; readonly key: Uint8Array | CustomerKey }

/** Which object a call reads, where a key alone does not say. */
export interface ReadOptions {
  /** This version instead of the current one; needs a store that keeps versions. */
  readonly versionId?: string | undefined
  /** The key that an object encrypted with `sse-c` was saved with, 32 bytes. Default: the layer's. */
  readonly customerKey?: Uint8Array | CustomerKey | undefined
}

/** Options of {@link ObjectStoreService.stat}. */
export interface StatOptions extends CallOptions, ReadOptions {}

/** Options of {@link ObjectStoreService.verify}. */
export interface VerifyOptions extends CallOptions, ReadOptions {
  /** `false`: check only what a few small reads can: that it is there, and that its tail fits it. Default `true`. */
  readonly deep?: boolean | undefined
  /** Called as bytes are checked. What it throws is ignored. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** What {@link ObjectStoreService.verify} has found to be right; what is wrong it fails with. */
export interface Verified {
  /** Facts of the object. */
  readonly info: ObjectInfo
  /**
   * What every stored byte was held against: `frames` (the checksums of each frame, and the trailer's of all of
   * them), `crc32` (of all bytes of an object that is not encoded), `sha256` (of what was saved). With `deep: false` only `trailer`. Empty: the
   * store knows nothing that the bytes could be held against.
   */
  readonly checks: ReadonlyArray<"trailer" | "frames" | "crc32" | "sha256">
}

/** Options of {@link ObjectStoreService.save}. */
export interface SaveOptions extends CallOptions, WriteCondition, CompressionOptions {
  /** Strings stored with the object, 1,792 bytes in all (`maxMetadataBytes`); names in lower case. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** Media type stored with the object. */
  readonly contentType?: string | undefined
  /** Bytes the source must have: fewer fail with `Truncated`, more with `InvalidInput`, and nothing is saved. */
  readonly expectedSize?: number | undefined
  /** SHA-256 the source must have, in hex; another fails with `Corrupt`, and nothing is saved. */
  readonly expectedSha256?: string | undefined
  /**
   * Compute the SHA-256 of the source and store it as `info.sha256`. Compressed objects always have it; for
   * `compression: "none"` it is off by default, since it halves the speed.
   */
  readonly digest?: "sha256" | undefined
  /** Called as bytes are stored. What it throws is ignored. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** How the service is to encrypt the object. Default: the layer's, else what the service does by itself. */
  readonly encryption?: EncryptionInput | undefined
  /** The service's storage class, such as `"STANDARD_IA"`. */
  readonly storageClass?: string | undefined
  /** Tags, on services that have them: up to 10. */
  readonly tags?: Readonly<Record<string, string>> | undefined
  /**
   * The source holds stored bytes of this codec already, as `load(key, { decode: "none" })` gives them: they are
   * stored as they are, and load decoded. For copies from one store to another.
   */
  readonly stored?: { readonly codec: Codec } & SavedFacts | undefined
  /** Stored bytes of a part. Default: what the backend recommends. A save needs `partSize × (concurrency + 1)` of memory. */
  readonly partSize?: number | undefined
  /** Parts in flight. Default: what the backend recommends. */
  readonly concurrency?: number | undefined
}

/** Options of {@link ObjectStoreService.load}. */
export interface LoadOptions extends CallOptions, ReadOptions {
  /** First byte wanted of what was saved. Default 0; beyond the end is `RangeNotSatisfiable`. */
  readonly offset?: number | undefined
  /** Bytes wanted; fewer come when the object ends before. Default: the rest. */
  readonly length?: number | undefined
  /** Only if the object's etag is this one; otherwise `PreconditionFailed`. */
  readonly ifMatch?: string | undefined
  /** Only if the object's etag is not this one; otherwise `NotModified`. */
  readonly ifNoneMatch?: string | undefined
  /**
   * How an object that something else made is encoded; without it such an object loads as it is. `"none"`: the
   * stored bytes of any object, as they are. Objects that Holdfast encoded are decoded without being asked.
   */
  readonly decode?: Codec | "none" | undefined
  /**
   * Ranges of 8 MiB asked for at once, on stores where several at once are faster than one body. Default 4. They are read
   * ahead of their turn only while whoever reads has to wait for the network.
   */
  readonly concurrency?: number | undefined
  /** With `decode`: most bytes that the object may decode to, beyond which the load is `TooLarge`. Default: no limit. */
  readonly maxLength?: number | undefined
  /** Called as bytes are handed out. What it throws is ignored. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** Options of {@link ObjectStoreService.list}. */
export interface ListOptions extends CallOptions {
  /** Only keys that start with this. Not a folder: `a` also finds `ab`. Default: all. */
  readonly prefix?: string | undefined
  /** `"/"`: keys that hold a further `/` after the prefix are folded into the page's `prefixes`. */
  readonly delimiter?: "/" | undefined
}

/** Options of {@link ObjectStoreService.remove}. */
export interface RemoveOptions extends CallOptions {
  /** Only if the object's etag is this one; otherwise `PreconditionFailed`. */
  readonly ifMatch?: string | undefined
  /** Removes this version for good, instead of the current one in sight. */
  readonly versionId?: string | undefined
}

/** Options of {@link ObjectStoreService.copy} and {@link ObjectStoreService.move}; the conditions are on the target. */
export interface CopyOptions extends CallOptions, WriteCondition {
  /** Only if the source's etag is this one; otherwise `PreconditionFailed`. */
  readonly sourceIfMatch?: string | undefined
  /** This version of the source instead of the current one. */
  readonly sourceVersionId?: string | undefined
  /** The source's `sse-c` key. Default: the layer's. */
  readonly sourceCustomerKey?: Uint8Array | CustomerKey | undefined
  /** How the target is to be encrypted. Default: the layer's. */
  readonly encryption?: EncryptionInput | undefined
  /** The target's storage class, such as `"STANDARD_IA"`. Default: the source's. */
  readonly storageClass?: string | undefined
}

/** Options of {@link ObjectStoreService.presign}. */
export interface PresignOptions extends Omit<BackendPresignOptions, "expires" | "part"> {
  /** For how long from now on the request works, 1 s to 7 days. Default 15 minutes. */
  readonly expires?: Duration.Input | undefined
}
