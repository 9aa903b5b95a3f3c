/**
 * The verbs on objects: save, load, stat, exists, list, remove, copy, move.
 *
 * An `ObjectStore` is a backend behind a policy. It checks what callers pass before anything is asked of the
 * backend, makes the write ids, and settles what a lost reply leaves open. Everything it needs to know about the
 * backend it reads from `capabilities`.
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
  CopyOptions as BackendCopyOptions,
  ListOptions as BackendListOptions,
  ListPage,
  ObjectEntry,
  ObjectInfo,
  RemoveResult,
  WriteCondition,
} from "./backend.ts"
import { type Reason, StoreError } from "./error.ts"
import { keyFlaw, metadataFlaw, prefixFlaw } from "./key.ts"
import { aborted, type Loaded, runLoad } from "./load.ts"
import { CurrentRetry, type PolicyOptions, type RetrySchedule, withPolicy } from "./policy.ts"
import { type Progress, runSave, settle } from "./save.ts"
import { sha256 } from "./streams/digest.ts"
import { PartPool } from "./streams/parts.ts"
import { type ByteReader, openSource, type Source } from "./streams/source.ts"

/** What every call takes. */
export interface CallOptions {
  /** Ends the call: it fails with `Aborted` once everything it had opened is closed. */
  readonly signal?: AbortSignal | undefined
  /** When transient failures of this call are tried again, instead of the layer's policy. */
  readonly retry?: RetrySchedule | "none" | undefined
}

/** Options of {@link ObjectStoreService.save}. */
export interface SaveOptions extends CallOptions, WriteCondition {
  /** Up to 2 KiB of strings stored with the object; names in lower case. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** Media type stored with the object. */
  readonly contentType?: string | undefined
  /** Bytes the source must have: fewer fail with `Truncated`, more with `InvalidInput`, and nothing is saved. */
  readonly expectedSize?: number | undefined
  /** SHA-256 the source must have, in hex; another fails with `Corrupt`, and nothing is saved. */
  readonly expectedSha256?: string | undefined
  /** Compute the SHA-256 and store it as `info.sha256`. Off by default: on raw bytes it halves the speed. */
  readonly digest?: "sha256" | undefined
  /** Called as bytes are stored. What it throws is ignored. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Bytes of a part. Default: what the backend recommends. A save needs `partSize × (concurrency + 1)` of memory. */
  readonly partSize?: number | undefined
  /** Parts in flight. Default: what the backend recommends. */
  readonly concurrency?: number | undefined
}

/** Options of {@link ObjectStoreService.load}. */
export interface LoadOptions extends CallOptions {
  /** First byte wanted. Default 0; beyond the end is `RangeNotSatisfiable`. */
  readonly offset?: number | undefined
  /** Bytes wanted; fewer come when the object ends before. Default: the rest. */
  readonly length?: number | undefined
  /** Only if the object's etag is this one; otherwise `PreconditionFailed`. */
  readonly ifMatch?: string | undefined
  /** Only if the object's etag is not this one; otherwise `NotModified`. */
  readonly ifNoneMatch?: string | undefined
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
}

/** Options of {@link ObjectStoreService.copy} and {@link ObjectStoreService.move}; the conditions are on the target. */
export interface CopyOptions extends CallOptions, WriteCondition {
  /** Only if the source's etag is this one; otherwise `PreconditionFailed`. */
  readonly sourceIfMatch?: string | undefined
}

/** A save that is written to. */
export interface SaveSink {
  /** Takes the bytes. `close` resolves once the object is there; `abort` leaves what was there before. */
  readonly writable: WritableStream<Uint8Array>
  /** The saved object's facts; rejects with the {@link StoreError} that ended the save. */
  readonly info: Promise<ObjectInfo>
}

/** The verbs. Failures are always {@link StoreError}s. */
export interface ObjectStoreService {
  /** The backend's name. */
  readonly backend: string
  /** Facts about the backend. */
  readonly capabilities: Capabilities
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
  /** Facts of an object. */
  readonly stat: (key: string, options?: CallOptions) => Effect.Effect<ObjectInfo, StoreError>
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

/** Options of every store, whatever its backend. */
export interface StoreOptions {
  /** Retries, concurrency, timeouts and the breaker. */
  readonly policy?: PolicyOptions | undefined
  /** How long a body may stay silent before it is asked for again from where it stopped. Default 30 s. */
  readonly idleTimeout?: Duration.Input | undefined
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
      durationFlaw("idleTimeout", idleTimeout)
    if (flaw !== undefined) return Effect.fail(new StoreError({ reason: "Config", detail: flaw, operation: "open" }))
    return Effect.succeed(objectStore(withPolicy(inner, policy), options))
  })

const objectStore = (backend: Backend, options: StoreOptions): ObjectStoreService => {
  const { capabilities } = backend
  const pool = new PartPool(poolBytes)
  const idleTimeout = Duration.toMillis(Duration.fromInputUnsafe(options.idleTimeout ?? "30 seconds"))

  /** Runs a verb: its checks first, then the work under the caller's signal and retry schedule, in one span. */
  const verb = <A>(
    operation: string,
    key: string | undefined,
    call: CallOptions | undefined,
    flaws: () => Flaw | undefined,
    work: () => Effect.Effect<A, StoreError>,
  ): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      const flaw = flaws()
      if (flaw !== undefined) {
        return Effect.fail(
          new StoreError({
            reason: flaw.reason,
            detail: flaw.detail,
            backend: backend.name,
            operation,
            key: typeof key === "string" ? key : undefined,
          }),
        )
      }
      const retried = call?.retry === undefined ? work() : Effect.provideService(work(), CurrentRetry, call.retry)
      return withSignal(retried, operation, key, call?.signal).pipe(
        // A caller knows the verb he used, not the backend call that failed below it.
        Effect.mapError((error) => error.operation === operation ? error : error.with({ operation })),
        Effect.withSpan(`holdfast.${operation}Object`, key === undefined ? undefined : { attributes: { key } }),
      )
    })

  const saveFlaw = (key: string, o: SaveOptions): Flaw | undefined =>
    invalidKey(key) ?? conditionFlaw(o, capabilities.conditional.create, capabilities.conditional.replace) ??
      invalid(headFlaw(o)) ?? invalid(saveNumbersFlaw(o, capabilities)) ??
      (needsDigest(o) && sha256() === undefined
        ? { reason: "Unsupported", detail: "this runtime has no SHA-256 that can be fed piece by piece" }
        : undefined)

  const saveReader = (key: string, reader: ByteReader, o: SaveOptions): Effect.Effect<ObjectInfo, StoreError> =>
    Effect.onExit(
      runSave(backend, pool, reader, {
        key,
        head: { contentType: o.contentType, metadata: o.metadata, writeId: newWriteId() },
        condition: { ifMatch: o.ifMatch, ifNoneMatch: o.ifNoneMatch },
        expectedSize: o.expectedSize,
        expectedSha256: o.expectedSha256?.toLowerCase(),
        hasher: needsDigest(o) ? sha256() : undefined,
        keepSha256: o.digest !== undefined,
        partSize: o.partSize,
        concurrency: o.concurrency,
        onProgress: o.onProgress,
      }),
      (exit) => exit._tag === "Success" ? Effect.void : Effect.promise(() => reader.cancel(exit.cause)),
    )

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

  const load: ObjectStoreService["load"] = (key, o = {}) =>
    verb("load", key, o, () => invalidKey(key) ?? invalid(rangeFlaw(o)), () =>
      runLoad(backend, {
        key,
        get: { offset: o.offset, length: o.length, ifMatch: o.ifMatch, ifNoneMatch: o.ifNoneMatch },
        idleTimeout,
        signal: o.signal,
        onProgress: o.onProgress,
        retry: o.retry ?? options.policy?.retry,
      }))

  const stat: ObjectStoreService["stat"] = (key, o) =>
    verb("stat", key, o, () => invalidKey(key), () => backend.stat(key))

  const listFlaw = (o: ListOptions): Flaw | undefined => {
    const detail = prefixFlaw(o.prefix ?? "")
    if (detail !== undefined) return { reason: "InvalidKey", detail }
    if (o.delimiter === undefined || o.delimiter === "/") return undefined
    return { reason: "InvalidInput", detail: `the delimiter is ${JSON.stringify(o.delimiter)}; only "/" is possible` }
  }

  const pages: ObjectStoreService["pages"] = (o = {}) =>
    Stream.paginate<string | undefined, ListPage, StoreError>(
      undefined,
      (cursor) =>
        verb("list", o.prefix, o, () => listFlaw(o), () => {
          const asked: BackendListOptions = { prefix: o.prefix, delimiter: o.delimiter, cursor }
          return Effect.flatMap(backend.list(asked), (page) => {
            if (page.cursor !== undefined && page.cursor === cursor) {
              const detail = "the store gave the same cursor twice, so the list would never end"
              return Effect.fail(
                new StoreError({
                  reason: "Protocol",
                  detail,
                  operation: "list",
                  backend: backend.name,
                  ambiguous: false,
                }),
              )
            }
            return Effect.succeed([[page], Option.fromNullishOr(page.cursor)] as const)
          })
        }),
    )

  const remove: ObjectStoreService["remove"] = (key, o = {}) =>
    verb(
      "remove",
      key,
      o,
      () => invalidKey(key) ?? conditionFlaw({ ifMatch: o.ifMatch }, true, capabilities.conditional.remove),
      () =>
        Effect.mapError(backend.remove(key, { ifMatch: o.ifMatch }), (error) =>
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
      return verb("remove", undefined, o, flaws, () => {
        const batches: Array<Array<string>> = []
        for (let i = 0; i < all.length; i += removeBatch) batches.push(all.slice(i, i + removeBatch))
        return Effect.map(Effect.forEach(batches, (batch) => backend.removeMany(batch)), (results) => results.flat())
      })
    })

  const twoKeysFlaw = (from: string, to: string, o: CopyOptions): Flaw | undefined =>
    invalidKey(from) ?? invalidKey(to) ??
      conditionFlaw(o, capabilities.conditional.copy, capabilities.conditional.copy) ??
      weakFlaw("sourceIfMatch", o.sourceIfMatch) ??
      (from === to ? { reason: "InvalidInput", detail: "the source and the target are the same key" } : undefined)

  /** A copy through this program, for backends that cannot do it themselves. */
  const copyThrough = (from: string, to: string, o: CopyOptions): Effect.Effect<ObjectInfo, StoreError> =>
    Effect.flatMap(load(from, { ifMatch: o.sourceIfMatch }), (loaded) =>
      save(to, loaded.body, {
        ifMatch: o.ifMatch,
        ifNoneMatch: o.ifNoneMatch,
        metadata: loaded.info.metadata,
        contentType: loaded.info.contentType,
        expectedSize: loaded.length,
        expectedSha256: loaded.info.sha256,
        digest: loaded.info.sha256 === undefined ? undefined : "sha256",
      }))

  /** A copy or move that the backend does itself, settled by its write id when the reply is lost. */
  const within = (
    call: (from: string, to: string, o: BackendCopyOptions) => Effect.Effect<ObjectInfo, StoreError>,
    from: string,
    to: string,
    o: CopyOptions,
  ): Effect.Effect<ObjectInfo, StoreError> => {
    const writeId = newWriteId()
    const { ifMatch, ifNoneMatch, sourceIfMatch } = o
    return Effect.catch(
      call(from, to, { ifMatch, ifNoneMatch, sourceIfMatch, writeId }),
      (error) => settle(backend, error, { key: to, writeId, ifMatch, ifNoneMatch }),
    )
  }

  const copy: ObjectStoreService["copy"] = (from, to, o = {}) =>
    verb(
      "copy",
      to,
      o,
      () => twoKeysFlaw(from, to, o),
      () => backend.copy !== undefined ? within(backend.copy, from, to, o) : copyThrough(from, to, o),
    )

  const move: ObjectStoreService["move"] = (from, to, o = {}) =>
    verb("move", to, o, () => twoKeysFlaw(from, to, o), () => {
      if (backend.move !== undefined) return within(backend.move, from, to, o)
      return Effect.gen(function* () {
        const source = yield* stat(from)
        const sourceIfMatch = o.sourceIfMatch ?? (source.etag.startsWith("W/") ? undefined : source.etag)
        const info = yield* copy(from, to, { ...o, sourceIfMatch })
        yield* remove(from, { ifMatch: capabilities.conditional.remove ? sourceIfMatch : undefined })
        return info
      })
    })

  return {
    backend: backend.name,
    capabilities,
    save,
    sink,
    load,
    stream: (key, o) =>
      Stream.unwrap(Effect.map(load(key, o), (loaded) =>
        Stream.fromReadableStream({
          evaluate: () => loaded.body,
          onError: (cause) => cause as StoreError,
        }))),
    stat,
    exists: (key, o) =>
      Effect.catch(
        Effect.as(stat(key, o), true),
        (error) => error.reason === "NotFound" ? Effect.succeed(false) : Effect.fail(error),
      ),
    pages,
    list: (o) => Stream.flatMap(pages(o), (page) => Stream.fromIterable(page.objects)),
    remove,
    removeMany,
    copy,
    move,
  }
}

/** A call that cannot be made, and why. */
interface Flaw {
  readonly reason: Reason
  readonly detail: string
}

const invalid = (detail: string | undefined): Flaw | undefined =>
  detail === undefined ? undefined : { reason: "InvalidInput", detail }

const invalidKey = (key: string): Flaw | undefined => {
  const detail = keyFlaw(key)
  return detail === undefined ? undefined : { reason: "InvalidKey", detail }
}

const weakFlaw = (name: string, etag: string | undefined): Flaw | undefined => {
  if (etag === undefined) return undefined
  if (typeof etag !== "string" || etag === "") {
    return { reason: "InvalidInput", detail: `${name} is empty; give an etag` }
  }
  if (!etag.startsWith("W/")) return undefined
  return {
    reason: "InvalidInput",
    detail: `${name} is the weak etag ${JSON.stringify(etag)}, which cannot tell one write from another; save the ` +
      "object again through Holdfast to give it a strong one",
  }
}

const conditionFlaw = (o: WriteCondition, create: boolean, replace: boolean): Flaw | undefined => {
  if (o.ifMatch !== undefined && o.ifNoneMatch !== undefined) {
    return { reason: "InvalidInput", detail: "ifMatch and ifNoneMatch exclude each other; give one" }
  }
  if (o.ifNoneMatch !== undefined && o.ifNoneMatch !== "*") {
    const detail = `ifNoneMatch of a write is ${JSON.stringify(o.ifNoneMatch)}; only "*" is possible`
    return { reason: "InvalidInput", detail }
  }
  const unsupported = (name: string): Flaw => ({
    reason: "Unsupported",
    detail: `this store cannot check ${name} together with this write`,
  })
  if (o.ifNoneMatch !== undefined && !create) return unsupported("ifNoneMatch")
  if (o.ifMatch !== undefined && !replace) return unsupported("ifMatch")
  return weakFlaw("ifMatch", o.ifMatch)
}

const optionFlaw = (name: string, value: number | undefined, least: number, most: number): string | undefined =>
  value === undefined || (Number.isInteger(value) && value >= least && value <= most)
    ? undefined
    : `${name} is ${value}; give a whole number from ${least} to ${most}`

const durationFlaw = (name: string, value: Duration.Input | undefined): string | undefined => {
  if (value === undefined) return undefined
  const millis = Option.map(Duration.fromInput(value), Duration.toMillis)
  return Option.isSome(millis) && millis.value > 0
    ? undefined
    : `${name} is ${
      JSON.stringify(value)
    }; give a duration above zero, such as "30 seconds" or a number of milliseconds`
}

const headFlaw = (o: SaveOptions): string | undefined => {
  if (o.contentType !== undefined && !/^[\x21-\x7e]+\/[\x20-\x7e]+$/.test(o.contentType)) {
    return `contentType is ${JSON.stringify(o.contentType)}; give a media type such as "application/json"`
  }
  return o.metadata === undefined ? undefined : metadataFlaw(o.metadata)
}

const needsDigest = (o: SaveOptions): boolean => o.digest !== undefined || o.expectedSha256 !== undefined

const saveNumbersFlaw = (o: SaveOptions, capabilities: Capabilities): string | undefined => {
  const rules = capabilities.parts
  if (o.digest !== undefined && o.digest !== "sha256") {
    return `digest is ${JSON.stringify(o.digest)}; only "sha256" is possible`
  }
  if (o.expectedSha256 !== undefined && !/^[0-9a-f]{64}$/i.test(o.expectedSha256)) {
    return "expectedSha256 is not a SHA-256; give 64 hex digits"
  }
  return optionFlaw("expectedSize", o.expectedSize, 0, Number.MAX_SAFE_INTEGER) ??
    optionFlaw("concurrency", o.concurrency, 1, 1000) ??
    optionFlaw("partSize", o.partSize, rules?.minSize ?? 1, rules?.maxSize ?? capabilities.maxPut)
}

const rangeFlaw = (o: LoadOptions): string | undefined =>
  optionFlaw("offset", o.offset, 0, Number.MAX_SAFE_INTEGER) ??
    optionFlaw("length", o.length, 0, Number.MAX_SAFE_INTEGER)

/** Fails an effect when the caller's signal is aborted; interrupts it first and waits until it has cleaned up. */
const withSignal = <A>(
  effect: Effect.Effect<A, StoreError>,
  operation: string,
  key: string | undefined,
  signal: AbortSignal | undefined,
): Effect.Effect<A, StoreError> => {
  if (signal === undefined) return effect
  const onAbort = Effect.callback<never, StoreError>((resume) => {
    const abort = (): void => resume(Effect.fail(aborted(operation, key, signal)))
    if (signal.aborted) return abort()
    signal.addEventListener("abort", abort, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", abort))
  })
  return signal.aborted ? Effect.fail(aborted(operation, key, signal)) : Effect.raceFirst(effect, onAbort)
}

/** Turns pushed chunks into pulled ones: a write resolves when the save has taken all of it. */
const makeSink = (save: (reader: ByteReader) => Promise<ObjectInfo>): SaveSink => {
  let chunk: Uint8Array | undefined
  let taken: PromiseWithResolvers<void> | undefined
  let wanted: PromiseWithResolvers<void> | undefined
  let ended = false
  let failure: { readonly cause: unknown } | undefined

  const wake = (): void => {
    wanted?.resolve()
    wanted = undefined
  }
  const reader: ByteReader = {
    size: undefined,
    read: async () => {
      taken?.resolve()
      taken = undefined
      while (true) {
        if (failure !== undefined) throw failure.cause
        if (chunk !== undefined) {
          const next = chunk
          chunk = undefined
          return next
        }
        if (ended) return undefined
        wanted = Promise.withResolvers<void>()
        await wanted.promise
      }
    },
    cancel: () => Promise.resolve(),
  }
  let info: Promise<ObjectInfo> | undefined
  const { promise, resolve, reject } = Promise.withResolvers<ObjectInfo>()
  // Nobody has to look at `info`; `close` reports the same failure.
  promise.catch(() => undefined)
  const begin = (): Promise<ObjectInfo> => {
    if (info === undefined) {
      info = save(reader)
      info.then(resolve, reject)
    }
    return info
  }

  const writable = new WritableStream<Uint8Array>({
    start(controller) {
      promise.catch((error) => controller.error(error))
    },
    async write(bytes) {
      const saving = begin()
      if (!(bytes instanceof Uint8Array)) {
        failure = {
          cause: new StoreError({
            reason: "InvalidInput",
            operation: "save",
            detail: `a chunk of type ${typeof bytes} was written where bytes belong`,
          }),
        }
        wake()
        await saving
        return
      }
      if (bytes.length === 0) return
      chunk = bytes
      taken = Promise.withResolvers<void>()
      const done = taken.promise
      wake()
      // The save settles early only when it fails: then so does this write.
      await Promise.race([done, saving])
    },
    async close() {
      const saving = begin()
      ended = true
      wake()
      await saving
    },
    async abort(reason) {
      failure = { cause: reason ?? new Error("the writer was aborted") }
      if (info === undefined) {
        reject(
          new StoreError({
            reason: "Aborted",
            ambiguous: false,
            operation: "save",
            detail: "the writer was aborted before the first byte",
            cause: reason,
          }),
        )
        return
      }
      wake()
      await info.catch(() => undefined)
    },
  })
  return { writable, info: promise }
}
