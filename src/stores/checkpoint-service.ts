/**
 * The verbs on checkpoints, over an object store.
 *
 * A checkpoint is one object, written whole. Which one is a thread's latest stands in a record of its own, written
 * after the checkpoint: a writer that dies in between leaves a checkpoint that can be loaded by its id and is not the
 * latest one. Where that record is missing, or names a checkpoint that is gone, the names in the thread decide; no body
 * is ever read to find out.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { StoreError } from "../error.ts"
import type { ObjectStoreService } from "../object-store.ts"
import type {
  Checkpoint,
  CheckpointsOptions,
  CheckpointsService,
  CheckpointToSave,
  NextCheckpoint,
  RemovedCheckpoint,
  SaveCheckpointOptions,
} from "./checkpoint-contract.ts"
import {
  type CheckpointEntry,
  checkpointKey,
  entryOf,
  Ids,
  latestKey,
  nameOf,
  newestFirst,
  threadPrefix,
} from "./checkpoint-id.ts"
import { CheckpointMetrics, type CheckpointOperation } from "./checkpoint-metrics.ts"
import {
  bytesFormat,
  encodeCheckpoint,
  type Latest,
  latestFormat,
  parseCheckpoint,
  type VersionedCheckpoint,
} from "./checkpoint-schema.ts"
import { checkPayload } from "./payload.ts"
import {
  checkIds,
  corruptRecord,
  findRecord,
  type Found,
  readRecord,
  readRecords,
  type RecordFormat,
  updateRecord,
  writeRecord,
} from "./records.ts"

/** Saves in flight. */
const saveConcurrency = 8

const missing = (key: string): StoreError =>
  new StoreError({
    reason: "NotFound",
    detail: "there is no checkpoint",
    hint: "list the thread to see which there are",
    operation: "load",
    key,
  })

/** A store whose loads see one version. */
const atVersion = (store: ObjectStoreService, versionId: string | undefined): ObjectStoreService =>
  versionId === undefined ? store : { ...store, load: (key, options) => store.load(key, { ...options, versionId }) }

/** Makes the verbs out of an object store. */
export const makeCheckpoints = <State = unknown>(
  store: ObjectStoreService,
  options: CheckpointsOptions<State> = {},
): CheckpointsService<State> => {
  const { prefix = "checkpoints/", compression = true, partSize, encryption, labels, schema } = options
  const metrics = options.metrics ?? new CheckpointMetrics()
  const ids = new Ids()
  const format: RecordFormat<Uint8Array> = {
    ...bytesFormat,
    save: { contentType: compression ? "application/gzip" : "application/json", partSize, encryption },
  }
  // A bucket may refuse whatever does not ask to be encrypted.
  const pointerFormat: RecordFormat<Latest> = { ...latestFormat, save: { encryption } }
  const keyOf = (thread: string, id: string): string => checkpointKey(prefix, thread, id)
  const pointerOf = (thread: string): string => latestKey(prefix, thread)

  const measured = <A, E>(
    operation: CheckpointOperation,
    parts: ReadonlyArray<string | undefined>,
    effect: Effect.Effect<A, E>,
  ): Effect.Effect<A, E> =>
    metrics.measure(operation, [prefix, ...parts.filter((part) => part !== undefined)], effect, labels)

  const parse = ({ key, value, info }: Found<Uint8Array>): Effect.Effect<Checkpoint<State>, StoreError> =>
    Effect.gen(function* () {
      const { version, state: stored, metadata, timestamp, parent, ...other } = yield* Effect.tryPromise({
        try: () => parseCheckpoint(value),
        catch: (cause) => corruptRecord(key, bytesFormat.what, cause),
      })
      metrics.add("bytes_transferred", info.size)
      const state = yield* checkPayload(schema, stored, "state", "load", key)
      // A copied object has another id inside than its key.
      const { thread, id } = nameOf(prefix, key) ?? { thread: "", id: version }
      return { thread, id, state, metadata, parent: parent ?? undefined, timestamp, other, info }
    })

  const read = (thread: string, id: string, versionId?: string): Effect.Effect<Checkpoint<State>, StoreError> =>
    Effect.flatMap(readRecord(atVersion(store, versionId), keyOf(thread, id), bytesFormat), parse)

  const idOf = (asked: SaveCheckpointOptions): Effect.Effect<string> =>
    asked.id === undefined
      ? Effect.map(Clock.currentTimeMillis, (now) => ids.next(now, asked.parent))
      : Effect.succeed(asked.id)

  /** Writes a checkpoint's own object. */
  const write = (
    thread: string,
    id: string,
    item: Omit<CheckpointToSave<State>, "thread">,
  ): Effect.Effect<void, StoreError> =>
    Effect.gen(function* () {
      const key = keyOf(thread, id)
      const stored: VersionedCheckpoint = {
        ...item.other,
        version: id,
        state: yield* checkPayload(schema, item.state, "state", "save", key),
        metadata: item.metadata ?? {},
        timestamp: new Date(yield* Clock.currentTimeMillis).toISOString(),
        ...(item.parent === undefined ? {} : { parent: item.parent }),
      }
      const bytes = yield* Effect.tryPromise({
        try: () => encodeCheckpoint(stored, compression),
        catch: (cause) =>
          StoreError.is(cause)
            ? cause.with({ key })
            : new StoreError({ reason: "InvalidInput", detail: String(cause), operation: "save", key, cause }),
      })
      const { info } = yield* writeRecord(store, key, format, bytes)
      metrics.add("bytes_transferred", info.size)
    })

  const point = (thread: string, id: string): Effect.Effect<unknown, StoreError> =>
    writeRecord(store, pointerOf(thread), pointerFormat, { checkpoint: id })

  const checkItem = ({ thread, id, parent }: Omit<CheckpointToSave<State>, "state">): Effect.Effect<void, StoreError> =>
    checkIds("save", { thread, ...(id === undefined ? {} : { id }), ...(parent === undefined ? {} : { parent }) })

  /** The names in a thread, newest first. */
  const names = (thread: string): Effect.Effect<ReadonlyArray<CheckpointEntry>, StoreError> =>
    Effect.map(
      Stream.runCollect(store.list({ prefix: threadPrefix(prefix, thread) })),
      (objects) => objects.flatMap((object) => entryOf(prefix, object) ?? []).sort(newestFirst),
    )

  /** The latest checkpoint, given the record that names it. */
  const newest = (
    thread: string,
    named: string | undefined,
  ): Effect.Effect<Checkpoint<State> | undefined, StoreError> =>
    Effect.gen(function* () {
      const found = named === undefined ? undefined : yield* absent(read(thread, named))
      if (found !== undefined) return found
      for (const { id } of yield* names(thread)) {
        const found = yield* absent(read(thread, id))
        if (found !== undefined) return found
      }
      return undefined
    })

  const find: CheckpointsService<State>["find"] = (thread, id, { versionId } = {}) =>
    Effect.andThen(
      checkIds("load", id === undefined ? { thread } : { thread, id }),
      Effect.suspend(() => {
        if (id !== undefined) return absent(read(thread, id, versionId))
        if (versionId !== undefined) {
          const detail = "a version is one of a checkpoint, and no checkpoint is named"
          return Effect.fail(new StoreError({ reason: "InvalidInput", detail, operation: "load" }))
        }
        return Effect.flatMap(
          findRecord(store, pointerOf(thread), pointerFormat),
          (pointer) => newest(thread, pointer?.value.checkpoint),
        )
      }),
    )

  const load: CheckpointsService<State>["load"] = (thread, id, o) =>
    Effect.flatMap(
      find(thread, id, o),
      (found) =>
        found === undefined
          ? Effect.fail(missing(id === undefined ? threadPrefix(prefix, thread) : keyOf(thread, id)))
          : Effect.succeed(found),
    )

  const removeKeys = (keys: ReadonlyArray<string>): Effect.Effect<void, StoreError> =>
    Effect.flatMap(store.removeMany(keys), (results) => {
      const error = results.find((result) => result.error !== undefined)?.error
      return error === undefined ? Effect.void : Effect.fail(error)
    })

  const update = <E>(
    thread: string,
    change: (current: Checkpoint<State> | undefined) => Effect.Effect<NextCheckpoint<State> | undefined, E>,
  ): Effect.Effect<string | undefined, StoreError | E> =>
    Effect.gen(function* () {
      yield* checkIds("save", { thread })
      let unchanged = false
      /** Written in a round that may turn out to be lost. */
      let written: string | undefined
      const withdraw = Effect.suspend(() => {
        const id = written
        written = undefined
        return id === undefined ? Effect.void : store.remove(keyOf(thread, id))
      })
      const round = (pointer: Found<Latest> | undefined) =>
        Effect.gen(function* () {
          yield* withdraw
          const current = yield* newest(thread, pointer?.value.checkpoint)
          const next = yield* change(current)
          if (next === undefined) {
            unchanged = true
            return yield* Effect.fail(new StoreError({ reason: "NotModified", detail: "nothing is to be saved" }))
          }
          const id = yield* idOf({ parent: current?.id })
          written = id
          yield* write(thread, id, { ...next, parent: current?.id })
          return { checkpoint: id }
        })
      return yield* updateRecord(store, pointerOf(thread), pointerFormat, round).pipe(
        Effect.map(({ value }): string | undefined => value.checkpoint),
        Effect.catch((error) => {
          // Whether the record names it is not known where a reply was lost, so it has to stay.
          const settled = StoreError.is(error) && error.ambiguous ? Effect.void : Effect.ignore(withdraw)
          return Effect.andThen(settled, unchanged ? Effect.succeed(undefined) : Effect.fail(error))
        }),
      )
    })

  return {
    metrics,
    save: (thread, state, o = {}) =>
      measured(
        "save",
        [thread, o.id],
        Effect.gen(function* () {
          yield* checkItem({ ...o, thread })
          const id = yield* idOf(o)
          yield* write(thread, id, { ...o, state })
          yield* point(thread, id)
          return id
        }),
      ),
    saveMany: (items) =>
      Effect.gen(function* () {
        const all = [...items]
        yield* Effect.forEach(all, checkItem, { discard: true })
        const named = yield* Effect.forEach(all, (item) => Effect.map(idOf(item), (id) => ({ item, id })))
        yield* Effect.forEach(
          named,
          ({ item, id }) => measured("save", [item.thread, id], write(item.thread, id, item)),
          { concurrency: saveConcurrency, discard: true },
        )
        const last = new Map(named.map(({ item, id }) => [item.thread, id]))
        yield* Effect.forEach(last, ([thread, id]) => point(thread, id), {
          concurrency: saveConcurrency,
          discard: true,
        })
        return named.map(({ id }) => id)
      }),
    update: (thread, change) => measured("save", [thread], update(thread, change)),
    load: (thread, id, o) => measured("load", [thread, id], load(thread, id, o)),
    find: (thread, id, o) => measured("load", [thread, id], find(thread, id, o)),
    exists: (thread, id) => Effect.andThen(checkIds("exists", { thread, id }), store.exists(keyOf(thread, id))),
    stat: (thread, id) => Effect.andThen(checkIds("stat", { thread, id }), store.stat(keyOf(thread, id))),
    list: (thread, { limit } = {}) => {
      const all = thread === undefined
        ? Stream.flatMap(threads(store, prefix), (one) => Stream.fromIterableEffect(names(one)))
        : Stream.fromIterableEffect(Effect.andThen(checkIds("list", { thread }), names(thread)))
      return limit === undefined ? all : Stream.take(all, limit)
    },
    history: (thread, { limit = Infinity } = {}) => {
      const listed = Effect.map(
        Effect.andThen(checkIds("list", { thread }), names(thread)),
        (all) => all.slice(0, limit),
      )
      return readRecords(store, Stream.fromIterableEffect(listed), bytesFormat).pipe(
        Stream.mapEffect((one) => Result.isSuccess(one) ? Effect.option(parse(one.success)) : Effect.succeedNone),
        Stream.flatMap((found) => Stream.fromIterable(Option.toArray(found))),
      )
    },
    threads: () => threads(store, prefix),
    remove: (thread, id) =>
      measured(
        "delete",
        [thread, id],
        id === undefined
          ? Effect.gen(function* () {
            yield* checkIds("remove", { thread })
            const found = yield* names(thread)
            // First the record: from then on names decide, and they go oldest first.
            yield* store.remove(pointerOf(thread))
            yield* removeKeys(found.map(({ key }) => key).reverse())
          })
          : Effect.andThen(checkIds("remove", { thread, id }), store.remove(keyOf(thread, id))),
      ),
    removeMany: (checkpoints) =>
      Effect.gen(function* () {
        const all = [...checkpoints]
        yield* Effect.forEach(all, ({ thread, id }) => checkIds("remove", { thread, id }), { discard: true })
        metrics.add("deletes_total", all.length)
        const results = yield* store.removeMany(all.map(({ thread, id }) => keyOf(thread, id))).pipe(
          Effect.tapError((error) =>
            Effect.sync(() => {
              metrics.add("deletes_failed", all.length)
              metrics.failed(error.reason)
            })
          ),
        )
        return all.map(({ thread, id }, index): RemovedCheckpoint => {
          const error = results[index]?.error
          if (error === undefined) return { thread, id }
          metrics.add("deletes_failed")
          metrics.failed(error.reason)
          return { thread, id, error }
        })
      }),
    versions: (thread, id) =>
      Stream.unwrap(Effect.as(
        checkIds("versions", { thread, id }),
        store.versions({ prefix: keyOf(thread, id) }).pipe(
          Stream.filter(({ key }) => key === keyOf(thread, id)),
          Stream.map(({ versionId, latest, removed, size, modified }) => ({
            versionId,
            latest,
            removed,
            size,
            modified,
          })),
        ),
      )),
    presign: (thread, id, o) =>
      Effect.andThen(checkIds("presign", { thread, id }), store.presign("GET", keyOf(thread, id), o)),
  }
}

/** A checkpoint that may be missing. */
const absent = <A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<A | undefined, StoreError> =>
  Effect.catchIf(effect, (error) => error.reason === "NotFound", () => Effect.undefined)

const threads = (store: ObjectStoreService, prefix: string): Stream.Stream<string, StoreError> =>
  store.pages({ prefix, delimiter: "/" }).pipe(
    Stream.flatMap(({ prefixes }) => Stream.fromIterable(prefixes)),
    Stream.map((folder) => folder.slice(prefix.length, -1)),
    Stream.filter((thread) => thread !== ""),
  )
