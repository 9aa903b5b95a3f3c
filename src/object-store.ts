/**
 * The verbs on objects: save, load, stat, exists, verify, list, remove, copy, move, and what stores with versions,
 * unfinished uploads or presigned requests add.
 *
 * An `ObjectStore` is a backend behind a policy. It checks what callers pass before anything is asked of the
 * backend, makes the write ids, and settles what a lost reply leaves open. Everything it needs to know about the
 * backend it reads from `capabilities`, and from the optional methods that are there.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type {
  Backend,
  Capabilities,
  ListPage,
  ObjectEntry,
  ObjectInfo,
  Presigned,
  RemoveResult,
  Upload,
  UploadEntry,
  VersionEntry,
} from "./backend.ts"
import { type Copying, copyObject, moveObject } from "./copy.ts"
import { loadTail } from "./decode.ts"
import { customerKeyOf, encodingOf, encryptionOf, withLength } from "./encoding.ts"
import { StoreError } from "./error.ts"
import {
  compressionFlaw,
  conditionFlaw,
  durationFlaw,
  encryptionFlaw,
  type Flaw,
  headFlaw,
  invalid,
  invalidKey,
  needsDigest,
  optionFlaw,
  placementFlaw,
  rangeFlaw,
  readFlaw,
  saveNumbersFlaw,
  storageClassFlaw,
  unsupported,
  weakFlaw,
} from "./flaw.ts"
import { listings } from "./listings.ts"
import { type Loaded, runLoad } from "./load.ts"
import type {
  CallOptions,
  CopyOptions,
  ListOptions,
  LoadOptions,
  PresignOptions,
  RemoveOptions,
  SaveOptions,
  StatOptions,
  StoreOptions,
  Verified,
  VerifyOptions,
} from "./options.ts"
import { withPolicy } from "./policy.ts"
import { runSave } from "./save.ts"
import { makeSink, type SaveSink } from "./sink.ts"
import { sha256 } from "./streams/digest.ts"
import { PartPool } from "./streams/parts.ts"
import { readerOf } from "./streams/reader.ts"
import { type ByteReader, openSource, type Source } from "./streams/source.ts"
import { TailCache } from "./tails.ts"
import { asStored } from "./transfer.ts"
import { verbOf } from "./verb.ts"
import { runVerify } from "./verify.ts"

/** The verbs. Failures are always {@link StoreError}s. */
export interface ObjectStoreService {
  /** The backend's name. */
  readonly backend: string
  /** Facts about the backend. */
  readonly capabilities: Capabilities
  /**
   * The backend behind this store's policy: its bounded calls, retried, limited and measured, for what passes calls on
   * one by one, such as the routes of `@holdfast/holdfast/http`. Keys and options are not checked here.
   */
  readonly calls: Backend
  /**
   * Saves what the source delivers, whole or not at all. Replaces an object of that key, unless a condition says
   * otherwise. The unknown length of a stream is the normal case.
   */
  readonly save: (key: string, source: Source, options?: SaveOptions) => Effect.Effect<ObjectInfo, StoreError>
  /** A save to pipe into. */
  readonly sink: (key: string, options?: SaveOptions) => Effect.Effect<SaveSink, StoreError>
  /** Begins a load: facts now, bytes as they are read. */
  readonly load: (key: string, options?: LoadOptions) => Effect.Effect<Loaded, StoreError>
  /** The bytes of an object as an Effect stream, one element a chunk. */
  readonly stream: (key: string, options?: LoadOptions) => Stream.Stream<Uint8Array, StoreError>
  /** Facts of an object. Where only its last bytes tell how long it is before compression, they are read. */
  readonly stat: (key: string, options?: StatOptions) => Effect.Effect<ObjectInfo, StoreError>
  /**
   * Reads every stored byte and holds it against what the store knows. Fails with `Corrupt` or `Truncated` and names
   * the damaged frame and its offset.
   */
  readonly verify: (key: string, options?: VerifyOptions) => Effect.Effect<Verified, StoreError>
  /** Whether there is such an object; `false` only when the store says so, never on another failure. */
  readonly exists: (key: string, options?: CallOptions) => Effect.Effect<boolean, StoreError>
  /** All objects, in the order of their keys' UTF-8 bytes; fetched page by page as they are taken. */
  readonly list: (options?: ListOptions) => Stream.Stream<ObjectEntry, StoreError>
  /** The same page by page, with the folded prefixes of a `delimiter`. */
  readonly pages: (options?: ListOptions) => Stream.Stream<ListPage, StoreError>
  /** Removes an object; one that is missing counts as removed. */
  readonly remove: (key: string, options?: RemoveOptions) => Effect.Effect<void, StoreError>
  /** Removes many objects, in batches; one result a key, in their order. */
  readonly removeMany: (
    keys: Iterable<string>,
    options?: CallOptions,
  ) => Effect.Effect<ReadonlyArray<RemoveResult>, StoreError>
  /** Duplicates an object with its metadata, inside the backend where it can. */
  readonly copy: (from: string, to: string, options?: CopyOptions) => Effect.Effect<ObjectInfo, StoreError>
  /** Renames an object: atomically where the backend can, else as a copy and a removal of exactly what was copied. */
  readonly move: (from: string, to: string, options?: CopyOptions) => Effect.Effect<ObjectInfo, StoreError>
  /** All versions of the objects with a prefix, the newest of each first; `Unsupported` where none are kept. */
  readonly versions: (options?: Omit<ListOptions, "delimiter">) => Stream.Stream<VersionEntry, StoreError>
  /** Makes an old version the current one again, as a new version with the same bytes. */
  readonly restore: (
    key: string,
    versionId: string,
    options?: Omit<CopyOptions, "sourceVersionId">,
  ) => Effect.Effect<ObjectInfo, StoreError>
  /** Uploads that were begun and neither completed nor aborted, such as a killed process leaves. */
  readonly uploads: (options?: Omit<ListOptions, "delimiter">) => Stream.Stream<UploadEntry, StoreError>
  /** Frees what such an upload holds. Whoever still writes to it fails. */
  readonly abortUpload: (upload: Upload, options?: CallOptions) => Effect.Effect<void, StoreError>
  /** A request that others can make without credentials until it expires. Treat it like a password. */
  readonly presign: (
    method: "GET" | "PUT" | "HEAD" | "DELETE",
    key: string,
    options?: PresignOptions,
  ) => Effect.Effect<Presigned, StoreError>
}

const ObjectStoreBase: Context.ServiceClass<ObjectStore, "@holdfast/holdfast/ObjectStore", ObjectStoreService> = Context
  .Service<ObjectStore, ObjectStoreService>()("@holdfast/holdfast/ObjectStore")

/**
 * The service that programs ask for. A backend's `layer` provides it.
 *
 * @example Save and load in Effect
 * ```ts
 * import { ObjectStore } from "@holdfast/holdfast"
 * import * as Memory from "@holdfast/holdfast/memory"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const store = yield* ObjectStore
 *   yield* store.save("greeting", "hello")
 *   const loaded = yield* store.load("greeting")
 *   return yield* Effect.promise(() => loaded.text())
 * })
 * console.assert(await Effect.runPromise(Effect.provide(program, Memory.layer())) === "hello")
 * ```
 */
export class ObjectStore extends ObjectStoreBase {
  /** A layer from a backend that lives as long as the layer does. */
  static layer<E, R>(
    backend: Effect.Effect<Backend, E, R>,
    options?: StoreOptions,
  ): Layer.Layer<ObjectStore, E | StoreError, Exclude<R, Scope.Scope>> {
    return Layer.effect(ObjectStore, Effect.flatMap(backend, (made) => makeObjectStore(made, options)))
  }
}

/** Idle part buffers that a store keeps for its next save. */
const poolBytes = 64 * 2 ** 20

/** Keys in one `removeMany` call. Source: Amazon S3, DeleteObjects. */
const removeBatch = 1000

const newWriteId = (): string => crypto.randomUUID()

/** Makes the verbs out of a backend. Fails with `Config` when an option is out of range. */
export const makeObjectStore = (
  inner: Backend,
  options: StoreOptions = {},
): Effect.Effect<ObjectStoreService, StoreError> =>
  Effect.suspend(() => {
    const { policy, idleTimeout } = options
    const breaker = policy?.breaker === "none" ? undefined : policy?.breaker
    const flaw = optionFlaw("policy.concurrency", policy?.concurrency, 1, 100_000) ??
      optionFlaw("policy.breaker.failures", breaker?.failures, 1, 1_000_000) ??
      durationFlaw("policy.attemptTimeout", policy?.attemptTimeout) ??
      durationFlaw("policy.breaker.cooldown", breaker?.cooldown) ??
      durationFlaw("idleTimeout", idleTimeout) ?? compressionFlaw(options, options)?.detail ??
      encryptionFlaw(options.encryption, inner.capabilities)?.detail
    if (flaw !== undefined) return Effect.fail(new StoreError({ reason: "Config", detail: flaw, operation: "open" }))
    return Effect.succeed(objectStore(withPolicy(inner, policy), options))
  })

const objectStore = (backend: Backend, options: StoreOptions): ObjectStoreService => {
  const { capabilities } = backend
  const pool = new PartPool(poolBytes)
  const tails = new TailCache()
  const idleTimeout = Duration.toMillis(Duration.fromInputUnsafe(options.idleTimeout ?? "30 seconds"))

  const verb = verbOf(backend.name)

  const saveFlaw = (key: string, o: SaveOptions): Flaw | undefined =>
    invalidKey(key) ?? conditionFlaw(o, capabilities.conditional.create, capabilities.conditional.replace) ??
      invalid(headFlaw(o)) ?? invalid(saveNumbersFlaw(o, capabilities)) ?? compressionFlaw(o, options) ??
      encryptionFlaw(o.encryption, capabilities) ?? placementFlaw(o, capabilities) ??
      (needsDigest(o) && sha256() === undefined
        ? { reason: "Unsupported", detail: "this runtime has no SHA-256 that can be fed piece by piece" }
        : undefined)

  const saveReader = (key: string, reader: ByteReader, o: SaveOptions): Effect.Effect<ObjectInfo, StoreError> => {
    const encode = o.stored === undefined ? encodingOf(options, o) : undefined
    const { contentType, metadata, storageClass, tags, stored } = o
    const codec = stored?.codec ?? encode?.codec
    const encryption = encryptionOf(o.encryption ?? options.encryption)
    const head = { contentType, metadata, writeId: newWriteId(), codec, encryption, storageClass, tags }
    return Effect.onExit(
      Effect.map(
        runSave(backend, pool, reader, {
          key,
          head,
          condition: { ifMatch: o.ifMatch, ifNoneMatch: o.ifNoneMatch },
          expectedSize: o.expectedSize,
          expectedSha256: o.expectedSha256?.toLowerCase(),
          hasher: needsDigest(o) && encode === undefined ? sha256() : undefined,
          keepSha256: o.digest !== undefined,
          encode,
          facts: stored === undefined ? undefined : { sha256: stored.sha256, length: stored.length },
          partSize: o.partSize,
          concurrency: o.concurrency,
          onProgress: o.onProgress,
        }),
        withLength,
      ),
      (exit) => exit._tag === "Success" ? Effect.void : Effect.promise(() => reader.cancel(exit.cause)),
    )
  }

  const save: ObjectStoreService["save"] = (key, source, o = {}) =>
    verb("save", key, o, () => saveFlaw(key, o), () => {
      let reader: ByteReader
      try {
        reader = openSource(source)
      } catch (cause) {
        const detail = (cause as Error).message
        return Effect.fail(new StoreError({ reason: "InvalidInput", detail, operation: "save", key }))
      }
      return saveReader(key, reader, o)
    })

  const sink: ObjectStoreService["sink"] = (key, o = {}) =>
    verb(
      "save",
      key,
      { ...o, signal: undefined },
      () => saveFlaw(key, o),
      () =>
        Effect.map(Effect.context<never>(), (context) =>
          makeSink((reader) => {
            const saving = verb("save", key, o, () => undefined, () => saveReader(key, reader, o))
            return Effect.runPromiseWith(context)(saving)
          })),
    )

  /** Which object is read, as the backend wants to know it. */
  const target = (o: StatOptions | undefined) => ({
    versionId: o?.versionId,
    customerKey: customerKeyOf(o?.customerKey, options.encryption),
  })

  const begin = (key: string, o: LoadOptions, damaged?: boolean): Effect.Effect<Loaded, StoreError> => {
    const { versionId, customerKey } = target(o)
    const { offset, length, ifMatch, ifNoneMatch } = o
    return runLoad(backend, {
      key,
      get: { offset, length, ifMatch, ifNoneMatch, versionId, customerKey, damaged },
      versionId,
      customerKey,
      damaged,
      decode: o.decode,
      maxLength: o.maxLength,
      tails,
      concurrency: o.concurrency,
      idleTimeout,
      signal: o.signal,
      onProgress: o.onProgress,
      retry: o.retry ?? options.policy?.retry,
    })
  }

  const load: ObjectStoreService["load"] = (key, o = {}) =>
    verb(
      "load",
      key,
      o,
      () => invalidKey(key) ?? invalid(rangeFlaw(o)) ?? readFlaw(o, backend),
      () => begin(key, o),
    )

  const stat: ObjectStoreService["stat"] = (key, o) =>
    verb(
      "stat",
      key,
      o,
      () => invalidKey(key) ?? readFlaw(o ?? {}, backend),
      () =>
        Effect.flatMap(backend.stat(key, target(o)), (info) => {
          if (info.codec === undefined || info.length !== undefined) return Effect.succeed(withLength(info))
          const whole = Effect.map(
            loadTail(backend, info, target(o)),
            (tail) => ({ ...info, length: tail?.length, sha256: info.sha256 ?? tail?.sha256 }),
          )
          // What is wrong with the bytes is for a load or verify to say; the facts are sound.
          return Effect.catch(whole, () => Effect.succeed(info))
        }),
    )

  const verify: ObjectStoreService["verify"] = (key, o = {}) =>
    verb("verify", key, o, () => invalidKey(key) ?? readFlaw(o, backend), () =>
      runVerify({
        deep: o.deep ?? true,
        stat: (damaged) => backend.stat(key, { ...target(o), damaged }),
        tail: (info) => loadTail(backend, info, target(o)),
        load: (info, damaged) =>
          begin(key, { ...o, ifMatch: info.etag.startsWith("W/") ? undefined : info.etag }, damaged),
      }))

  const remove: ObjectStoreService["remove"] = (key, o = {}) =>
    verb(
      "remove",
      key,
      o,
      () =>
        invalidKey(key) ?? conditionFlaw({ ifMatch: o.ifMatch }, true, capabilities.conditional.remove) ??
          readFlaw(o, backend),
      () =>
        Effect.mapError(backend.remove(key, { ifMatch: o.ifMatch, versionId: o.versionId }), (error) =>
          error.reason === "PreconditionFailed" && error.ambiguous
            ? error.with({
              reason: "CommitUnknown",
              detail: "a reply was lost, and the object is another one now, or gone",
              hint: undefined,
            })
            : error),
    )

  const removeMany: ObjectStoreService["removeMany"] = (keys, o) =>
    Effect.suspend(() => {
      const all = [...keys]
      const flaws = (): Flaw | undefined => {
        for (const key of all) {
          const flaw = invalidKey(key)
          if (flaw !== undefined) return { ...flaw, detail: `${JSON.stringify(key)}: ${flaw.detail}` }
        }
        return undefined
      }
      return verb("remove", undefined, o, flaws, () =>
        Effect.gen(function* () {
          const results: Array<RemoveResult> = []
          for (let i = 0; i < all.length; i += removeBatch) {
            results.push(...yield* backend.removeMany(all.slice(i, i + removeBatch)))
          }
          return results
        }))
    })

  const copyFlaw = (from: string, to: string, o: CopyOptions): Flaw | undefined =>
    invalidKey(from) ?? invalidKey(to) ??
      conditionFlaw(o, capabilities.conditional.copy, capabilities.conditional.copy) ??
      weakFlaw("sourceIfMatch", o.sourceIfMatch) ?? encryptionFlaw(o.encryption, capabilities) ??
      storageClassFlaw(o.storageClass, capabilities) ??
      readFlaw({ versionId: o.sourceVersionId, customerKey: o.sourceCustomerKey }, backend)

  /** A copy to itself must change something; a move to itself would end with the removal of the target. */
  const sameKeyFlaw = (from: string, to: string, changes: boolean): Flaw | undefined =>
    from === to && !changes
      ? { reason: "InvalidInput", detail: "the source and the target are the same key" }
      : undefined

  const copying = (from: string, to: string, o: CopyOptions): Copying => ({
    backend,
    from,
    to,
    writeId: newWriteId(),
    ifMatch: o.ifMatch,
    ifNoneMatch: o.ifNoneMatch,
    sourceIfMatch: o.sourceIfMatch,
    sourceVersionId: o.sourceVersionId,
    sourceCustomerKey: customerKeyOf(o.sourceCustomerKey, options.encryption),
    encryption: encryptionOf(o.encryption ?? options.encryption),
    storageClass: o.storageClass,
    through: (source) =>
      Effect.flatMap(load(from, { ...source, decode: "none" }), (loaded) => {
        const { storageClass = loaded.info.storageClass } = o
        return save(to, loaded.body, {
          ...asStored(loaded),
          ifMatch: o.ifMatch,
          ifNoneMatch: o.ifNoneMatch,
          encryption: o.encryption,
          storageClass: capabilities.storageClasses === true ? storageClass : undefined,
        })
      }),
    remove: (info) =>
      remove(from, { ifMatch: capabilities.conditional.remove && !info.etag.startsWith("W/") ? info.etag : undefined }),
  })

  const copy: ObjectStoreService["copy"] = (from, to, o = {}) => {
    const changes = (o.sourceVersionId ?? o.encryption ?? o.storageClass) !== undefined
    return verb(
      "copy",
      to,
      o,
      () => copyFlaw(from, to, o) ?? sameKeyFlaw(from, to, changes),
      () => Effect.map(copyObject(copying(from, to, o)), withLength),
    )
  }

  const move: ObjectStoreService["move"] = (from, to, o = {}) =>
    verb(
      "move",
      to,
      o,
      () => copyFlaw(from, to, o) ?? sameKeyFlaw(from, to, false),
      () => Effect.map(moveObject(copying(from, to, o)), withLength),
    )

  const presign: ObjectStoreService["presign"] = (method, key, o = {}) =>
    verb(
      "presign",
      key,
      undefined,
      () =>
        invalidKey(key) ?? invalid(durationFlaw("expires", o.expires)) ?? readFlaw(o, backend) ??
          (backend.presign === undefined ? unsupported("this store cannot presign requests") : undefined),
      () => {
        const expires = Math.floor(Duration.toMillis(Duration.fromInputUnsafe(o.expires ?? "15 minutes")) / 1000)
        const flaw = optionFlaw("expires, in seconds,", expires, 1, 604_800)
        return flaw === undefined
          ? backend.presign!(method, key, { ...o, expires })
          : Effect.fail(new StoreError({ reason: "InvalidInput", detail: flaw, operation: "presign", key }))
      },
    )

  return {
    backend: backend.name,
    capabilities,
    calls: backend,
    save,
    sink,
    load,
    stream: (key, o) =>
      Stream.unwrap(Effect.gen(function* () {
        const reader = readerOf((yield* load(key, o)).body)
        yield* Effect.addFinalizer(() => Effect.promise(() => reader.cancel().catch(() => undefined)))
        const read = Effect.tryPromise({ try: reader.read, catch: (cause) => cause as StoreError })
        return Stream.paginate(undefined, () =>
          Effect.map(read, (chunk) =>
            chunk === undefined ? [[], Option.none()] as const : [[chunk], Option.some(undefined)] as const))
      })),
    stat,
    verify,
    exists: (key, o) =>
      Effect.catch(
        verb("exists", key, o, () => invalidKey(key), () => Effect.as(backend.stat(key, target(undefined)), true)),
        (error) => error.reason === "NotFound" ? Effect.succeed(false) : Effect.fail(error),
      ),
    ...listings(backend, verb),
    remove,
    removeMany,
    copy,
    move,
    restore: (key, versionId, o) => copy(key, key, { ...o, sourceVersionId: versionId }),
    abortUpload: (upload, o) =>
      verb("abortUpload", upload.key, o, () => invalidKey(upload.key), () => backend.abortUpload(upload)),
    presign,
  }
}
