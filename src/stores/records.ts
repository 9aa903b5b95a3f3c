/**
 * Records: small JSON objects at known keys, the ground that all stores of agent state stand on.
 *
 * A record is stored as the bytes its format writes, uncompressed, so that any tool and the original systems read it.
 * What reads records never trusts what lies under a key: bytes that are no such record are one `Corrupt` error naming
 * that object, and in a listing they stand in nobody's way. What replaces a record does so by compare-and-swap on the
 * etag it has read, so no writer loses another's work without knowing.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { ObjectEntry, ObjectInfo, WriteCondition } from "../backend.ts"
import { StoreError } from "../error.ts"
import { keyFlaw } from "../key.ts"
import type { ObjectStoreService } from "../object-store.ts"
import type { SaveOptions } from "../options.ts"

/** Most bytes of one record, 64 MiB: records are held in memory whole, and larger things belong into snapshots. */
export const maxRecordBytes: number = 64 * 2 ** 20

/** Bytes of records that one listing reads at a time. */
const readAhead = 32 * 2 ** 20

/** Records that one listing reads at a time: enough to hide a round trip of tens of milliseconds. */
const readConcurrency = 16

/** How often a change is made anew because another writer was faster, before that is a `Conflict`. */
const maxRounds = 100

/** How one kind of record is written and read. */
export interface RecordFormat<A> {
  /** What it is called in messages: `"job"`. */
  readonly what: string
  /** The bytes, or the text, stored for a value. */
  readonly encode: (value: A) => string | Uint8Array
  /** The value that bytes hold; throws an `Error` that says what is wrong with them. {@link parseJson} may help. */
  readonly decode: (bytes: Uint8Array) => A
  /** What else is said of each save, such as a media type. */
  readonly save?: Omit<SaveOptions, keyof WriteCondition> | undefined
}

/** A record that is there. */
export interface Found<A> {
  /** Where it is. */
  readonly key: string
  /** What it holds. */
  readonly value: A
  /** Validator of exactly this state, for {@link writeRecord}'s `ifMatch`. */
  readonly etag: string
  /** Facts of the object that holds it. */
  readonly info: ObjectInfo
}

/**
 * Why `id` cannot be one segment of a key, or `undefined` if it can. Ids come from outside: one that holds `/` or is
 * `..` would leave its place in the tree.
 */
export const idFlaw = (name: string, id: unknown): string | undefined => {
  if (typeof id !== "string") return `${name} must be a string, this one is ${id === null ? "null" : `a ${typeof id}`}`
  if (id === "") return `${name} is empty`
  if (id.includes("/")) return `${name} holds a "/"; ids are one segment of a key`
  // Also refuses control characters, backslashes, "." and "..".
  const flaw = keyFlaw(id)
  return flaw === undefined ? undefined : `${name} cannot be part of a key: ${flaw}`
}

/** Fails with `InvalidKey` for the first id that cannot be one segment of a key. */
export const checkIds = (operation: string, ids: Readonly<Record<string, unknown>>): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    for (const [name, id] of Object.entries(ids)) {
      const detail = idFlaw(name, id)
      if (detail !== undefined) {
        const hint = "give an id without slashes and control characters, such as a UUID"
        return Effect.fail(new StoreError({ reason: "InvalidKey", detail, hint, operation }))
      }
    }
    return Effect.void
  })

/** The error for an object that is not the record its key says it is. */
export const corruptRecord = (key: string, what: string, cause: unknown): StoreError =>
  new StoreError({
    reason: "Corrupt",
    detail: `this is no ${what}: ${cause instanceof Error ? cause.message : String(cause)}`,
    hint: "look at the object with `holdfast load`; restore it from a copy, or remove it",
    operation: "load",
    key,
    cause,
  })

/** Reads the record at a key. Missing: `NotFound`; not such a record: `Corrupt`; too large to hold: `TooLarge`. */
export const readRecord = <A>(
  store: ObjectStoreService,
  key: string,
  format: RecordFormat<A>,
): Effect.Effect<Found<A>, StoreError> =>
  Effect.flatMap(recordBytes(store, key, format.what), ({ bytes, info }) =>
    Effect.try({
      try: () => ({ key, value: format.decode(bytes), etag: info.etag, info }),
      catch: (cause) => corruptRecord(key, format.what, cause),
    }))

/** Like {@link readRecord}; missing is `undefined`. */
export const findRecord = <A>(
  store: ObjectStoreService,
  key: string,
  format: RecordFormat<A>,
): Effect.Effect<Found<A> | undefined, StoreError> =>
  Effect.catchIf(readRecord(store, key, format), (error) => error.reason === "NotFound", () => Effect.undefined)

/** Writes a record, whole or not at all, under the condition given. */
export const writeRecord = <A>(
  store: ObjectStoreService,
  key: string,
  format: RecordFormat<A>,
  value: A,
  condition: WriteCondition = {},
): Effect.Effect<Found<A>, StoreError> =>
  Effect.gen(function* () {
    const text = yield* Effect.try({
      try: () => format.encode(value),
      catch: (cause) =>
        new StoreError({
          reason: "InvalidInput",
          detail: `this ${format.what} cannot be written as JSON: ${(cause as Error).message}`,
          operation: "save",
          key,
          cause,
        }),
    })
    const info = yield* store.save(key, text, {
      contentType: "application/json",
      compression: "none",
      ...format.save,
      ...condition,
    })
    return { key, value, etag: info.etag, info }
  })

/**
 * Changes a record exactly once: reads it, asks `change` for the new value, and writes that only if nobody has written
 * in between; otherwise it starts again with what is there now, so `change` may be called many times. A value that is
 * the one passed in is not written.
 *
 * On a store that cannot replace under a condition this is `Unsupported`, unless the caller says that there is one
 * writer only. A record that something else than Holdfast has put on a disk has no validator that could be relied on:
 * its first change replaces it without a condition.
 */
export const updateRecord = <A, E = never>(
  store: ObjectStoreService,
  key: string,
  format: RecordFormat<A>,
  change: (current: Found<A> | undefined) => Effect.Effect<A, E>,
  options?: { readonly soleWriter?: boolean | undefined },
): Effect.Effect<Found<A>, StoreError | E> =>
  Effect.gen(function* () {
    const { create, replace } = store.capabilities.conditional
    if (!(create && replace) && options?.soleWriter !== true) {
      return yield* Effect.fail(
        new StoreError({
          reason: "Unsupported",
          detail:
            `this store cannot replace a ${format.what} under a condition, so writers would lose each other's work`,
          hint: "use another store, or say soleWriter: true if nothing else writes here",
          backend: store.backend,
          operation: "update",
          key,
        }),
      )
    }
    for (let round = 0; round < maxRounds; round++) {
      if (round > 0) yield* Effect.sleep((yield* Random.next) * Math.min(5 * 2 ** round, 250))
      const current = yield* findRecord(store, key, format)
      const value = yield* change(current)
      if (current !== undefined && value === current.value) return current
      const condition: WriteCondition = current === undefined
        ? create ? { ifNoneMatch: "*" } : {}
        : replace && !current.etag.startsWith("W/")
        ? { ifMatch: current.etag }
        : {}
      const written = yield* Effect.result(writeRecord(store, key, format, value, condition))
      if (Result.isSuccess(written)) return written.success
      if (!lostRace(written.failure)) return yield* Effect.fail(written.failure)
    }
    return yield* Effect.fail(
      new StoreError({
        reason: "Conflict",
        detail: `this ${format.what} was changed by others ${maxRounds} times while it was being changed here`,
        backend: store.backend,
        operation: "update",
        key,
      }),
    )
  })

/** Whether a write failed only because another writer was faster. A lasting `Conflict` is of another kind, such as an object where a folder is needed. */
export const lostRace = ({ reason, transient }: StoreError): boolean =>
  reason === "PreconditionFailed" || reason === "AlreadyExists" || (reason === "Conflict" && transient)

/** One object of a listing: the record, or why it cannot be read. */
export type Listed<A> = Result.Result<Found<A>, StoreError>

/**
 * Reads the records of a listing, many at once within a bound of memory, in the listing's order. An object that cannot
 * be read is its own error and hides no other; one that was removed meanwhile is left out.
 */
export const readRecords = <A>(
  store: ObjectStoreService,
  entries: Stream.Stream<ObjectEntry, StoreError>,
  format: RecordFormat<A>,
): Stream.Stream<Listed<A>, StoreError> =>
  Stream.unwrap(Effect.sync(() => {
    const budget = Semaphore.makeUnsafe(readAhead)
    return Stream.mapEffect(
      entries,
      (entry) =>
        readRecord(store, entry.key, format).pipe(
          budget.withPermits(Math.min(Math.max(entry.size, 1), readAhead)),
          Effect.result,
        ),
      { concurrency: readConcurrency },
    ).pipe(Stream.filter((listed) => Result.isSuccess(listed) || listed.failure.reason !== "NotFound"))
  }))

/** The bytes of an object that is to be held in memory. */
export const recordBytes = (
  store: ObjectStoreService,
  key: string,
  what: string,
): Effect.Effect<{ readonly bytes: Uint8Array<ArrayBuffer>; readonly info: ObjectInfo }, StoreError> =>
  Effect.flatMap(store.load(key), (loaded) => {
    const { info } = loaded
    if ((loaded.length ?? info.size) > maxRecordBytes) {
      const detail = `this ${what} has ${loaded.length ?? info.size} bytes; the most is ${maxRecordBytes}`
      const hint = "save large things as snapshots or attachments, which are streamed"
      const error = new StoreError({ reason: "TooLarge", detail, hint, operation: "load", key })
      return Effect.andThen(Effect.promise(() => loaded.cancel()), Effect.fail(error))
    }
    return Effect.tryPromise({
      try: async () => ({ bytes: await loaded.bytes(), info }),
      catch: (cause) => StoreError.is(cause) ? cause : corruptRecord(key, what, cause),
    }).pipe(Effect.onInterrupt(() => Effect.promise(() => loaded.cancel())))
  })

/** The JSON that bytes hold; throws unless they are UTF-8 and JSON. */
export const parseJson = (bytes: Uint8Array): unknown =>
  JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
