/**
 * Holdfast: streaming storage for agent state and large snapshots.
 *
 * What is saved is there whole or not at all; what is loaded is what was saved, or a typed error says why not.
 * {@link open} is the Promise face, {@link ObjectStore} the Effect service. Backends are entries of their own:
 * `@holdfast/holdfast/memory`, `@holdfast/holdfast/disk`.
 *
 * @example Save a stream of unknown length, load it back
 * ```ts
 * import { open } from "@holdfast/holdfast"
 *
 * await using store = await open("mem:")
 * const source = new Blob(["a snapshot of any size"]).stream()
 * await store.save("snapshots/1", source, { metadata: { agent: "researcher" } })
 * const loaded = await store.load("snapshots/1")
 * console.assert(await loaded.text() === "a snapshot of any size")
 * ```
 *
 * @module
 */
export type {
  Backend,
  Capabilities,
  CustomerKey,
  Encryption,
  ListPage,
  ObjectEntry,
  ObjectInfo,
  PartRules,
  Presigned,
  RemoveResult,
  Upload,
  UploadEntry,
  VersionEntry,
  WriteCondition,
} from "./src/backend.ts"
export { allReasons, type Reason, StoreError, type StoreErrorArgs } from "./src/error.ts"
export { keyFlaw, maxKeyBytes, maxMetadataBytes, metadataFlaw, prefixFlaw } from "./src/key.ts"
export { Loaded } from "./src/load.ts"
export { makeObjectStore, ObjectStore, type ObjectStoreService } from "./src/object-store.ts"
export type {
  CallOptions,
  CompressionOptions,
  CopyOptions,
  EncryptionInput,
  ListOptions,
  LoadOptions,
  PresignOptions,
  ReadOptions,
  RemoveOptions,
  SaveOptions,
  StatOptions,
  StoreOptions,
  Verified,
  VerifyOptions,
} from "./src/options.ts"
export { open, type OpenOptions } from "./src/open.ts"
export { type Listing, openBackend, Store } from "./src/store.ts"
export { storeVariable } from "./src/store-url.ts"
export { CurrentRetry, defaultRetry, type PolicyOptions, type RetrySchedule, withPolicy } from "./src/policy.ts"
export type { Progress } from "./src/save.ts"
export type { SaveSink } from "./src/sink.ts"
export { type Codec, defaultCodec } from "./src/streams/codec.ts"
export type { Source } from "./src/streams/source.ts"
