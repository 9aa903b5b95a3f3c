/**
 * What the peer holds: buckets, the versions of their objects, and uploads in progress.
 *
 * What a maintainer must keep: everything here is synchronous. An operation checks its conditions and changes the
 * state without a pause between, and that is what makes it atomic.
 *
 * @module
 */
import type { ChecksumName, Hashing } from "./hashing.ts"
import { type Answer, S3Failure } from "./message.ts"
import type { PeerOperation } from "./operation.ts"
import type { PeerQuirks } from "./quirks.ts"
import { parameter, type Query } from "./target.ts"

/** How an object is encrypted; the bytes are kept as they are, only the rules are followed. */
export type Encryption =
  | { readonly kind: "none" }
  | { readonly kind: "s3" }
  | {
    readonly kind: "kms"
    readonly keyId: string
    readonly context: string | undefined
    readonly bucketKey: boolean
  }
  | { readonly kind: "customer"; readonly keyMd5: string }

/** A checksum that is stored with an object. */
export interface StoredChecksum {
  readonly name: ChecksumName
  /** Base64, with `-N` behind it when it is a checksum of checksums. */
  readonly value: string
  readonly type: "FULL_OBJECT" | "COMPOSITE"
}

/** What a client says of an object besides its bytes. */
export interface ObjectHeaders {
  /** Content-type and the like, by lower-case name. */
  readonly system: Readonly<Record<string, string>>
  /** Without `x-amz-meta-`. */
  readonly metadata: Readonly<Record<string, string>>
  readonly storageClass: string
  readonly encryption: Encryption
}

/** An object. */
export interface StoredObject extends ObjectHeaders {
  readonly bytes: Uint8Array
  /** Without quotes. */
  readonly etag: string
  readonly tags: ReadonlyArray<readonly [string, string]>
  readonly checksum: StoredChecksum | undefined
  /** The parts it was made of. */
  readonly parts: ReadonlyArray<{ readonly size: number; readonly checksum: StoredChecksum | undefined }> | undefined
}

/** One version of a key; without an object it is a delete marker. */
export interface Version {
  readonly id: string
  readonly modified: number
  readonly object: StoredObject | undefined
}

/** A part that has been stored. */
export interface StoredPart {
  readonly bytes: Uint8Array
  readonly etag: string
  readonly modified: number
  readonly checksum: StoredChecksum | undefined
}

/** An upload that is neither complete nor aborted. */
export interface StoredUpload extends ObjectHeaders {
  readonly id: string
  readonly key: string
  readonly initiated: number
  readonly tags: ReadonlyArray<readonly [string, string]>
  readonly checksum: { readonly name: ChecksumName; readonly type: StoredChecksum["type"] } | undefined
  readonly parts: Map<number, StoredPart>
}

/** A bucket. */
export interface Bucket {
  readonly name: string
  readonly created: number
  versioning: "Enabled" | "Suspended" | undefined
  /** Newest version first. */
  readonly objects: Map<string, Array<Version>>
  readonly uploads: Map<string, StoredUpload>
  /** Answers to uploads that are complete, for profiles that give them again. */
  readonly completed: Map<string, Answer>
  readonly configurations: Map<string, Uint8Array>
}

/** All that is held, and the rules by which it is. */
export interface World {
  readonly buckets: Map<string, Bucket>
  readonly region: string
  readonly quirks: PeerQuirks
  readonly hashing: Hashing
  /** Least bytes of a part that is not the last. */
  readonly minPartSize: number
  /** Most bytes of one put, one part and one copy. */
  readonly maxSize: number
  /** The keys that exist for SSE-KMS; `undefined`: any. */
  readonly kmsKeys: ReadonlyArray<string> | undefined
  /** A name that no other thing has. */
  readonly nextId: (kind: string) => string
}

/** A request that has passed authentication. */
export interface Call {
  readonly operation: PeerOperation
  readonly bucket: string
  readonly key: string
  readonly query: Query
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array
  readonly trailers: ReadonlyMap<string, string>
  /** Milliseconds since 1970. */
  readonly now: number
}

/** An operation: what it answers, having changed what it changes. */
export type Handler = (call: Call, world: World) => Answer

/** A bucket without anything in it. */
export const makeBucket = (name: string, created: number): Bucket => ({
  name,
  created,
  versioning: undefined,
  objects: new Map(),
  uploads: new Map(),
  completed: new Map(),
  configurations: new Map(),
})

/** The bucket of that name, or `NoSuchBucket`. */
export const bucketNamed = (world: World, name: string): Bucket => {
  const bucket = world.buckets.get(name)
  if (bucket === undefined) {
    throw new S3Failure(404, "NoSuchBucket", "The specified bucket does not exist", { details: { BucketName: name } })
  }
  return bucket
}

/** What a key names now; a delete marker counts as nothing. */
export const currentObject = (bucket: Bucket, key: string): Version & { readonly object: StoredObject } | undefined => {
  const version = bucket.objects.get(key)?.[0]
  return version?.object === undefined ? undefined : { ...version, object: version.object }
}

/** `NoSuchKey`. */
export const noSuchKey = (key: string, headers: Readonly<Record<string, string>> = {}): S3Failure =>
  new S3Failure(404, "NoSuchKey", "The specified key does not exist.", { details: { Key: key }, headers })

/** The version to read: the one asked for, or the newest. Delete markers and missing ones fail as S3 says. */
export const readVersion = (
  bucket: Bucket,
  key: string,
  versionId: string | undefined,
): Version & { readonly object: StoredObject } => {
  const versions = bucket.objects.get(key) ?? []
  const version = versionId === undefined ? versions[0] : versions.find((one) => one.id === versionId)
  if (version === undefined) {
    if (versionId === undefined) throw noSuchKey(key)
    throw new S3Failure(404, "NoSuchVersion", "The specified version does not exist.", {
      details: { Key: key, VersionId: versionId },
    })
  }
  if (version.object === undefined) {
    const headers = { "x-amz-delete-marker": "true", "x-amz-version-id": version.id }
    if (versionId === undefined) throw noSuchKey(key, headers)
    throw new S3Failure(405, "MethodNotAllowed", "The specified method is not allowed against this resource.", {
      details: { Method: "GET", ResourceType: "DeleteMarker" },
      headers,
    })
  }
  return { ...version, object: version.object }
}

/** The id of a version made now: its own where versions are kept, `null` elsewhere. */
const versionIdFor = (bucket: Bucket, world: World): string =>
  bucket.versioning === "Enabled" ? world.nextId("version") : "null"

/** Puts a version on top. One without an id of its own replaces the last such. */
const addVersion = (bucket: Bucket, key: string, version: Version): Version => {
  const older = (bucket.objects.get(key) ?? []).filter((one) => version.id !== "null" || one.id !== "null")
  bucket.objects.set(key, [version, ...older])
  return version
}

/** Stores an object as the newest version of its key. */
export const storeObject = (bucket: Bucket, key: string, object: StoredObject, now: number, world: World): Version => {
  if (!world.quirks.nestedKeys) refuseNested(bucket, key)
  return addVersion(bucket, key, { id: versionIdFor(bucket, world), modified: now, object })
}

/** What MinIO answers when one key would have to be a folder of another. */
const refuseNested = (bucket: Bucket, key: string): void => {
  const live = [...bucket.objects.keys()].filter((other) => currentObject(bucket, other) !== undefined)
  if (live.some((other) => key.startsWith(`${other}/`))) {
    throw new S3Failure(
      400,
      "XMinioParentIsObject",
      "Object-prefix is already an object, please choose a different object-prefix name.",
    )
  }
  if (live.some((other) => other.startsWith(`${key}/`))) {
    throw new S3Failure(409, "XMinioObjectExistsAsDirectory", "Object name already exists as a directory.")
  }
}

/** What became of a key that was removed: the version that is gone, or the marker that now stands for it. */
export interface Removed {
  readonly versionId: string | undefined
  readonly deleteMarker: boolean
}

/** Removes a key, or one version of it. What is not there counts as removed. */
export const removeObject = (
  bucket: Bucket,
  key: string,
  versionId: string | undefined,
  now: number,
  world: World,
): Removed => {
  const versions = bucket.objects.get(key) ?? []
  if (versionId !== undefined) {
    const gone = versions.find((one) => one.id === versionId)
    const rest = versions.filter((one) => one !== gone)
    if (rest.length > 0) bucket.objects.set(key, rest)
    else bucket.objects.delete(key)
    return { versionId, deleteMarker: gone !== undefined && gone.object === undefined }
  }
  if (bucket.versioning === undefined) {
    bucket.objects.delete(key)
    return { versionId: undefined, deleteMarker: false }
  }
  const marker = addVersion(bucket, key, { id: versionIdFor(bucket, world), modified: now, object: undefined })
  return { versionId: marker.id, deleteMarker: true }
}

/** The header that names a version, where versions are kept. */
export const versionHeader = (bucket: Bucket, version: Version): Readonly<Record<string, string>> =>
  bucket.versioning === undefined ? {} : { "x-amz-version-id": version.id }

/** A whole number from the query, within bounds; `InvalidArgument` otherwise. */
export const numberParameter = (query: Query, name: string, fallback: number, most: number): number => {
  const text = parameter(query, name)
  if (text === undefined) return fallback
  if (!/^\d{1,9}$/.test(text)) {
    throw new S3Failure(400, "InvalidArgument", `Provided ${name} not an integer or within integer range`, {
      details: { ArgumentName: name, ArgumentValue: text },
    })
  }
  return Math.min(Number(text), most)
}

/** The time as lists write it. */
export const isoTime = (millis: number): string => new Date(millis).toISOString()

/** The time as headers write it: whole seconds. */
export const httpTime = (millis: number): string => new Date(millis).toUTCString()
