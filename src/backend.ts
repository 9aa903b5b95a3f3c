/**
 * The contract of a backend: a place bytes can live.
 *
 * Every call is bounded and replayable. No call receives an unbounded stream, so that one `Backend → Backend`
 * wrapper can retry, time, limit, fault or record it, and a backend stays small: it holds no sleep, no retry
 * loop and no timer (the disk backend's wait for a lock is the one exception). What a backend would silently
 * ignore, it refuses with `Unsupported` before any I/O; `capabilities` says beforehand what that is.
 *
 * `src/backends/conformance.ts` proves an implementation against this page.
 *
 * @module
 */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { StoreError } from "./error.ts"

/** A 256-bit key for `sse-c`: 32 bytes that print as `<redacted>`. */
export type CustomerKey = Redacted.Redacted<Uint8Array>

/**
 * Encryption at rest, asked of the service for one write:
 *
 * - `sse-s3`: with keys that the service keeps.
 * - `sse-kms`: with a key of a key management service. Without `keyId` the account's default key; `context` must be
 *   the same for whoever decrypts; `bucketKey` lets the service ask the KMS once for many objects.
 * - `sse-c`: with a key that travels with each call and is kept nowhere. Whoever loses it has lost the object.
 */
export type Encryption =
  | { readonly type: "sse-s3" }
  | {
    readonly type: "sse-kms"
    readonly keyId?: string | undefined
    readonly context?: Readonly<Record<string, string>> | undefined
    readonly bucketKey?: boolean | undefined
  }
  | { readonly type: "sse-c"; readonly key: CustomerKey }

/** What is known of a stored object. */
export interface ObjectInfo {
  /** The object's name. */
  readonly key: string
  /** Stored bytes. */
  readonly size: number
  /**
   * Opaque validator, equal only for the same write; without quotes. One that starts with `W/` is weak: it can
   * be compared, but not used for `ifMatch`.
   */
  readonly etag: string
  /** When it was saved. */
  readonly modified: Date
  /** Media type given at save. */
  readonly contentType?: string | undefined
  /** User metadata given at save; lower-case names. */
  readonly metadata: Readonly<Record<string, string>>
  /** CRC-32 of all stored bytes (IEEE, as in gzip), where the backend knows it. */
  readonly crc32?: number | undefined
  /** SHA-256 of what was saved, before compression, in lower-case hex; where it was asked for and is known. */
  readonly sha256?: string | undefined
  /** How the stored bytes are encoded (`docs/format.md`); absent: they are what was saved. */
  readonly codec?: string | undefined
  /** Bytes that were saved, before compression. Absent where only the end of the stored bytes tells. */
  readonly length?: number | undefined
  /** The id of the write that made this object; absent on objects that something else wrote. */
  readonly writeId?: string | undefined
  /** Which version of the object this is, on a store that keeps versions. */
  readonly versionId?: string | undefined
  /** How the service says it is encrypted; never a customer's key. */
  readonly encryption?: { readonly type: Encryption["type"]; readonly keyId?: string | undefined } | undefined
  /** The service's storage class, where it is not the default one. */
  readonly storageClass?: string | undefined
}

/** What a listing knows of an object; the rest takes a `stat`. */
export type ObjectEntry = Pick<ObjectInfo, "key" | "size" | "modified"> & { readonly etag?: string | undefined }

/** Conditions under which a write happens. At most one of the two may be given. */
export interface WriteCondition {
  /** Only if the object's etag is this one now; otherwise `PreconditionFailed` (also when it is gone). */
  readonly ifMatch?: string | undefined
  /** `"*"`: only if there is no such object; otherwise `AlreadyExists`. */
  readonly ifNoneMatch?: "*" | undefined
}

/** What is stored beside the bytes. */
export interface ObjectHead {
  /** Media type. */
  readonly contentType?: string | undefined
  /** User metadata; checked already. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /**
   * A fresh id for each logical save, the same for all its attempts. It is stored with the object, so a reply
   * lost on the way can be settled by a `stat`: the id is ours, or another writer's.
   */
  readonly writeId: string
  /** How the bytes are encoded; kept with the object. */
  readonly codec?: string | undefined
  /** How the service is to encrypt it; only asked for where the capabilities name the type. */
  readonly encryption?: Encryption | undefined
  /** The service's storage class; only asked for where the capabilities say so. */
  readonly storageClass?: string | undefined
  /** Tags; only asked for where the capabilities say so. */
  readonly tags?: Readonly<Record<string, string>> | undefined
}

/** What is known of the saved bytes once the last one has been read. */
export interface SavedFacts {
  /** SHA-256 of what was saved, before compression, in lower-case hex. */
  readonly sha256?: string | undefined
  /** Its bytes, where they are not the stored ones. */
  readonly length?: number | undefined
}

/** Options of {@link Backend.put}. */
export interface PutOptions extends ObjectHead, WriteCondition, SavedFacts {
  /** CRC-32 of `bytes`, computed before the call. Bytes that do not match it are `Corrupt` where that is enforced. */
  readonly crc32: number
}

/** Options of {@link Backend.stat}. */
export interface StatOptions {
  /** This version instead of the current one; only where there is {@link Backend.listVersions}. */
  readonly versionId?: string | undefined
  /** The key of an object that is encrypted with `sse-c`. */
  readonly customerKey?: CustomerKey | undefined
  /**
   * Also what the backend itself knows not to be what was saved, and otherwise refuses with `Corrupt`: for a check that
   * says where it differs. The answer then has a weak etag and the facts of the write that the bytes most resemble.
   */
  readonly damaged?: boolean | undefined
}

/** Options of {@link Backend.get}. */
export interface GetOptions extends StatOptions {
  /**
   * First byte wanted. Default 0. Past the end, or at the end when `length` asks for bytes: `RangeNotSatisfiable`.
   * An empty object is given whole to `{}` and to `{ offset: 0 }`.
   */
  readonly offset?: number | undefined
  /** Bytes wanted; fewer come when the object ends before. Default: all from `offset`. */
  readonly length?: number | undefined
  /** Only if the object's etag is this one; otherwise `PreconditionFailed`. */
  readonly ifMatch?: string | undefined
  /** Only if the object's etag is not this one; otherwise `NotModified`. */
  readonly ifNoneMatch?: string | undefined
}

/** The answer to {@link Backend.get}. */
export interface GetResult {
  /** The whole object's facts, taken from the same write as `body`. */
  readonly info: ObjectInfo
  /** First byte of `body` within the object. */
  readonly offset: number
  /** Bytes that `body` promises. */
  readonly length: number
  /**
   * The bytes. Pulled on demand; `cancel` frees what it holds. Delivering fewer bytes than `length` and then
   * ending is not allowed: it must error.
   */
  readonly body: ReadableStream<Uint8Array>
}

/** Options of {@link Backend.list}. */
export interface ListOptions {
  /** Only keys that start with this. Default: all. Not a folder: `a` also finds `ab`. */
  readonly prefix?: string | undefined
  /** Only `"/"`: keys that hold it after the prefix are folded into `prefixes`. */
  readonly delimiter?: "/" | undefined
  /** Where an earlier page of the same list ended. */
  readonly cursor?: string | undefined
  /** Most objects and prefixes in the page, 1 to 1,000. Default 1,000. */
  readonly limit?: number | undefined
}

/** One page of a listing, in the order of the keys' UTF-8 bytes. */
export interface ListPage {
  /** What is there, without what was folded. */
  readonly objects: ReadonlyArray<ObjectEntry>
  /** Folded prefixes, each ending in the delimiter; empty without a delimiter. */
  readonly prefixes: ReadonlyArray<string>
  /** Where the next page starts; absent on the last page. A page may be empty and still have one. */
  readonly cursor?: string | undefined
}

/** An upload that has been begun and is neither complete nor aborted. */
export interface Upload {
  /** The backend's own name for it. */
  readonly id: string
  /** The object it will make. */
  readonly key: string
  /** The `sse-c` key that its parts travel with. */
  readonly customerKey?: CustomerKey | undefined
}

/** Options of {@link Backend.createUpload}. */
export interface UploadOptions extends ObjectHead {
  /**
   * The upload must outlive this process, so that another can go on with it: `listUploads` shows it and `listParts`
   * what is there. Default: the backend may tie it to the process. Without `listParts`: `Unsupported`.
   */
  readonly resumable?: boolean | undefined
}

/** An upload as a listing shows it. */
export interface UploadEntry extends Upload {
  /** When it was begun. */
  readonly started: Date
}

/** One page of a listing of uploads. */
export interface UploadPage {
  /** In the order of their keys, then of their start. */
  readonly uploads: ReadonlyArray<UploadEntry>
  /** Where the next page starts; absent on the last page. */
  readonly cursor?: string | undefined
}

/** A part that is stored. */
export interface Part {
  /** 1 for the first. */
  readonly number: number
  /** Its first byte within the object. */
  readonly offset: number
  /** Its bytes. */
  readonly size: number
  /** Their CRC-32; absent for a part that the place copied itself and gave no checksum of. */
  readonly crc32?: number | undefined
  /** What the service calls it, where it matters. */
  readonly etag?: string | undefined
}

/** Options of {@link Backend.completeUpload}. */
export interface CompleteOptions extends WriteCondition, SavedFacts {
  /** Bytes of the whole object. */
  readonly size: number
  /** CRC-32 of the whole object; absent only when parts were copied from an object without a known one. */
  readonly crc32?: number | undefined
}

/** Options of {@link Backend.copy} and {@link Backend.move}; the condition is on the target. */
export interface CopyOptions extends WriteCondition, CopySource {
  /** The id of the write that makes the target. */
  readonly writeId: string
  /** How the target is to be encrypted. */
  readonly encryption?: Encryption | undefined
  /** The target's storage class. Default: the source's. */
  readonly storageClass?: string | undefined
}

/** Which object a copy reads. */
export interface CopySource {
  /** Only if the source's etag is this one; otherwise `PreconditionFailed`. Supported wherever `copy` is. */
  readonly sourceIfMatch?: string | undefined
  /** This version of the source instead of the current one. */
  readonly sourceVersionId?: string | undefined
  /** The source's `sse-c` key. */
  readonly sourceCustomerKey?: CustomerKey | undefined
}

/** Options of {@link Backend.remove}. */
export interface RemoveOptions {
  /** Only if the object's etag is this one; otherwise `PreconditionFailed`. */
  readonly ifMatch?: string | undefined
  /** Removes this version for good; only where there is {@link Backend.listVersions}. */
  readonly versionId?: string | undefined
}

/** A version of an object, or the mark of its removal. */
export interface VersionEntry {
  /** The object's name. */
  readonly key: string
  /** Which version; `"null"` for one from before versions were kept. */
  readonly versionId: string
  /** It is what a load without a version sees. */
  readonly latest: boolean
  /** It marks a removal and has no bytes. */
  readonly removed: boolean
  /** Stored bytes. */
  readonly size: number
  /** When it was saved or removed. */
  readonly modified: Date
  /** Validator; absent for the mark of a removal. */
  readonly etag?: string | undefined
}

/** One page of a listing of versions. */
export interface VersionPage {
  /** In the order of the keys' UTF-8 bytes, the newest version of a key first. */
  readonly versions: ReadonlyArray<VersionEntry>
  /** Where the next page starts; absent on the last page. */
  readonly cursor?: string | undefined
}

/** What {@link Backend.presign} makes a URL for. */
export interface PresignOptions {
  /** Seconds from now on for which the URL works, 1 to 604,800 (7 days, the limit of SigV4). */
  readonly expires: number
  /** `GET`: of this version. */
  readonly versionId?: string | undefined
  /** `GET`: the media type that the answer is to have. */
  readonly responseContentType?: string | undefined
  /** `GET`: the `content-disposition` that the answer is to have. */
  readonly responseContentDisposition?: string | undefined
  /** `PUT`: the media type that the request must have. */
  readonly contentType?: string | undefined
  /** `PUT`: of this part of an upload instead of the object. */
  readonly part?: { readonly upload: Upload; readonly number: number } | undefined
}

/** A request that whoever holds it may make until it expires. It is a secret. */
export interface Presigned {
  /** Where to. */
  readonly url: string
  /** Headers that the request must carry as they are. */
  readonly headers: Readonly<Record<string, string>>
  /** When it stops working. */
  readonly expires: Date
}

/** What became of one key of a {@link Backend.removeMany}. */
export interface RemoveResult {
  /** The key asked for. */
  readonly key: string
  /** Why it was not removed; absent when it is gone. */
  readonly error?: StoreError | undefined
}

/** The rules for the parts of an upload. */
export interface PartRules {
  /** Least bytes of a part that is not the last. */
  readonly minSize: number
  /** Most bytes of a part. */
  readonly maxSize: number
  /** What the engine uses when the caller does not say. */
  readonly recommendedSize: number
  /** Most parts of an upload. */
  readonly maxCount: number
  /** All parts but the last must have one size. */
  readonly equalSize: boolean
  /** Parts must arrive one after the other. */
  readonly sequential: boolean
  /** Parts in flight when the caller does not say. */
  readonly concurrency: number
}

/** Facts about one backend instance. The engine and the conformance suite choose by them. */
export interface Capabilities {
  /** How uploads work; absent: no uploads, an object larger than `maxPut` is `TooLarge`. */
  readonly parts?: PartRules | undefined
  /** Most bytes of one `put`. */
  readonly maxPut: number
  /** Where a condition is checked atomically with the write. Elsewhere a condition is `Unsupported`. */
  readonly conditional: {
    /** `ifNoneMatch: "*"` on `put`. */
    readonly create: boolean
    /** `ifMatch` on `put`. */
    readonly replace: boolean
    /** Either on `completeUpload`. */
    readonly complete: boolean
    /** Either on the target of `copy` and `move`. */
    readonly copy: boolean
    /** `ifMatch` on `remove`. */
    readonly remove: boolean
  }
  /** The place itself refuses bytes that do not match their checksum. */
  readonly enforcedChecksum: boolean
  /** `copy` exists: the bytes do not travel through this program. */
  readonly copy: boolean
  /** `move` exists and is atomic. */
  readonly move: boolean
  /** Several ranges of one object at once are faster than one body. */
  readonly parallelRanges: boolean
  /** `a` and `a/b` can both be objects; without: `Conflict`. */
  readonly nestedKeys: boolean
  /**
   * `completeUpload` keeps its {@link SavedFacts}. Absent: what is stored beside an object must be known before its
   * first byte, as on S3; then only the object's own bytes can tell.
   */
  readonly lateFacts?: boolean | undefined
  /** The kinds of encryption that a write can ask for; absent: none. */
  readonly encryption?: ReadonlyArray<Encryption["type"]> | undefined
  /** Writes can name a storage class. */
  readonly storageClasses?: boolean | undefined
  /** Writes can carry tags. */
  readonly tags?: boolean | undefined
  /** Most bytes that one `copy` takes; more go through `copyPart`. Absent: any. */
  readonly maxCopy?: number | undefined
}

/**
 * A place bytes can live.
 *
 * - A key that reaches a backend is valid (`key.ts`), and so are metadata and option ranges; nothing is asked of it
 *   that its capabilities rule out.
 * - A write is atomic: before it returns, readers see the old object or none; after, the new one; never a mix,
 *   and never bytes of one with the metadata of the other.
 * - When a write has returned, the object survives whatever the backend says it survives (disk: power loss).
 * - The bytes given to `put` and `putPart` belong to the caller again when the call ends: copy what is kept.
 * - Every call may be interrupted; what it opened is closed then.
 * - Failures are {@link StoreError}s, with `transient` and `ambiguous` truthful.
 */
export interface Backend {
  /** Short name for messages, spans and metrics: `"disk"`. */
  readonly name: string
  /** What is true of this instance. */
  readonly capabilities: Capabilities
  /** Facts of an object. Missing: `NotFound`. */
  readonly stat: (key: string, options?: StatOptions) => Effect.Effect<ObjectInfo, StoreError>
  /** Facts and bytes of an object, or of a range of it. Missing: `NotFound`. */
  readonly get: (key: string, options?: GetOptions) => Effect.Effect<GetResult, StoreError>
  /** Stores a whole object. */
  readonly put: (key: string, bytes: Uint8Array, options: PutOptions) => Effect.Effect<ObjectInfo, StoreError>
  /** One page of keys. A prefix without objects is an empty page, never `NotFound`. */
  readonly list: (options?: ListOptions) => Effect.Effect<ListPage, StoreError>
  /** Removes an object. One that is missing counts as removed, unless `ifMatch` is given: `PreconditionFailed`. */
  readonly remove: (key: string, options?: RemoveOptions) => Effect.Effect<void, StoreError>
  /** Removes up to 1,000 objects; fails as a whole only when no key was tried. */
  readonly removeMany: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<RemoveResult>, StoreError>
  /** Begins an upload. Nothing can be seen under the key before it completes. */
  readonly createUpload: (key: string, options: UploadOptions) => Effect.Effect<Upload, StoreError>
  /** Stores a part; the same number again replaces it. Parts may arrive in any order and at once. */
  readonly putPart: (
    upload: Upload,
    part: { readonly number: number; readonly offset: number; readonly crc32: number },
    bytes: Uint8Array,
  ) => Effect.Effect<Part, StoreError>
  /**
   * Makes the object out of its parts, which cover it in order without gaps; otherwise `InvalidInput`. The upload
   * is over when this succeeds; one that is unknown or over: `NotFound`.
   */
  readonly completeUpload: (
    upload: Upload,
    parts: ReadonlyArray<Part>,
    options: CompleteOptions,
  ) => Effect.Effect<ObjectInfo, StoreError>
  /** Frees what an upload holds. One that is over already counts as aborted. */
  readonly abortUpload: (upload: Upload) => Effect.Effect<void, StoreError>
  /** Duplicates an object with its metadata, within the backend; the target gets its own write id and etag. */
  readonly copy?:
    | ((from: string, to: string, options: CopyOptions) => Effect.Effect<ObjectInfo, StoreError>)
    | undefined
  /** Renames an object atomically: at no time are both keys missing. The target gets its own write id and etag. */
  readonly move?:
    | ((from: string, to: string, options: CopyOptions) => Effect.Effect<ObjectInfo, StoreError>)
    | undefined
  /** Stores a part that is a piece of another object, without the bytes passing through this program. */
  readonly copyPart?:
    | ((
      upload: Upload,
      part: { readonly number: number; readonly offset: number; readonly size: number },
      source: CopySource & { readonly key: string; readonly offset: number },
    ) => Effect.Effect<Part, StoreError>)
    | undefined
  /** One page of the uploads that have been begun, under a prefix. Those tied to a process may be left out. */
  readonly listUploads?:
    | ((
      options?: { readonly prefix?: string | undefined; readonly cursor?: string | undefined },
    ) => Effect.Effect<UploadPage, StoreError>)
    | undefined
  /** The parts of an upload that are stored, in order. Unknown or over: `NotFound`. */
  readonly listParts?: ((upload: Upload) => Effect.Effect<ReadonlyArray<Part>, StoreError>) | undefined
  /** One page of the versions of the objects under a prefix. */
  readonly listVersions?:
    | ((
      options?: { readonly prefix?: string | undefined; readonly cursor?: string | undefined },
    ) => Effect.Effect<VersionPage, StoreError>)
    | undefined
  /** A request that others can make without credentials. Nothing is asked of the service. */
  readonly presign?:
    | ((method: "GET" | "PUT" | "HEAD" | "DELETE", key: string, options: PresignOptions) => Effect.Effect<
      Presigned,
      StoreError
    >)
    | undefined
}
